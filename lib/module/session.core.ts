import type { ModuleState } from '../diagnostics/channels.js';
import type { Vitals } from '../diagnostics/vitals.js';
import { AccessTokens } from '../tokens/access-tokens.js';
import { DEFAULT_MODULE } from '../guard/injection-tokens.js';
import { OpenResponses } from '../connections/open-responses.js';
import { SessionConnections } from '../connections/session-connections.js';
import { type AuthenticationFacts, credentialsOf } from '../http/authentication-facts.js';
import { CsrfCheck } from '../http/csrf-check.js';
import { LateResponses } from '../http/late-responses.js';
import { MissingRefreshCookie } from '../http/missing-refresh-cookie.js';
import { RequestAuthenticator } from '../http/request-authenticator.js';
import { RequestRefresher } from '../http/request-refresher.js';
import { SessionAuthority } from '../http/session-authority.js';
import { SignInOut } from '../http/sign-in-out.js';
import { CookieTransport } from '../http/transport/cookie-transport.js';
import { HeaderTransport } from '../http/transport/header-transport.js';
import { ImpersonationCookie } from '../http/transport/impersonation-cookie.js';
import type { TokenTransport } from '../http/transport/token-transport.js';
import { listOf, type Transports } from '../http/transport/transports.js';
import type { ActiveSession } from '../session/active-session.js';
import { KeySealer } from '../keys/key-sealer.js';
import type { RingChange } from '../keys/key-ring.js';
import { ManagedSigningKeys } from '../keys/managed-signing-keys.js';
import { ProvidedSigningKeys } from '../keys/provided-signing-keys.js';
import type { SigningKeys } from '../keys/signing-keys.js';
import { longestLife, type ResolvedOptions } from '../options/resolved-options.js';
import { RefreshTokens } from '../tokens/refresh-tokens.js';
import { PublishedRevocations } from '../revocation/published-revocations.js';
import { createFeed, createRevocationChecker, createToldFeed } from '../revocation/revocation-checker.js';
import type { FeedListener, RevocationFeed } from '../revocation/revocation-feed.js';
import { Devices } from '../session/devices.js';
import { SessionRotator } from '../session/session-rotator.js';
import { DatabaseClock } from '../storage/database-clock.js';
import { KeyStore } from '../storage/key.store.js';
import { PostgresNotifications } from '../storage/postgres-notifications.js';
import { StatementWatch } from '../storage/statement-watch.js';
import { NotBeforeStore } from '../storage/not-before.store.js';
import { isRowKeeper, type Rows } from '../storage/row-keeper.js';
import { type HeardRevocation, SessionStore } from '../storage/session.store.js';
import { BulkRevocation } from '../session/bulk-revocation.js';
import { SessionCap } from '../session/session-cap.js';
import { SessionEvents } from '../session/session-events.js';
import { SessionLifecycle } from '../session/session-lifecycle.js';
import { SessionManager } from '../session/session-manager.js';
import { TheftResponse } from '../session/theft-response.js';
import { SessionService } from './session.service.js';

/** The parts of the module that others use. */
export interface SessionCore {
  readonly service: SessionService;
  readonly authenticator: RequestAuthenticator<TokenTransport, ActiveSession>;
  readonly manager: SessionManager;
  /** What is open in the name of sessions. */
  readonly connections: SessionConnections;
  readonly events: SessionEvents;
  /** Listens to what other processes revoke, if the application has asked for that. */
  readonly elsewhere: RevocationFeed<HeardRevocation> | undefined;
  /** Tells and hears of revocations at once, if the application has asked for that. */
  readonly push: { start(): Promise<void>; stop(): Promise<void> } | undefined;
  readonly lifecycle: SessionLifecycle;
  readonly cap: SessionCap;
  readonly transports: Transports;
  readonly options: ResolvedOptions;
  readonly signingKeys: SigningKeys;
  readonly refreshTokens: RefreshTokens;
  /** The time that all parts go by. */
  readonly clock: DatabaseClock;
  /** What the module can tell of itself. It asks nobody. */
  state(): ModuleState;
  /** What a description of the application says of the module. */
  facts(): AuthenticationFacts;
  /** What a health check can ask of the module. */
  readonly vitals: Vitals;
}

/**
 * For how long a refresh key makes tokens, in milliseconds. A retired key is kept for the longest life of a session, so that
 * there are about 14 keys at most.
 */
