import type { INestApplicationContext } from '@nestjs/common';
import { InvalidInputError, InvalidOptionError, type StaleRefreshToken } from '../errors/session.errors.js';
import { DEFAULT_MODULE } from '../guard/injection-tokens.js';
import type { HttpRequest } from '../http/messages.js';
import { SESSION_RUNTIME } from '../module/session.constants.js';
import type { SessionCore } from '../module/session.core.js';
import type { SessionRuntime } from '../module/session.runtime.js';
import { parseDuration } from '../options/duration.js';
import { parseRefreshToken } from '../protocol/refresh-token.codec.js';
import { toInfo } from '../session/session-info.js';
import type { TokenSet } from '../session/session-lifecycle.js';
import { TestClient } from './test-client.js';
import { type IssuedTokens, issueAt, refuseActor, type TestSessionInput } from './test-session-input.js';
import { WrittenHeaders } from './written-headers.js';

/**
 * How far a client's session has come:
 *
 * - `active`: it has just signed in.
 * - `expired`: its access token has expired, and its refresh token is good.
 * - `idle`: it has not been used for longer than the session lives. `session_over` with `expired`.
 * - `revoked`: somebody has ended its session. `session_over` with `revoked`.
 * - `stale`: its tokens look old, because another party has gone on with the session. `look_again`.
 * - `stolen`: the same, and it has looked again already. Its next use is a theft: `token_theft`, and the session is over.
 *
 * Clients that are `idle` or `revoked` have looked again, too, so that they get the final answer.
 */
export type ClientState = 'active' | 'expired' | 'idle' | 'revoked' | 'stale' | 'stolen';

/** How a client is signed in. */
export interface SignInOptions {
  /** @default 'active' */
  state?: ClientState;
  /** Name of the module, if the application has several. @default the module without one */
  module?: string;
}

/** The tokens of a client. */
interface Held extends IssuedTokens {
  /** When the client got them. */
  readonly at: number;
  /** Whether it was told that its refresh token looks old. */
  readonly hasLookedAgain: boolean;
  readonly newest?: TokenSet;
}

type Reach = (core: SessionCore, input: TestSessionInput, now: number) => Promise<Held>;

const SECOND = 1_000;

/** Times are set by what the parts are told, so that no test waits. */
const REACH: Readonly<Record<ClientState, Reach>> = {
  async active(core, input, now) {
    return { ...(await issueAt(core, input, now)), at: now, hasLookedAgain: false };
  },

  async expired(core, input, now) {
    const at = now - core.options.accessToken.ttl - SECOND;
    return { ...(await issueAt(core, input, at)), at, hasLookedAgain: false };
  },

  async idle(core, input, now) {
    const { ttl, absoluteTtl } = core.options.refreshToken;
    const lives = [
      parseDuration(input.ttl ?? '') ?? ttl,
      parseDuration(input.absoluteTtl ?? '') ?? absoluteTtl,
    ];
    const at = now - Math.min(...lives) - SECOND;
    return { ...(await issueAt(core, input, at)), at, hasLookedAgain: true };
  },

  async revoked(core, input, now) {
    const issued = await issueAt(core, input, now);
    await core.manager.revoke(issued.tokens.row.id);
    return { ...issued, at: now, hasLookedAgain: true };
  },

  async stale(core, input, now) {
    return goOnElsewhere(core, input, now, false);
  },

  async stolen(core, input, now) {
    return goOnElsewhere(core, input, now, true);
  },
};

/** Another party refreshes, and shows that it has kept the new tokens. So those of the client are over. */
async function goOnElsewhere(
  core: SessionCore,
  input: TestSessionInput,
  now: number,
  hasLookedAgain: boolean,
): Promise<Held> {
  const { ttl } = core.options.accessToken;
  const { reuseWindow } = core.options.rotation;
  const proven = now - SECOND;
  const refreshed = proven - reuseWindow;
  const at = refreshed - ttl - SECOND;
  const issued = await issueAt(core, input, at);
  const token = parseRefreshToken(issued.tokens.refreshToken!)!;
  const newest = await core.lifecycle.refresh(token, refreshed, false, () => undefined);
  await core.lifecycle.use(newest.accessToken, proven);
  return { ...issued, at, hasLookedAgain, newest };
}

