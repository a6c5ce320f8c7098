import { SessionError } from '../errors/session.errors.js';
import type { AuthenticateOptions, SessionAuthenticator } from '../http/session-authenticator.js';
import { attachSession } from './attached-session.js';
import { keep } from './connection-of.js';
import { NO_RESPONSE } from './exchange-of.js';
import { graphqlWsClient, isGraphqlWs, type UpgradedConnection, upgradedClient } from './graphql-client.js';
import { graphqlConnection } from './graphql-connection.js';

/** What Mercurius calls the hook on. */
interface MercuriusHost {
  readonly context: UpgradedConnection;
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
    const client = isGraphqlWs(connection)
      ? graphqlWsClient(connection)
      : upgradedClient({
          ...(this as MercuriusHost).context,
          _connectionInit: (connection as { payload?: unknown }).payload,
        });
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
