import type { ExecutionContext } from '@nestjs/common';
import { UnsupportedContextError } from '../errors/session.errors.js';
import type { HttpRequest, HttpResponse } from '../http/messages.js';
import { handshakeOf } from './handshake.js';

/** A request that may carry a session, and the response that can carry new tokens. */
export interface Exchange {
  readonly request: HttpRequest;
  readonly response: HttpResponse;
}

/** The response of a connection, such as a WebSocket. Its headers were sent at the handshake, so it cannot carry tokens. */
export const NO_RESPONSE: HttpResponse = {
  headersSent: true,
  getHeader: () => undefined,
  setHeader: () => undefined,
};

/** The members of a resolver's context by which GraphQL servers give the request: Apollo, Mercurius, graphql-ws. */
interface GraphQLContext {
  readonly req?: HttpRequest & { readonly res?: HttpResponse };
  readonly res?: HttpResponse;
  readonly request?: HttpRequest;
  readonly reply?: HttpResponse & { readonly request?: HttpRequest };
  readonly extra?: { readonly request?: HttpRequest };
}

/** A socket of Socket.IO, or another one to which the application has attached the upgrade request. */
interface WebSocketClient {
  readonly request?: HttpRequest;
  readonly handshake?: HttpRequest;
}

/** Reads request and response from each kind of Nest's contexts. */
const READERS: Readonly<Record<string, (context: ExecutionContext) => Exchange>> = {
  // The same as switchToHttp(), without making an object for each call.
  http: (context) => ({ request: context.getArgByIndex(0), response: context.getArgByIndex(1) }),

  graphql(context) {
    const { req, res, request, reply, extra } = context.getArgByIndex<GraphQLContext | undefined>(2) ?? {};
    const found = req ?? request ?? reply?.request ?? extra?.request;
    if (!hasHeaders(found)) {
      throw new UnsupportedContextError(
        'The GraphQL context has no request. Put it there: context: (req, res) => ({ req, res }).',
      );
    }
    return { request: found, response: res ?? reply ?? req?.res ?? NO_RESPONSE };
  },

  ws(context) {
    const client = context.getArgByIndex<WebSocketClient>(0);
    const { request, handshake } = client;
    const found = handshakeOf(client) ?? (hasHeaders(request) ? request : handshake);
    if (!hasHeaders(found)) {
      throw new UnsupportedContextError(
        'The WebSocket client does not have the request that it connected with. Give it to the client in the gateway: handleConnection(client, request) { client.request = request }.',
      );
    }
    return { request: found, response: NO_RESPONSE };
  },
};

/**
 * The request and the response of a context. No other code knows where Nest's contexts have them.
 *
 * @throws {@link UnsupportedContextError}
 */
export function exchangeOf(context: ExecutionContext): Exchange {
  const read = READERS[context.getType()];
  if (read) return read(context);
  throw new UnsupportedContextError(
    `SessionGuard does not know where a request is in the context "${context.getType()}". Put @SkipSession() on such handlers, or extend SessionGuard and override getExchange().`,
  );
}

function hasHeaders(request: HttpRequest | undefined): request is HttpRequest {
  return typeof request?.headers === 'object';
}
