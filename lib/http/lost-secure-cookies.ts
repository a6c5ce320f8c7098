import { logger } from '../util/logger.js';
import { type HttpRequest, rawRequest, requestHeader } from './messages.js';

/** How soon after a sign-in a request without cookies is taken for one of the same client, in milliseconds. */
const SOON = 10_000;

/**
 * Warns if a client signs in over plain HTTP and then comes without any cookie: it most likely does not send `Secure` cookies
 * over plain HTTP. The sign-in succeeds, and nothing else tells why the next request is refused. Only for development and tests:
 * it goes by address and user agent of the last sign-in. Warns once, because every request of such a client is like that.
 */
export class LostSecureCookies {
  private last: { readonly client: string; readonly at: number } | undefined;
  private hasWarned = false;

  /** @param request whose response sets `Secure` cookies */
  signedIn(request: HttpRequest, now: number): void {
    if (this.hasWarned || !isPlain(request)) return;
    this.last = { client: clientOf(request), at: now };
  }

  /** A client has no cookies any more, and is to have none. */
  signedOut(): void {
    this.last = undefined;
  }

  /** @param request that is refused because it has no credentials */
  refused(request: HttpRequest, now: number): void {
    if (!this.last || request.headers.cookie !== undefined) return;
    const { client, at } = this.last;
    if (now - at > SOON || client !== clientOf(request)) return;
    this.last = undefined;
    this.hasWarned = true;
    logger.warn(
      'A client signed in over plain HTTP and then came without cookies. The cookies are Secure, and many clients do not send such cookies over plain HTTP: supertest’s agent, Safari (to localhost as well), and the cookie jars of Java, Python and Go. In tests, use withMemorySessions() of nestjs-session-tokens/testing. Otherwise set cookies.secure to false in tests and development. If the client keeps no cookies at all, that is the reason. This is logged once.',
    );
  }
}

function isPlain(request: HttpRequest): boolean {
  // Behind a proxy, the client may use HTTPS.
  const forwarded = requestHeader(request, 'x-forwarded-proto') ?? requestHeader(request, 'forwarded');
  const { socket } = rawRequest(request);
  return forwarded === undefined && socket !== undefined && !('encrypted' in socket && socket.encrypted);
}

function clientOf(request: HttpRequest): string {
  return `${rawRequest(request).socket?.remoteAddress} ${requestHeader(request, 'user-agent')}`;
}
