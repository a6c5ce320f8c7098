import type { ExecutionContext } from '@nestjs/common';
import { UnsupportedContextError } from '../errors/session.errors.js';
import { type HttpRequest, type HttpResponse, rawRequest, rawResponse } from '../http/messages.js';
import { type GraphQLContext, socketClientOf } from './graphql-client.js';
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
    const exchange = graphqlExchange(context.getArgByIndex<GraphQLContext | undefined>(2) ?? {});
    if (exchange) return exchange;
    throw new UnsupportedContextError(
      'The GraphQL context has no request. Put it there: context: (req, res) => ({ req, res }).',
    );
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

/** The request and the response of a GraphQL context. @returns `undefined` if it has no request */
export function graphqlExchange(context: GraphQLContext): Exchange | undefined {
  const client = socketClientOf(context);
  if (client) return { request: client.request, response: NO_RESPONSE };
  const { req, res, request, reply } = context;
  const found = req ?? request ?? reply?.request;
  if (!hasHeaders(found)) return undefined;
  const response = res ?? reply ?? req?.res ?? NO_RESPONSE;
  refuseOthers(found, response);
  return { request: found, response };
}

/**
 * Some versions of the servers give a context that is an object, and no function, to all requests: with the request that came
 * first, so with its session.
 *
 * @throws {@link UnsupportedContextError}
 */
function refuseOthers(request: HttpRequest, response: HttpResponse): void {
  const owner = 'request' in response ? response.request : request;
  const isOfAnother = 'raw' in request && rawRequest(request) !== rawRequest(owner as HttpRequest);
  if (!isOfAnother && !rawResponse(response).writableEnded) return;
  throw new UnsupportedContextError(
    'The GraphQL context belongs to another request. Make one for each: context: (req, res) => ({ req, res }).',
  );
}

function hasHeaders(request: HttpRequest | undefined): request is HttpRequest {
  return typeof request?.headers === 'object';
}
