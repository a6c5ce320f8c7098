import type { ServerResponse } from 'node:http';
import { CsrfError } from '../errors/session.errors.js';
import type { ResolvedOptions } from '../options/resolved-options.js';
import type { RefreshTokens } from '../tokens/refresh-tokens.js';
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

  /** Whether a request must be checked. */
  concerns(request: HttpRequest): boolean {
    return this.options.mode !== 'off' && !SAFE_METHODS.has(request.method);
  }

  /**
   * The part of the check that needs only the request. It comes before anything else.
   *
   * @throws {@link CsrfError}
   */
  checkRequest(request: HttpRequest): void {
    if (this.options.mode === 'origin') this.checkOrigin(request);
    if (this.options.mode === 'header' && !requestHeader(request, this.options.header)) {
      throw new CsrfError(`The request lacks the header "${this.options.header}".`);
    }
  }

  /**
   * The part of the check that needs the session. It comes before anything is changed. It returns the error and does not
   * throw it, because a client with duplicate cookies may have tokens of several sessions: another one may match.
   *
   * @returns the error, or `undefined` when the check passes
   */
  checkSession(request: HttpRequest, sessionId: string): CsrfError | undefined {
    if (this.options.mode !== 'token') return undefined;
    const token = requestHeader(request, this.options.header);
    if (token === undefined || !this.tokens?.isCsrfToken(token, sessionId)) {
      return new CsrfError(`The header "${this.options.header}" does not carry this session's CSRF token.`);
    }
    return undefined;
  }

  /** Gives the client the CSRF token of its session, in mode `token`. */
  async giveToken(response: HttpResponse, sessionId: string, now: number): Promise<void> {
    if (this.options.mode !== 'token' || !this.tokens) return;
    const token = await this.tokens.csrfToken(sessionId, now);
    if (!areHeadersSent(response)) setResponseHeader(response, this.options.header, token);
  }

  /** Removes the CSRF token from a response before its headers leave. */
  withdrawToken(response: ServerResponse): void {
    if (this.options.mode === 'token') response.removeHeader(this.options.header);
  }

  private checkOrigin(request: HttpRequest): void {
    const origin = requestHeader(request, 'origin');
    if (origin !== undefined && this.options.trustedOrigins.has(origin)) return;
    const site = requestHeader(request, 'sec-fetch-site');
    if (site === 'same-origin' || site === 'none') return;
    if (site !== undefined)
      throw new CsrfError(`The request comes from another site (Sec-Fetch-Site: ${shorten(site)}).`);
    // Every browser in use sends Origin with unsafe methods. A request with neither header does not come from a browser, so
    // it does not carry a victim's cookies.
    if (origin === undefined) return;
    const host = hostOf(origin);
    if (host === undefined || host !== (request.host ?? requestHeader(request, 'host'))?.toLowerCase()) {
      throw new CsrfError(
        'The request comes from another origin. Add it to csrf.trustedOrigins if it is yours.',
      );
    }
  }
}

function hostOf(origin: string): string | undefined {
  try {
    return new URL(origin).host;
  } catch {
    return undefined; // the text "null", which sandboxed frames send
  }
}

function shorten(text: string): string {
  return text.replace(/[^\w-]/g, '').slice(0, 20);
}
