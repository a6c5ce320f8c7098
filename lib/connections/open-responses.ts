import type { ServerResponse } from 'node:http';
import type { Duplex } from 'node:stream';
import { type HttpResponse, rawResponse } from '../http/messages.js';
import type { ResponseFollower } from '../http/session-authenticator.js';
import type { AuthenticatedSession } from '../session/authenticated-session.js';
import { endResponse } from './end-response.js';
import type { SessionConnections } from './session-connections.js';

/** What a response is sent through: a socket, or a stream of HTTP/2. Its newest response is noted in it. */
type Carrier = Pick<Duplex, 'destroyed'> & Record<symbol, ServerResponse | AuthenticatedSession | undefined>;

/**
 * Finds the responses that go on for long: event streams, downloads. Nobody knows which response will be one when the guard
 * lets its request pass, and nearly none is. So a request costs two members of its socket, which the next request on the socket
 * replaces. At each look, those responses are registered whose headers have left, and whose body has not. A handler that is
 * still thinking is not disturbed: it may be the very one that signs the session out.
 */
export class OpenResponses implements ResponseFollower {
  private readonly carriers = new Set<Carrier>();
  /** Responses that another one has followed on their socket before they had ended. */
  private readonly overtaken = new Map<ServerResponse, AuthenticatedSession>();
  // Another module may note something in the same socket.
  private readonly response = Symbol('nestjs-session-tokens.response');
  private readonly session = Symbol('nestjs-session-tokens.session');

  constructor(private readonly connections: SessionConnections) {
    connections.onLook(() => this.find());
  }

  /** Notes the response to a request that has been accepted. Called for every such request. */
  follow(response: HttpResponse, session: AuthenticatedSession): void {
    const raw = rawResponse(response);
    const carrier = carrierOf(raw);
    // A connection that was upgraded has no response, and what only looks like a response has no connection.
    if (!carrier) return;
    const previous = carrier[this.response] as ServerResponse | undefined;
    if (previous === undefined) {
      this.carriers.add(carrier);
      this.connections.schedule();
    } else if (previous !== raw && !previous.writableFinished) {
      // A client may send its next request before the response to this one has ended (HTTP pipelining).
      this.overtaken.set(previous, carrier[this.session] as AuthenticatedSession);
    }
    carrier[this.response] = raw;
    carrier[this.session] = session;
  }

  /** @returns whether something may still turn out to be open */
  private find(): boolean {
    for (const carrier of this.carriers) {
      const response = carrier[this.response] as ServerResponse;
      const session = carrier[this.session] as AuthenticatedSession;
      if (carrier.destroyed || this.isDone(response, session)) this.forget(carrier);
    }
    for (const [response, session] of this.overtaken) {
      if (this.isDone(response, session)) this.overtaken.delete(response);
    }
    return this.carriers.size > 0 || this.overtaken.size > 0;
  }

  /** Registers a response that is under way. @returns whether there is nothing more to look for in it */
  private isDone(response: ServerResponse, session: AuthenticatedSession): boolean {
    if (response.writableFinished || response.destroyed) return true;
    if (!response.headersSent) return false;
    // What was complete before it was found is sent to its end: it may be the answer to a sign-out.
    if (!response.writableEnded || !this.connections.isOver(session)) this.register(response, session);
    return true;
  }

  private register(response: ServerResponse, session: AuthenticatedSession): void {
    const forget = this.connections.add(session, () => endResponse(response));
    response.once('close', forget).once('finish', forget);
  }

  private forget(carrier: Carrier): void {
    carrier[this.response] = undefined;
    carrier[this.session] = undefined;
    this.carriers.delete(carrier);
  }
}

function carrierOf({ req }: Partial<ServerResponse>): Carrier | undefined {
  if (req === undefined) return undefined;
  const carrier = req.httpVersionMajor === 1 ? req.socket : (req as { stream?: Duplex }).stream;
  return carrier as Carrier | undefined;
}
