import {
  type CsrfError,
  LookAgainError,
  SessionOverError,
  type StaleRefreshToken,
  TokenTheftError,
} from '../errors/session.errors.js';
import type { ResolvedOptions } from '../options/resolved-options.js';
import type { RefreshToken } from '../protocol/refresh-token.codec.js';
import type { RefreshTokens } from '../tokens/refresh-tokens.js';
import type { SessionLifecycle, TokenSet } from '../session/session-lifecycle.js';
import type { CsrfCheck } from './csrf-check.js';
import { deviceOf } from './device-of.js';
import type { HttpRequest, HttpResponse } from './messages.js';
import type { LateResponses } from './late-responses.js';
import type { CsrfProgress } from './token-authority.js';
import type { TokenTransport } from './transport/token-transport.js';

/** The reasons why no refresh token of a request was exchanged. */
interface Failures {
  theft?: TokenTheftError;
  forged?: CsrfError | undefined;
  over?: SessionOverError | undefined;
  readonly stale: StaleRefreshToken[];
}

/** Exchanges the refresh tokens of requests, and gives clients the new tokens. */
export class RequestRefresher {
  constructor(
    private readonly lifecycle: SessionLifecycle,
    private readonly refreshTokens: RefreshTokens,
    private readonly csrf: CsrfCheck,
    private readonly responses: LateResponses,
    private readonly options: ResolvedOptions,
  ) {}

  /**
   * Exchanges the first refresh token of a request that can be exchanged, and gives the client the new tokens.
   *
   * @throws {@link SessionOverError} | {@link TokenTheftError} | {@link LookAgainError} | {@link CsrfError}
   */
  async exchange(
    request: HttpRequest,
    response: HttpResponse,
    transport: TokenTransport,
    { comparesSession, forged }: CsrfProgress,
    now: number,
  ): Promise<TokenSet> {
    const texts = transport.readRefreshTokens(request);
    const { authentic, over } = await this.refreshTokens.authenticateEach(texts, now);
    const failures: Failures = { stale: [], over, forged };
    const lookedAgain = transport.readLookedAgain(request);
    const client = () => deviceOf(request);
    for (const token of newestOfEachSession(authentic)) {
      const mismatch = comparesSession ? this.csrf.checkSession(request, token.sessionId) : undefined;
      if (mismatch) {
        failures.forged = mismatch;
        continue;
      }
      try {
        const tokens = await this.lifecycle.refresh(token, now, lookedAgain.has(token.tokenId), client);
        transport.writeTokens(request, response, tokens, now);
        if (transport.isAmbient) await this.csrf.giveToken(response, tokens.row.id, now);
        this.responses.watch(response, tokens.row.id, now);
        return tokens;
      } catch (error) {
        // A sibling subdomain may have set this cookie. The next token may be the client's own.
        if (error instanceof TokenTheftError) failures.theft = error;
        else if (error instanceof LookAgainError) failures.stale.push(error.stale);
        else if (error instanceof SessionOverError) this.addOver(failures, error, now);
        else throw error;
      }
    }
    throw await this.refuse(request, response, transport, failures, now);
  }

  /** Returns the error for the request. Before that, tells the client to look again, or clears its cookies, if necessary. */
  private async refuse(
    request: HttpRequest,
    response: HttpResponse,
    transport: TokenTransport,
    { theft, stale, forged, over }: Failures,
    now: number,
  ): Promise<Error> {
    const [newest, ...others] = stale;
    // Before the theft: a sibling subdomain may have set the stolen token. The client's own is the one that looks old, or that
    // the request does not prove to be meant.
    if (newest) return transport.tellToLookAgain(request, response, [newest, ...others]);
    if (forged) return this.csrf.refusal(request, forged);
    if (over && !this.mayClear(over, now)) return over;
    transport.clear(response);
    return theft ?? over!;
  }

  /** Keeps the error after which the cookies may not be cleared, if there is one. */
  private addOver(failures: Failures, error: SessionOverError, now: number): void {
    if (!failures.over || this.mayClear(failures.over, now)) failures.over = error;
  }

  /**
   * Whether the cookies may be cleared. They may not be right after the session has ended: the client may have signed in
   * again, and clearing could remove the new cookies. A later request with the old cookies clears them.
   */
  private mayClear({ final, endedAt }: SessionOverError, now: number): boolean {
    const { lookAgain: looksAgain, rotation } = this.options;
    const isRecent = endedAt !== undefined && now - endedAt < 2 * rotation.delay;
    return final && !(looksAgain && isRecent);
  }
}

/**
 * Keeps the newest token of each session. If a client has duplicate refresh cookies, an older token of the same session is
 * not a theft.
 */
function newestOfEachSession(tokens: readonly RefreshToken[]): RefreshToken[] {
  const seen = new Set<string>();
  return tokens
    .toSorted((a, b) => b.generation - a.generation || b.issuedAt - a.issuedAt)
    .filter(({ sessionId }) => !seen.has(sessionId) && seen.add(sessionId))
    .toSorted((a, b) => b.issuedAt - a.issuedAt);
}
