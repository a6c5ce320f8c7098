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

/** Refuses unsafe requests that another site's page may have sent. */
export class CsrfCheck {
  /** @param tokens of mode `token` */
  constructor(
    private readonly tokens: Pick<RefreshTokens, 'csrfToken' | 'isCsrfToken'> | undefined,
    private readonly options: ResolvedOptions['csrf'],
  ) {}

  /** Whether a request has to be checked at all. */
  concerns(request: HttpRequest): boolean {
    return this.options.mode !== 'off' && !SAFE_METHODS.has(request.method);
  }

  /**
   * What can be told from the request alone; comes before anything else.
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
   * What needs to know the session; comes before anything is changed. A client with duplicates of a cookie may hold
   * tokens of several sessions, so that one mismatch does not decide yet.
   *
   * @returns the error to refuse with, or `undefined` when all is well
   */
  checkSession(request: HttpRequest, sessionId: string): CsrfError | undefined {
    if (this.options.mode !== 'token') return undefined;
    const token = requestHeader(request, this.options.header);
    if (token === undefined || !this.tokens?.isCsrfToken(token, sessionId)) {
      return new CsrfError(`The header "${this.options.header}" does not carry this session's CSRF token.`);
    }
    return undefined;
  }

  /** Gives the client of a session its CSRF token, in the mode that has one. */
  async giveToken(response: HttpResponse, sessionId: string, now: number): Promise<void> {
    if (this.options.mode !== 'token' || !this.tokens) return;
    const token = await this.tokens.csrfToken(sessionId, now);
    if (!areHeadersSent(response)) setResponseHeader(response, this.options.header, token);
  }

  /** Takes it back before the headers leave. */
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
    // Every browser in use sends Origin with unsafe methods; what sends neither is no browser and holds no victim's cookies.
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
    return undefined; // "null", as sandboxed frames send it
  }
}

function shorten(text: string): string {
  return text.replace(/[^\w-]/g, '').slice(0, 20);
}