function rotationOfRefreshKeys({ signingKeys, refreshToken }: ResolvedOptions): number {
  return Math.max(signingKeys.rotation, refreshToken.ttl, refreshToken.absoluteTtl / 12);
}

/** How much longer than an access token the row of a revoked session stays, so that slow processes can still read it. */
const TOMBSTONE_MARGIN = 10 * 60_000;

/** For how long the feed may lag in a process that is well, in milliseconds. */
const LONGEST_FEED_LAG = 60_000;

/** The id of no session. */
const NOBODY = '00000000-0000-7000-8000-000000000000';

/**
 * Makes all parts and connects them. No other code does this.
 *
 * @param dataSource the database, or what keeps the rows in its place
 * @param refreshRoute gives the path of a cookie that browsers send to the refresh route. It is called when requests come,
 *   because the application may set a global prefix after the module was made
 * @param module name of the module
 */
export function createSessionCore(
  dataSource: Rows,
  options: ResolvedOptions,
  refreshRoute: () => string = () => options.refreshPath ?? '/',
  module: string = DEFAULT_MODULE,
): SessionCore {
  const clock = new DatabaseClock(dataSource, options.databaseTimeout);
  const times = { tombstone: longestLife(options) + TOMBSTONE_MARGIN, ...options.refreshToken };
  const statements = {
    module,
    watch: new StatementWatch({ now: () => clock.peek() }, options.databaseTimeout, () => clock.doubt()),
  };
  const sessions = new SessionStore(dataSource, clock, times, statements);
  const notBefores = new NotBeforeStore(dataSource, statements);
  const events = new SessionEvents(module);
  const devices = new Devices(options.devices);
  const rotated =
    (purpose: 'access' | 'refresh') =>
    ({ kid, signsFrom, dropped }: RingChange, now: number) =>
      events.emit({ type: 'key_rotated', purpose, kid, signsFrom: new Date(signsFrom), dropped }, now);
  const keys = new KeyStore(dataSource, statements);
  const sealer = new KeySealer(options.secrets, options.deployment);
  const { source } = options.signingKeys;
  const signingKeys = source
    ? new ProvidedSigningKeys(source, options.newsTimeout)
    : new ManagedSigningKeys(keys, sealer, {
        algorithm: options.accessToken.algorithm,
        rotation: options.signingKeys.rotation,
        lifetime: longestLife(options),
        interval: options.revocationInterval,
        patience: options.newsTimeout,
        rotated: rotated('access'),
      });
  const refreshKeyTimes = {
    rotation: rotationOfRefreshKeys(options),
    // A session may have a longer time between two refreshes than the options say, up to this.
    lifetime: options.refreshToken.absoluteTtl,
  };
  const refreshTokens = new RefreshTokens(keys, sealer, refreshKeyTimes, rotated('refresh'));
  const stores = { sessions, notBefores };
  const notifications =
    options.revocationPush && !isRowKeeper(dataSource)
      ? new PostgresNotifications(dataSource, clock, options.databaseTimeout)
      : undefined;
  const announce = notifications && (() => notifications.notify());
  const elsewhere =
    options.events === 'everywhere'
      ? createToldFeed(options, stores, clock, eventsElsewhere(events), announce)
      : undefined;
  const feed = elsewhere ?? createFeed(options, stores, clock, announce);
  const revocation = createRevocationChecker(options, stores, feed);
  const { issuer } = options.accessToken;
  const published = new PublishedRevocations(feed, signingKeys, issuer, longestLife(options), clock);
  const ways = createTransports(options, refreshRoute);
  const transports = listOf(ways);

  const accessTokens = new AccessTokens(signingKeys, options.accessToken, (now) => {
    void revocation.freshen(now);
  });
  const bulk = new BulkRevocation(notBefores, sessions, revocation, events, clock, times.tombstone);
  const thefts = new TheftResponse(options.theft, async (userId) =>
    bulk.revokeAllForUser(userId, { reason: 'theft' }),
  );
  const lifecycle = new SessionLifecycle(
    accessTokens,
    refreshTokens,
    new SessionRotator(sessions, options, devices),
    revocation,
    events,
    thefts,
    bulk,
    devices,
    options,
    Math.min(...transports.map((each) => each.maxAccessTokenLength)),
  );
  const manager: SessionManager = new SessionManager(
    sessions,
    lifecycle,
    bulk,
    revocation,
    events,
    options,
    clock,
  );
  const cap = new SessionCap(sessions, manager, options.maxSessionsPerUser);
  const csrf = new CsrfCheck(refreshTokens, options.csrf, { events, devices, clock });
  const responses = new LateResponses(
    events,
    async (id) => sessions.isOver(id, clock.now()),
    (response) => {
      for (const transport of transports) transport.withdraw(response);
      csrf.withdrawToken(response);
    },
    options.rotation,
    clock,
  );
  const refresher = new RequestRefresher(lifecycle, refreshTokens, csrf, responses, options);
  const authority = new SessionAuthority(lifecycle, manager, refresher, csrf, responses, options, clock);
  const connections = new SessionConnections(
    signingKeys,
    feed,
    async (ids) => sessions.findStates(ids),
    { interval: options.revocationInterval, recheck: options.accessToken.ttl },
    clock,
  );
  const authenticator = new RequestAuthenticator(
    module,
    accessTokens,
    transports,
    csrf,
    authority,
    clock,
    connections,
    new OpenResponses(connections),
    ways.cookies && new MissingRefreshCookie(() => ways.cookies!.refreshPath),
    ways.cookies?.lost,
  );
  const signInOut = new SignInOut(
    accessTokens,
    refreshTokens,
    lifecycle,
    cap,
    manager,
    authority,
    ways,
    (request) => authenticator.isByHeaders(request),
    csrf,
    responses,
    clock,
  );
  const service = new SessionService({
    accessTokens,
    lifecycle,
    cap,
    bulk,
    manager,
    authenticator,
    signInOut,
    csrf,
    refreshTokens,
    signingKeys,
    published,
    events,
    options,
    clock,
  });
  const push = notifications && {
    start: async () => notifications.start(() => feed.hurry()),
    stop: async () => {
      await notifications.stop();
      await feed.stop();
    },
  };
  const readsFeed = options.revocation === 'feed' || elsewhere || options.revocationsPath !== undefined;
  const state = (): ModuleState => {
    const now = clock.peek();
    return {
      module,
      verifications: { ...accessTokens.counts },
      feed: readsFeed ? feed.state(now) : undefined,
      keys: [signingKeys.state(now), refreshTokens.keyState(now)],
    };
  };
  const vitals: Vitals = {
    state,
    ask: async () => sessions.find(NOBODY),
    freshen: async () => {
      const now = clock.now();
      const feedRead = readsFeed ? feed.freshen(now) : undefined;
      await Promise.allSettled([feedRead, signingKeys.publicKeys(now), refreshTokens.freshenKeys(now)]);
    },
    maxFeedLag: LONGEST_FEED_LAG,
  };
  const facts = (): AuthenticationFacts => ({
    module,
    credentials: credentialsOf(transports),
    refreshCredentials: [
      ...(ways.headers ? [{ type: 'header', name: options.headers.refresh } as const] : []),
      ...(ways.cookies ? [{ type: 'cookie', name: ways.cookies.refreshCookieName } as const] : []),
    ],
    csrf: options.csrf,
    refreshes: options.refresh === 'transparent',
    looksAgain: options.lookAgain,
    hasOwnKeys: source !== undefined,
    unavailable: ['keys_unavailable', 'storage_unavailable'],
  });
  return {
    service,
    authenticator,
    manager,
    connections,
    events,
    elsewhere,
    push,
    lifecycle,
    cap,
    transports: ways,
    options,
    signingKeys,
    refreshTokens,
    clock,
    state,
    facts,
    vitals,
  };
}

function createTransports(options: ResolvedOptions, refreshRoute: () => string): Transports {
  const { transport } = options;
  const headers = transport === 'cookie' ? undefined : new HeaderTransport(options);
  const cookies = transport === 'header' ? undefined : new CookieTransport(options, refreshRoute);
  return { headers, impersonation: cookies && new ImpersonationCookie(cookies), cookies };
}

/** Makes events of what other processes revoke. */
function eventsElsewhere(events: SessionEvents): FeedListener<HeardRevocation> {
  return {
    revoked: ({ id, userId, actor, revokedReason }, at) => {
      const parties = { sessionId: id, userId, actor: actor ?? undefined };
      const facts = { ...parties, reason: revokedReason ?? 'revoked', by: undefined, elsewhere: true };
      events.emit({ type: 'revoked', ...facts }, at);
    },
    revokedBefore: ({ userId, notBefore, except, reason }, at) => {
      const facts = { userId, before: new Date(notBefore), except, reason, by: undefined, elsewhere: true };
      events.emit({ type: 'all_revoked', ...facts }, at);
    },
  };
}
