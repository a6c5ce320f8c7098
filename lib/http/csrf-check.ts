import type { ServerResponse } from 'node:http';
import { CsrfError } from '../errors/session.errors.js';
import type { ResolvedOptions } from '../options/resolved-options.js';
import type { RefreshTokens } from '../tokens/refresh-tokens.js';
import { keepPrivate } from './private-responses.js';
import { checkOrigin } from './origin-check.js';
import {
  areHeadersSent,
  type HttpRequest,
  type HttpResponse,
  requestHeader,
  setResponseHeader,
} from './messages.js';

const SAFE_METHODS: ReadonlySet<string | undefined> = new Set(['GET', 'HEAD', 'OPTIONS', 'TRACE']); // RFC 9110, 9.2.1

/** Refuses requests with unsafe methods that a page of another site may have sent. */
export class CsrfCheck {
  /** @param tokens makes and checks the CSRF tokens of mode `token` */
  constructor(
    private readonly tokens: Pick<RefreshTokens, 'csrfToken' | 'isCsrfToken'> | undefined,
    private readonly options: ResolvedOptions['csrf'],
  ) {}

  /** Whether a request has to be checked at all. A connection is upgraded by a safe method, and may do anything then. */
  concerns(request: HttpRequest): boolean {
    return this.options.mode !== 'off' && (!SAFE_METHODS.has(request.method) || isUpgrade(request));
  }

  /**
   * The part of the check that needs only the request, if it {@link concerns} that. It comes before anything else.
   *
   * @throws {@link CsrfError}
   */
  checkRequest(request: HttpRequest): void {
    // Pages cannot give an upgrade headers of their own.
    if (this.options.mode === 'origin' || isUpgrade(request)) {
      checkOrigin(request, this.options.trustedOrigins);
    } else if (this.options.mode === 'header' && !requestHeader(request, this.options.header)) {
      throw new CsrfError(`The request lacks the header "${this.options.header}".`);
    }
  }

  /**
   * The check of requests that cannot have a token: sign-in, and what brings the token to a page that has lost it.
   *
   * @throws {@link CsrfError}
   */
  checkOrigin(request: HttpRequest): void {
    if (this.concerns(request)) checkOrigin(request, this.options.trustedOrigins);
  }

  /**
   * What needs to know the session; comes before anything is changed. A client with duplicates of a cookie may hold
   * tokens of several sessions, so that one mismatch does not decide yet.
   *
   * @returns the error, or `undefined` when the check passes
   */
  checkSession(request: HttpRequest, sessionId: string): CsrfError | undefined {
    if (this.options.mode !== 'token' || isUpgrade(request)) return undefined;
    const token = requestHeader(request, this.options.header);
    if (token === undefined || !this.tokens?.isCsrfToken(token, sessionId)) {
      return new CsrfError(`The header "${this.options.header}" does not carry this session's CSRF token.`);
    }
    return undefined;
  }

  /** The CSRF token of a session. */
  async tokenOf(sessionId: string, now: number): Promise<string> {
    if (!this.tokens) throw new CsrfError('A service without the database has no CSRF tokens.');
    return this.tokens.csrfToken(sessionId, now);
  }

  /** Gives the client of a session its CSRF token, in the mode that has one. */
  async giveToken(response: HttpResponse, sessionId: string, now: number): Promise<void> {
    if (this.options.mode !== 'token') return;
    const token = await this.tokenOf(sessionId, now);
    if (areHeadersSent(response)) return;
    setResponseHeader(response, this.options.header, token);
    keepPrivate(response);
  }

  /** Removes the CSRF token from a response before its headers leave. */
  withdrawToken(response: ServerResponse): void {
    if (this.options.mode === 'token') response.removeHeader(this.options.header);
  }
}

function isUpgrade({ headers }: HttpRequest): boolean {
  return headers.upgrade !== undefined;
}
