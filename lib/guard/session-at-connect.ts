import { SessionError, UnsupportedContextError } from '../errors/session.errors.js';
import type { AuthenticateOptions, SessionAuthenticator } from '../http/session-authenticator.js';
import { attachSession } from './attached-session.js';
import { keep } from './connection-of.js';
import { NO_RESPONSE } from './exchange-of.js';
import {
  graphqlWsClient,
  isGraphqlWs,
  type SocketClient,
  type UpgradedConnection,
  upgradedClient,
} from './graphql-client.js';
import { graphqlConnection } from './graphql-connection.js';

/** What Mercurius calls the hook on, with the message `connection_init`. */
interface MercuriusHost {
  readonly context?: Partial<UpgradedConnection>;
}

/**
 * The hook `onConnect` for GraphQL over WebSockets: it accepts only clients with a session, when they connect. It takes the session
 * from the cookies or the `Authorization` header of the handshake, or from `connection_init` (`connectionParams` of clients):
 * `{ authorization: 'Bearer …' }` or `{ token }`. The connection ends with its session.
 *
 * Without this hook, the guard looks for the session when the connection first asks for something that is guarded.
 *
 * A client that is refused sees the close code 4401 (nobody is signed in), 4403 (cross-site, or somebody acts as the user), or 4503
 * (keys or database are unavailable), with the error's code as reason.
 *
 * @param sessions the application's: inject `SESSION_AUTHENTICATOR`
 * @param rules `maxAge` in milliseconds, `impersonated`, `csrf`. @default any session
 * @example
 * ```ts
 * GraphQLModule.forRootAsync<ApolloDriverConfig>({
 *   driver: ApolloDriver,
 *   inject: [SESSION_AUTHENTICATOR],
 *   useFactory: (sessions: SessionAuthenticator) => ({
 *     subscriptions: { 'graphql-ws': { onConnect: sessionAtConnect(sessions) } },
 *   }),
 * })
 * ```
 */
export function sessionAtConnect(
  sessions: SessionAuthenticator,
  rules: AuthenticateOptions = {},
): (this: unknown, connection: object) => Promise<boolean> {
  return async function onConnect(this: unknown, connection: object): Promise<boolean> {
    const client = clientOf(connection, this);
    try {
      const session = await sessions.authenticate(client.request, NO_RESPONSE, rules);
      attachSession(client.request, sessions, session);
      keep(sessions.connections, session, graphqlConnection(client));
      return true;
    } catch (error) {
      if (!(error instanceof SessionError)) throw error;
      graphqlConnection(client).close(error);
      return false;
    }
  };
}

function clientOf(connection: object, host: unknown): SocketClient {
  if (isGraphqlWs(connection)) return graphqlWsClient(connection);
  const { app, request } = (host as MercuriusHost | undefined)?.context ?? {};
  if (request) {
    return upgradedClient({ app, request, _connectionInit: (connection as { payload?: unknown }).payload });
  }
  throw new UnsupportedContextError(
    'sessionAtConnect() is a hook of graphql-ws or Mercurius. Give it to the server as it is: onConnect: sessionAtConnect(sessions).',
  );
}
