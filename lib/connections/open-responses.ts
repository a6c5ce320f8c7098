import type { ServerResponse } from 'node:http';
import type { Duplex } from 'node:stream';
import { type HttpResponse, rawResponse } from '../http/messages.js';
import type { AuthenticatedSession } from '../session/authenticated-session.js';
import { endResponse } from './end-response.js';
import type { SessionConnections } from './session-connections.js';

/** What a response is sent through: a socket, or a stream of HTTP/2. Its newest response is noted in it. */
type Carrier = Pick<Duplex, 'destroyed'> & Record<symbol, ServerResponse | AuthenticatedSession | undefined>;

/**
 * Finds the responses that go on for long: event streams, downloads. Nobody knows which response will be one when the guard
 * lets its request pass, and nearly none is. So a request costs two members of its socket, which the next request on the socket
 * replaces. At each look, those responses count whose headers have left, and whose end has not. A handler that is still
 * thinking is not disturbed: it may be the very one that signs the session out.
 */
export class OpenResponses {
  private readonly carriers = new Set<Carrier>();
  private readonly registered = new WeakSet<ServerResponse>();
  // Another module may note something in the same socket.
  private readonly response = Symbol('nestjs-session-tokens.response');
  private readonly session = Symbol('nestjs-session-tokens.session');

  constructor(private readonly connections: SessionConnections) {
    connections.onLook(() => this.find());
  }

  /** Notes the response to a request that has been accepted. Called for every such request. */
  follow(response: HttpResponse, session: AuthenticatedSession): void {
    const raw = rawResponse(response);
    // A connection that was upgraded has no response.
    if (raw.req === undefined) return;
    const carrier = carrierOf(raw);
    const previous = carrier[this.response] as ServerResponse | undefined;
    if (previous === undefined) {
      this.carriers.add(carrier);
      this.connections.schedule();
    } else if (previous !== raw && !previous.writableEnded) {
      // A client may send its next request before the response to this one has ended (HTTP pipelining).
      this.register(previous, carrier[this.session] as AuthenticatedSession);
    }
    carrier[this.response] = raw;
    carrier[this.session] = session;
  }

  private find(): boolean {
    for (const carrier of this.carriers) {
      const response = carrier[this.response] as ServerResponse;
      if (response.writableEnded || response.destroyed || carrier.destroyed) this.forget(carrier);
      else if (response.headersSent) this.register(response, carrier[this.session] as AuthenticatedSession);
    }
    return this.carriers.size > 0;
  }

  private forget(carrier: Carrier): void {
    carrier[this.response] = undefined;
    carrier[this.session] = undefined;
    this.carriers.delete(carrier);
  }

  private register(response: ServerResponse, session: AuthenticatedSession): void {
    if (this.registered.has(response)) return;
    this.registered.add(response);
    response.once(
      'close',
      this.connections.add(session, () => endResponse(response)),
    );
  }
}

function carrierOf({ req }: ServerResponse): Carrier {
  const { httpVersionMajor } = req;
  return (httpVersionMajor === 1
    ? req.socket
    : (req as unknown as { stream: Duplex }).stream) as unknown as Carrier;
}
