import { Controller, Get, Headers, Inject, Query, Res, type Type, VERSION_NEUTRAL } from '@nestjs/common';
import { withChallenge } from '../http/challenge.js';
import { type HttpResponse, setResponseHeader, setResponseStatus } from '../http/messages.js';
import { ReadyMadeRoute } from './ready-made-route.js';
import { SessionService } from './session.service.js';
import { SkipSession } from '../guard/session.decorators.js';

/** A controller with one `GET` route that gives the signed list of revocations. */
export function createRevocationsController(path: string): Type {
  @Controller({ path, version: VERSION_NEUTRAL })
  @SkipSession()
  @ReadyMadeRoute('revocations')
  class SessionRevocationsController {
    constructor(@Inject(SessionService) private readonly sessions: SessionService) {}

    @Get()
    async list(
      @Query('since') since: unknown,
      @Query('nonce') nonce: unknown,
      @Headers('if-none-match') ifNoneMatch: unknown,
      @Res({ passthrough: true }) response: HttpResponse,
    ): Promise<string | undefined> {
      const { etag, list } = await withChallenge(response, async () =>
        this.sessions.revocationList({ since, nonce, ifNoneMatch }),
      );
      setResponseHeader(response, 'etag', etag);
      // Each answer is for one request.
      setResponseHeader(response, 'cache-control', 'no-store');
      if (list === undefined) setResponseStatus(response, 304);
      else setResponseHeader(response, 'content-type', 'application/jwt');
      return list;
    }
  }
  return SessionRevocationsController;
}