/**
 * Signs a client in: makes a session in the application, and gives what requests of its client carry. It works with sessions in
 * memory ({@link withMemorySessions}) and with a real database. The application must have been initialised: `await app.init()`.
 *
 * @param app the application, or a testing module
 * @throws {@link InvalidOptionError} when the application has no such module, {@link InvalidInputError} for an unknown state, and
 *   the errors of `sessions.create()`
 * @example
 * ```ts
 * const alice = await signIn(app, { userId: 'alice', claims: { role: 'admin' } });
 * await request(app.getHttpServer()).get('/me').set(alice.headers).expect(200);
 * ```
 */
export async function signIn(
  app: Pick<INestApplicationContext, 'get'>,
  input: TestSessionInput,
  { state = 'active', module = DEFAULT_MODULE }: SignInOptions = {},
): Promise<TestClient> {
  const core = coreOf(app, module);
  if (!Object.hasOwn(REACH, state)) {
    throw new InvalidInputError(
      `There is no state ${JSON.stringify(state)}. There are: ${Object.keys(REACH).join(', ')}.`,
    );
  }
  if (state !== 'active') refuseActor(input, state);
  const now = core.clock.now();
  const held = await REACH[state](core, input, now);
  const newest = held.newest && { tokens: held.newest, actor: undefined, at: now, hasLookedAgain: false };
  return clientOf(core, held, newest && (await clientOf(core, newest, undefined)));
}

async function clientOf(core: SessionCore, held: Held, newest: TestClient | undefined): Promise<TestClient> {
  const { tokens, actor, at } = held;
  const request: HttpRequest = { headers: {} };
  const response = new WrittenHeaders();
  const { cookies, impersonation } = core.transports;
  cookies?.writeTokens(request, response, actor ?? tokens, at);
  if (actor) impersonation?.writeTokens(request, response, tokens, at);
  if (held.hasLookedAgain) await cookies?.tellToLookAgain(request, response, [stalenessOf(tokens)]);
  const { id } = tokens.row;
  const { transport, headers } = core.options;
  const csrfToken = await core.refreshTokens.csrfToken(id, core.clock.now());
  const { mode, header } = core.options.csrf;
  return new TestClient({
    session: toInfo(tokens.row),
    setCookies: response.setCookies,
    otherHeaders:
      transport === 'header'
        ? {
            authorization: `Bearer ${tokens.accessToken.token}`,
            ...(tokens.refreshToken !== undefined && { [headers.refresh]: tokens.refreshToken }),
            ...(held.hasLookedAgain && { [headers.lookAgain]: stalenessOf(tokens).tokenId }),
          }
        : mode === 'token' || mode === 'header'
          ? { [header]: csrfToken }
          : {},
    csrfToken,
    accessToken: tokens.accessToken.token,
    refreshToken: tokens.refreshToken,
    newest,
  });
}

/** What the marker is made of, which names the token. */
function stalenessOf({ row, refreshToken }: TokenSet): StaleRefreshToken {
  const { tokenId } = parseRefreshToken(refreshToken!)!;
  const { id: sessionId, userId } = row;
  const facts = { behind: 0, age: 0, sinceRotation: undefined, device: undefined };
  return { sessionId, userId, tokenId, kind: 'session_over', ...facts };
}

function coreOf(app: Pick<INestApplicationContext, 'get'>, module: string): SessionCore {
  const found = runtimesOf(app).find(({ core }) => core.events.module === module);
  if (found) return found.core;
  throw new InvalidOptionError(
    'module',
    `the application has no SessionModule with the name ${JSON.stringify(module)}. A service of SessionModule.forVerifier() makes no sessions: give it tokens of its issuer, or override its guard by guardFor().`,
  );
}

function runtimesOf(app: Pick<INestApplicationContext, 'get'>): SessionRuntime[] {
  try {
    return app.get<SessionRuntime, SessionRuntime>(SESSION_RUNTIME, { strict: false, each: true });
  } catch {
    // Nest does not find any.
    return [];
  }
}
