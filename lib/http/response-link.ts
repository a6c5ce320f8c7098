import type { AccessToken } from '../protocol/access-token.js';
import type { ClientLink } from '../session/active-session.js';
import type { SessionLifecycle } from '../session/session-lifecycle.js';
import type { SessionFacts } from '../storage/session.store.js';
import type { Clock } from '../util/clock.js';
import type { CsrfCheck } from './csrf-check.js';
import type { HttpResponse } from './messages.js';
import type { LateResponses } from './late-responses.js';
import type { TokenTransport } from './transport/token-transport.js';

/** Sends tokens to the client with the response to its request. */
export class ResponseLink implements ClientLink {
  constructor(
    private readonly lifecycle: SessionLifecycle,
    private readonly csrf: CsrfCheck,
    private readonly responses: LateResponses,
    private readonly transport: TokenTransport,
    private readonly response: HttpResponse,
    private readonly clock: Clock,
  ) {}

  async replace(row: SessionFacts, present: AccessToken): Promise<AccessToken> {
    const now = this.clock.now();
    const reissued = await this.lifecycle.reissue(row, present, now);
    this.transport.writeAccessToken(this.response, reissued, row, now);
    this.responses.watch(this.response, row.id);
    return reissued;
  }

  async csrfToken(sessionId: string): Promise<string> {
    return this.csrf.tokenOf(sessionId, this.clock.now());
  }

  clear(): void {
    this.transport.clearAtSignOut(this.response);
    this.responses.release(this.response);
  }
}
