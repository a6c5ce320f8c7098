import { type HttpRequest, type HttpResponse, rawRequest } from '../http/messages.js';

/** The connection of `graphql-ws`, as its server gives it to hooks and to the context. */
export interface GraphqlWsConnection {
  readonly connectionParams?: unknown;
  readonly extra: { readonly request?: HttpRequest; readonly socket?: object };
}

/** What Mercurius gives the resolvers of a connection. Contexts that applications make have perhaps the request alone. */
export interface UpgradedConnection {
  readonly app?: { readonly websocketServer?: { readonly clients: Iterable<object> } } | undefined;
  readonly request: HttpRequest;
  /** What came with `connection_init`. */
  readonly _connectionInit?: unknown;
}

/** The members of a resolver's context by which GraphQL servers give the request. */
export interface GraphQLContext extends Partial<GraphqlWsConnection>, Partial<UpgradedConnection> {
  /** Nest gives the connection of `graphql-ws` here. */
  readonly req?: HttpRequest & { readonly res?: HttpResponse } & Partial<GraphqlWsConnection>;
  readonly res?: HttpResponse;
  readonly reply?: HttpResponse & { readonly request?: HttpRequest };
}

/** The client of an operation that came over a WebSocket. */
export interface SocketClient {
  /** The request that it connected with, with the credentials of `connection_init`. */
  readonly request: HttpRequest;
  /** Finds the socket of `ws`, if the server tells. */
  readonly findSocket: () => object | undefined;
}

/** The handshakes of connections, with the credentials of `connection_init`, by the requests of these handshakes. */
const handshakes = new WeakMap<object, HttpRequest>();

/** The client of a resolver's context. @returns `undefined` if the operation came over HTTP */
export function socketClientOf(context: GraphQLContext): SocketClient | undefined {
  const { req, res, app, request, reply, _connectionInit } = context;
  if (isGraphqlWs(context)) return graphqlWsClient(context);
  if (isGraphqlWs(req)) return graphqlWsClient(req);
  const found = req ?? request;
  // Mercurius gives its connections a reply that is none.
  const hasResponse = res !== undefined || req?.res !== undefined || (reply !== undefined && 'raw' in reply);
  if (hasResponse || found?.headers?.upgrade?.toLowerCase() !== 'websocket') return undefined;
  return upgradedClient({ app, request: found, _connectionInit });
}

export function isGraphqlWs(connection: object | undefined): connection is GraphqlWsConnection {
  if (connection === undefined || !('extra' in connection)) return false;
  const { extra } = connection;
  return typeof extra === 'object' && extra !== null && 'request' in extra;
}

export function graphqlWsClient({ extra, connectionParams }: GraphqlWsConnection): SocketClient {
  return { request: handshakeOf(extra.request!, connectionParams), findSocket: () => extra.socket };
}

export function upgradedClient({ app, request, _connectionInit }: UpgradedConnection): SocketClient {
  return {
    request: handshakeOf(request, _connectionInit),
    findSocket() {
      const { socket } = rawRequest(request);
      const clients: Iterable<{ _socket?: unknown }> = app?.websocketServer?.clients ?? [];
      return [...clients].find(({ _socket: carrier }) => carrier === socket);
    },
  };
}

/** The request of a handshake as guards see it: with the credentials that the client sent afterwards, if it did. */
export function handshakeSeenByGuards(request: object): object {
  return handshakes.get(request) ?? request;
}

/**
 * A handshake, with the credentials of `connection_init`: browsers cannot give a WebSocket an `Authorization` header.
 *
 * Mercurius makes all of `connection_init` headers of the handshake. A page of another site could so say that it is of this one
 * (`sec-fetch-site`, `x-forwarded-host`). What the handshake did not have does not count.
 */
function handshakeOf(request: HttpRequest, params: unknown): HttpRequest {
  const known = handshakes.get(request);
  if (known) return known;
  if (!isObject(params)) return request;
  const sent = rawRequest(request).headersDistinct ?? request.headers;
  const added = { ...params, ...(isObject(params['headers']) && params['headers']) };
  const headers = Object.fromEntries(
    Object.entries(request.headers).filter(([name]) => name in sent || !(name in added)),
  );
  headers['authorization'] ??= authorizationIn(added);
  const handshake = Object.create(request, { headers: { value: headers } }) as HttpRequest;
  handshakes.set(request, handshake);
  return handshake;
}

/** Names are those that clients have come to use, in any case. */
function authorizationIn(params: Readonly<Record<string, unknown>>): string | undefined {
  const named = new Map(Object.entries(params).map(([name, value]) => [name.toLowerCase(), value]));
  const [authorization, token] = [named.get('authorization'), named.get('token')];
  if (typeof authorization === 'string') return authorization;
  return typeof token === 'string' ? `Bearer ${token}` : undefined;
}

function isObject(value: unknown): value is Readonly<Record<string, unknown>> {
  return typeof value === 'object' && value !== null;
}
