import { Controller, Get, Inject, Res, type Type, VERSION_NEUTRAL } from '@nestjs/common';
import type { JWK } from 'jose';
import { withChallenge } from '../http/challenge.js';
import { type HttpResponse, setResponseHeader } from '../http/messages.js';
import { ReadyMadeRoute } from './ready-made-route.js';
import { SessionService } from './session.service.js';
import { SkipSession } from '../guard/session.decorators.js';

/** A controller with one `GET` route that lists the public halves of the signing keys (RFC 7517, 5). */
export function createJwksController(path: string): Type {
  @Controller({ path, version: VERSION_NEUTRAL })
  @SkipSession()
  @ReadyMadeRoute('keys')
  class SessionJwksController {
    constructor(@Inject(SessionService) private readonly sessions: SessionService) {}

    @Get()
    async list(@Res({ passthrough: true }) response: HttpResponse): Promise<{ keys: readonly JWK[] }> {
      const { keys, maxAge } = await withChallenge(response, async () => this.sessions.publicKeys());
      setResponseHeader(response, 'content-type', 'application/jwk-set+json; charset=utf-8');
      setResponseHeader(response, 'cache-control', `public, max-age=${Math.floor(maxAge / 1_000)}`);
      return { keys };
    }
  }
  return SessionJwksController;
}
