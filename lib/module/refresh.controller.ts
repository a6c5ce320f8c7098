import { Controller, HttpCode, Inject, Post, Req, Res, type Type, VERSION_NEUTRAL } from '@nestjs/common';
import { ReadyMadeRoute } from './ready-made-route.js';
import { SessionService } from './session.service.js';
import { withChallenge } from '../http/challenge.js';
import type { HttpRequest, HttpResponse } from '../http/messages.js';
import { SkipSession } from '../guard/session.decorators.js';
import { joinPath } from '../options/option-checks.js';

/** A controller with one `POST` route that refreshes the session and answers 204. */
export function createRefreshController(path: string): Type {
  // Nest would keep a double slash, which the path of the refresh cookie has not. Another type than a string is refused later.
  @Controller({ path: typeof path === 'string' ? joinPath(path) : path, version: VERSION_NEUTRAL })
  @SkipSession()
  @ReadyMadeRoute('refresh')
  class SessionRefreshController {
    constructor(@Inject(SessionService) private readonly sessions: SessionService) {}

    @Post()
    @HttpCode(204)
    async refresh(
      @Req() request: HttpRequest,
      @Res({ passthrough: true }) response: HttpResponse,
    ): Promise<void> {
      await withChallenge(response, async () => this.sessions.refresh(request, response));
    }
  }
  return SessionRefreshController;
}
