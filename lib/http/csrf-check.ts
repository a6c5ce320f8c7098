import type { ServerResponse } from 'node:http';
import { CsrfError } from '../errors/session.errors.js';
import type { ResolvedOptions } from '../options/resolved-options.js';
import type { RefreshTokens } from '../tokens/refresh-tokens.js';
import type { Devices } from '../session/devices.js';
import type { SessionEvents } from '../session/session-events.js';
import type { Clock } from '../util/clock.js';
import { deviceOf } from './device-of.js';
import { keepPrivate } from './private-responses.js';
import { checkOrigin } from './origin-check.js';
import {
  areHeadersSent,
  pathOf,
  type HttpRequest,
  type HttpResponse,
  requestHeader,
  setResponseHeader,
} from './messages.js';

/** How much of what a request says is told, in characters. */
const LONGEST = 200;

/** RFC 9110, 9.2.1. */
export const SAFE_METHODS: ReadonlySet<string | undefined> = new Set(['GET', 'HEAD', 'OPTIONS', 'TRACE']);

/** Refuses requests with unsafe methods that a page of another site may have sent. */
export class CsrfCheck {
  /**
   * @param tokens makes and checks the CSRF tokens of mode `token`
   * @param told hears of refusals
   */
  constructor(
    private readonly tokens: Pick<RefreshTokens, 'csrfToken' | 'isCsrfToken'> | undefined,
    private readonly options: ResolvedOptions['csrf'],
    private readonly told?: {
      readonly events: SessionEvents;
      readonly devices: Devices;
      readonly clock: Clock;
    },
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
      this.compareOrigin(request);
    } else if (this.options.mode === 'header' && !requestHeader(request, this.options.header)) {
      throw this.refusal(request, new CsrfError(`The request lacks the header "${this.options.header}".`));
    }
  }

  /**
   * The check of requests that cannot have a token: sign-in, and what brings the token to a page that has lost it.
   *
   * @throws {@link CsrfError}
   */
  checkOrigin(request: HttpRequest): void {
    if (this.concerns(request)) this.compareOrigin(request);
  }

  private compareOrigin(request: HttpRequest): void {
    try {
      checkOrigin(request, this.options.trustedOrigins);
    } catch (error) {
      throw this.refusal(request, error as CsrfError);
    }
  }

  /** Tells of a request that is refused with this error. @returns the error */
  refusal(request: HttpRequest, error: CsrfError): CsrfError {
    const { told } = this;
    if (told?.events.isObserved) {
      const { method = '', headers } = request;
      const path = pathOf(request).slice(0, LONGEST);
      const origin = headers.origin?.slice(0, LONGEST);
      const device = told.devices.describe(deviceOf(request));
      const facts = { method, path, origin, request: device, message: error.message };
      told.events.emit({ type: 'csrf_refused', ...facts }, told.clock.now());
    }
    return error;
  }

  /**
   * What needs to know the session; comes before anything is changed. A client with duplicates of a cookie may hold
   * tokens of several sessions, so that one mismatch does not decide yet.
   *
   * @returns the error, or `undefined` when the check passes. If the request is refused with it, call {@link refusal}
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
