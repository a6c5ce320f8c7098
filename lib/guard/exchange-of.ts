import type { ExecutionContext } from '@nestjs/common';
import { UnsupportedContextError } from '../errors/session.errors.js';
import type { HttpRequest, HttpResponse } from '../http/messages.js';

/** A request that may carry a session, and the response that can give the client its tokens. */
export interface Exchange {
  readonly request: HttpRequest;
  readonly response: HttpResponse;
}

/** Where headers have left long ago: nothing can be given to the client. */
const NO_RESPONSE: HttpResponse = {
  headersSent: true,
  getHeader: () => undefined,
  setHeader: () => undefined,
};

/** What GraphQL servers leave in a resolver's context: Apollo on Express and Fastify, Mercurius, graphql-ws. */
interface GraphQLContext {
  readonly req?: HttpRequest & { readonly res?: HttpResponse };
  readonly res?: HttpResponse;
  readonly request?: HttpRequest;
  readonly reply?: HttpResponse & { readonly request?: HttpRequest };
  readonly extra?: { readonly request?: HttpRequest };
}

/** Socket.IO's socket, or one of `ws` that the application has given its upgrade request. */
interface WebSocketClient {
  readonly request?: HttpRequest;
  readonly handshake?: HttpRequest;
}

/** How each of Nest's contexts names the two. */
const READERS: Readonly<Record<string, (context: ExecutionContext) => Exchange>> = {
  // What switchToHttp() gives, without the object that it makes each time.
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
    const { request, handshake } = context.getArgByIndex<WebSocketClient>(0);
    const found = hasHeaders(request) ? request : handshake;
    if (!hasHeaders(found)) {
      throw new UnsupportedContextError(
        'The WebSocket client does not have the request that it connected with. Give it to the client in the gateway: handleConnection(client, request) { client.request = request }.',
      );
    }
    return { request: found, response: NO_RESPONSE };
  },
};

/**
 * The request and response of a context; the one place that knows where Nest's contexts have them.
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
