import type { InjectionToken } from '@nestjs/common';
import type { DataSourceOptions } from 'typeorm';
import type { TokenTheft } from '../errors/session.errors.js';
import type { SigningAlgorithm, SigningKeySource } from '../keys/signing-key.js';
import type { Duration } from './duration.js';

/** How the unexpired access tokens of a revoked session are refused; see {@link SessionModuleOptions.revocation}. */
export type RevocationMode = 'feed' | 'database' | 'none';

/** Where a session is refreshed; see {@link SessionModuleOptions.refresh}. */
export type RefreshMode = 'transparent' | 'endpoint';

/** Where tokens travel; see {@link SessionModuleOptions.transport}. */
export type TransportMode = 'cookie' | 'header' | 'any';

/** What a theft revokes; see {@link SessionModuleOptions.theft}. */
export type TheftScope = 'session' | 'user';

/** A scope, or a function that chooses one for a theft. */
export type TheftPolicy = TheftScope | ((theft: TokenTheft) => TheftScope | Promise<TheftScope>);

/** How forged cross-site requests are recognised; see {@link CsrfOptions.mode}. */
export type CsrfMode = 'origin' | 'token' | 'header' | 'off';

/** Options of access tokens. */
export interface AccessTokenOptions {
  /** The longest lifetime of an access token: whole seconds, at least 1 s. @default '15m' */
  ttl?: Duration;
  /**
   * Each access token lives for `ttl` × (1 − `jitter` × r), with a random r from 0 to 1. Without jitter, clients that signed
   * in or refreshed at the same moment would always refresh at the same moment. 0 to 0.25. @default 0.05
   */
  jitter?: number;
  /**
   * The algorithm of new keys. HS256 is by far the cheapest to sign and verify, and its tokens are the shortest. With the
   * other algorithms, other services can verify tokens but cannot make them. A change of the algorithm is a key rotation:
   * clients do not notice it. @default 'HS256', or 'ES256' if `jwksPath` publishes the keys
   */
  algorithm?: SigningAlgorithm;
  /** The `iss` claim; checked when set. @default none */
  issuer?: string;
  /** The `aud` claim; checked when set. @default none */
  audience?: string;
  /**
   * How far the clock of a service that only verifies tokens may be behind the database's, at most five minutes. A token that
   * was issued further in the future is refused. The revocation feed reads back that far. Processes with the database need no
   * tolerance: they go by its clock, and read it every ten seconds. A process warns at start if its machine's clock differs from
   * the database's by more than half of this, because another service may differ as much the other way. Expiry has no
   * tolerance, because an expired token costs only a refresh, not a login.
   * @default '2m'
   */
  clockTolerance?: Duration;
  /**
   * The largest number of verified tokens in the cache of a process, about 1.5 kB each. The next request with a cached token
   * needs no cryptography. 0 turns the cache off. @default 10000
   */
  cacheSize?: number;
}

/** Options of refresh tokens, and so of the session's lifetime. */
export interface RefreshTokenOptions {
  /** How long a session lives without a refresh. Each refresh starts this time again. @default '30d' */
  ttl?: Duration;
  /** The longest lifetime of a session, from sign-in. @default '365d', or `ttl` if that is longer */
  absoluteTtl?: Duration;
}

/** Options of signing keys. */
export interface SigningKeyOptions {
  /** How long a key signs before the next one takes over, at least 1 s. Clients do not notice a rotation. @default '24h' */
  rotation?: Duration;
  /**
   * Gives the application's own keys. The module then makes no keys itself. Called at start, for an unknown `kid`, and about
   * every five minutes.
   */
  source?: SigningKeySource;
}

/**
 * Options of the check against cross-site request forgery. Only requests with unsafe methods on guarded routes are checked.
 */
export interface CsrfOptions {
  /**
   * - `origin`: the browser tells where a request comes from (`Sec-Fetch-Site`; without it, `Origin` is compared with
   *   `Host`). Needs no client code. A request with neither header does not come from a browser, and passes.
   * - `token`: sign-in and refresh send a token in a response header. The client sends it back in a request header.
   * - `header`: the client adds a custom header with any value. A page of another site cannot do that.
   * - `off`: no check. Only for clients that are not browsers.
   * @default 'origin'
   */
  mode?: CsrfMode;
  /** Name of the header of modes `token` and `header`. @default 'anti-csrf' */
  header?: string;
  /**
   * Other origins (`https://app.example.com`) that may send unsafe requests, and that the CORS helper allows. @default []
   */
  trustedOrigins?: string[];
}

/** Options of the cookies. A combination that browsers would reject is an error at start. */
export interface SessionCookieOptions {
  /** Name of the access-token cookie, without prefix. @default 'session_access' */
  accessName?: string;
  /** Name of the refresh-token cookie, without prefix. @default 'session_refresh' */
  refreshName?: string;
  /**
   * Name of the marker cookie, without prefix. The marker holds the token id of a refresh token that looked old. It is set
   * when a client is told to look again, with the attributes of the refresh cookie. @default 'session_look_again'
   */
  lookAgainName?: string;
  /**
   * Name of a cookie that scripts can read, or `false` for none. Its value is `<access token expiry>.<session expiry>`
   * in epoch seconds. A page can read from it that somebody is signed in, and until when. @default false
   */
  indicatorName?: string | false;
  /**
   * `auto` puts `__Host-Http-` before the name of a cookie that is secure, with `Path=/` and without a domain, and `__Secure-`
   * before the name of every other secure cookie. The cookie of `indicatorName`, which scripts can read, gets `__Host-` instead
   * of `__Host-Http-`. A name that begins with a prefix stays as it is, and the cookie must meet the prefix's conditions.
   * @default 'auto'
   */
  prefix?: 'auto' | 'none';
  /** `Domain` attribute. Without it, cookies are host-only. @default none */
  domain?: string;
  /** `Path` attribute of the cookies. @default '/' */
  path?: string;
  /**
   * `Path` of the refresh cookie, as browsers see it. Set it where browsers request the refresh route at another path than the
   * application knows, for example behind a proxy that removes a prefix. @default `path`; in endpoint mode the path of the
   * refresh route, with the global prefix, the path that `RouterModule` gives to `SessionModule`, and the path at which Express
   * mounts the application. If the path has parameters, the part before the first one
   */
  refreshPath?: string;
  /** `SameSite` attribute. `none` needs `secure`. @default 'lax' */
  sameSite?: 'strict' | 'lax' | 'none';
  /** `Secure` attribute. Most browsers accept secure cookies from `http://localhost`; Safari does not. @default true */
  secure?: boolean;
  /**
   * `Partitioned` attribute (CHIPS), for applications inside other sites' frames. Needs `secure`. If it is turned on later,
   * every response that sets a cookie clears the one that is not partitioned. If it is turned off later, duplicates are cleared
   * when a request has them. @default false
   */
  partitioned?: boolean;
  /** Domains for which earlier versions of the application set these cookies. Duplicates of them are cleared. @default [] */
  formerDomains?: string[];
}

/**
 * Names of the headers for clients without cookies. The access token comes in `Authorization: Bearer`. Names have letters,
 * digits and hyphens.
 */
export interface SessionHeaderOptions {
  /** Response header with a new access token. @default 'access-token' */
  access?: string;
  /**
   * Request header with the refresh token, and response header with a new one. @default 'refresh-token'; with another
   * `cookies.refreshName`, a name that follows from it: `'admin-refresh-token'` for `'admin_refresh'`
   */
  refresh?: string;
  /**
   * Response header with the ids of the tokens that look old, and request header with them when the client comes again.
   * @default 'look-again'
   */
  lookAgain?: string;
  /** Request header of a sign-in. Its value `header` asks for tokens in headers. @default 'session-transport' */
  transport?: string;
}

/** Options of what caches may keep. No response with a token of the module is ever stored by a shared cache. */
export interface SessionCacheOptions {
  /**
   * Whether responses to requests with a session say `Cache-Control: private`, so that no shared cache stores them. A handler
   * that sets `Cache-Control` itself has its way. @default true
   */
  private?: boolean;
  /**
   * Whether a response that signs out says `Clear-Site-Data: "cache"`: the browser then forgets what its HTTP cache has of this
   * origin. The Back button may still show a page; only `no-store` on the page itself prevents that. Applies to `signOut()`,
   * `clearCookies()` and `revoke()` of the session of the request. Browsers obey over HTTPS only.
   * @default false
   */
  clearAtSignOut?: boolean;
}

/** Options of the clean-up, which removes sessions that are over. */
export interface CleanupOptions {
  /** Time between two runs in one process. @default '1h' */
  interval?: Duration;
  /** Rows removed by one statement. @default 1000 */
  batchSize?: number;
}

/**
 * What is kept of clients, and told of in events: all of it (`true`), nothing (`false`), or what a function makes of it, such
 * as a shorter form or a hash. It also applies to the `device` that the application gives itself. A function gets the whole
 * text as the client sent it, and returns a text, or null for nothing. It is not asynchronous. If it fails, nothing is kept,
 * and this is logged once. Sessions from before keep what they have until they end.
 */
export interface DeviceOptions {
  /** `User-Agent`. Without it, the browser and the system are not known. At most 255 characters are kept. @default true */
  userAgent?: boolean | ((userAgent: string) => string | null);
  /** The address of the client. {@link truncateIp} is such a function. At most 64 characters are kept. @default true */
  ip?: boolean | ((ip: string) => string | null);
}

/** Options of `SessionModule`. Durations are seconds, or strings such as `'15m'`. */
export interface SessionModuleOptions {
  /**
   * At least 32 random characters (`openssl rand -base64 48`), the same in every process. They encrypt the keys in the
   * database, so that nobody can make access tokens with a stolen database. To change the secret, give several, newest
   * first: the first one encrypts, all of them decrypt. `false` says that keys may be in the database in plain text. A secret
   * that is `undefined`, as an environment variable is that nobody has set, stops the start. @default none: plain text, with a
   * warning; with `NODE_ENV=production` the start stops
   */
  secret?: string | string[] | false;
  /**
   * Name of this deployment, such as `'production'`, the same in every process of it, with at most 200 characters. Keys in the
   * database are encrypted for it. So if the database and `secret` are copied to another deployment with another name, it
   * cannot make tokens that this one accepts. Needs `secret`. If a name is added later, the keys are encrypted again at start,
   * so every process must get the name at once. @default none
   */
  deployment?: string;
  /**
   * The largest number of sessions that a user may have at the same time, also if they sign in in several processes at the
   * same moment. Beyond it, `'oldest'` ends the user's oldest session (`session_over` says `limit`); `'refuse'` refuses the
   * sign-in (`too_many_sessions`). A number means `'oldest'`. @default no limit
   */
  maxSessionsPerUser?: number | { limit: number; policy: 'oldest' | 'refuse' };
  /** Access tokens. */
  accessToken?: AccessTokenOptions;
  /** Refresh tokens and the lifetime of sessions. */
  refreshToken?: RefreshTokenOptions;
  /**
   * For how long both the old and the new refresh token stay valid after an exchange, at least. Late requests need this, and
   * browsers that were killed before they wrote their newest cookies to disk (Chromium takes up to 30 s). At most half of
   * `accessToken.ttl`. With less than 70 s, killed browsers may be signed out. 0 means strict single use.
   * @default '90s', or half of `accessToken.ttl` if that is less
   */
  reuseWindow?: Duration;
  /**
   * Whether a client whose refresh token looks old must look again before that counts as theft, or before its cookies are
   * cleared if the session is over. With `false`, the first such request counts, even if it is only late.
   * @default true
   */
  lookAgain?: boolean;
  /**
   * What a theft revokes: the stolen `session`, all sessions of its `user`, or what a function returns for it. The session is
   * revoked in any case, and before the function is called. The request that shows the theft waits for the function. If the
   * function fails, this is logged, and no other session is revoked. @default 'session'
   */
  theft?: TheftPolicy;
  /**
   * Which revocations have events in this process: its own, or with `everywhere` also those of all other processes with the
   * same database (`elsewhere` is then true). They are heard of within `revocationInterval`, by one small query in this time,
   * whether or not requests come. Each process with this option hears of each of them once. What was revoked while the process
   * was not running is not told. @default 'process'
   */
  events?: 'process' | 'everywhere';
  /**
   * - `transparent`: the guard refreshes the session as part of a request with an expired access token.
   * - `endpoint`: the guard answers `try_refresh`, and the client calls the refresh route (`refreshPath`). Browsers send the
   *   refresh cookie only to that route.
   * @default 'transparent'
   */
  refresh?: RefreshMode;
  /** Signing keys. */
  signingKeys?: SigningKeyOptions;
  /**
   * How soon access tokens of a revoked session are refused.
   * - `feed`: at once in the process that revoked it, within `revocationInterval` in the others. No cost per request.
   * - `database`: at once in every process. Costs one primary-key look-up per request.
   * - `none`: when they expire.
   * @default 'feed'
   */
  revocation?: RevocationMode;
  /**
   * The shortest time between two reads by which a process learns what other processes have done: which sessions they have
   * revoked (in mode `feed`), and which signing keys they have made or dropped. Only requests cause these reads. While
   * two processes disagree by more than five seconds, as just after the database's clock was set, the revocation may be seen ten
   * seconds later.
   * @default '1s'
   */
  revocationInterval?: Duration;
  /**
   * On PostgreSQL: whether processes tell each other of revocations, by `LISTEN` and `NOTIFY`, so that all of them refuse a
   * revoked session at once. It takes one more connection for each process, and one more small statement for each revocation.
   * Where the connection breaks, and behind a pooler that pools transactions, revocations are heard of within
   * `revocationInterval`, as without this option. Needs mode `feed`. @default false
   */
  revocationPush?: boolean;
  /**
   * Where the tokens of clients are.
   * - `cookie`: in cookies. `Authorization` and other headers are not looked at.
   * - `header`: in headers, for native apps and services. Cookies are not looked at, and never set. There is no CSRF check,
   *   because no browser sends these headers on its own.
   * - `any`: in both. A sign-in sets cookies unless the request asks for headers (`session-transport: header`). If a request has
   *   a token of this module's form in a header, the headers alone count; otherwise the cookies, with their CSRF check.
   * @default 'any'
   */
  transport?: TransportMode;
  /** Names of headers with tokens. */
  headers?: SessionHeaderOptions;
  /**
   * How long a request with a good access token waits at most for what other processes have done: revocations, and signing keys
   * that were made or dropped. If the database does not answer by then, what is known decides, and no other request waits
   * before an answer has come. @default '1s'
   */
  newsTimeout?: Duration;
  /**
   * How long a statement may take at most, with the wait for a connection of the pool. A request that needs it is then answered
   * with 503 (`storage_unavailable`). The database may still carry it out, which harms nothing. Set timeouts of the driver as
   * well, so that its connections come back. @default '5s'
   */
  databaseTimeout?: Duration;
  /** Cross-site request forgery. */
  csrf?: CsrfOptions;
  /** Cookies. */
  cookies?: SessionCookieOptions;
  /** What is kept of clients: user agent and address. */
  devices?: DeviceOptions;
  /** What caches may keep. */
  caches?: SessionCacheOptions;
  /** Clean-up of sessions that are over. With `false`, the application must call `removeExpired()`. */
  cleanup?: CleanupOptions | false;
  /**
   * TypeORM options of a separate database for the module. The module opens and migrates it at start. @default none: the
   * module uses the application's `DataSource`
   */
  database?: DataSourceOptions;
  /**
   * SQLite drivers use one connection for everything. So if a transaction of the application rolls back, it also rolls back
   * the module's writes. `own` opens a second connection to the same file. @default 'own'
   */
  sqliteConnection?: 'own' | 'shared';
}

/** Options that belong to the module's definition: in `forRootAsync` they stand beside `useFactory`. */
export interface SessionModuleExtras {
  /**
   * Name of the module, if an application has several. Its exports are then found by this name:
   * `@InjectSessionService('admin')`, `@UseGuards(SessionGuard.of('admin'))`, `@CurrentSession({ module: 'admin' })`. Each
   * module needs different cookie names and its own tables: another database, or another `entityPrefix`.
   * @default none: `SessionService` and `SessionGuard`
   */
  name?: string;
  /** Makes the module's exports available everywhere without importing it. @default false */
  isGlobal?: boolean;
  /** Path of a ready-made `POST` route that refreshes the session. Needed for `refresh: 'endpoint'`. @default none */
  refreshPath?: string;
  /**
   * Path of a ready-made `GET` route with the public halves of the signing keys (RFC 7517), such as
   * `'/.well-known/jwks.json'`. With them, other services can verify access tokens but cannot make them. @default none
   */
  jwksPath?: string;
  /**
   * Path of a ready-made `GET` route with the revocations, signed, such as `'/.well-known/session-revocations'`. Services
   * without the database (`SessionModule.forVerifier`) ask it, and refuse revoked sessions then. It has nothing secret: session
   * ids, digests of user ids, reasons. Needs `jwksPath`. @default none
   */
  revocationsPath?: string;
  /** Injection token of the application's TypeORM `DataSource`. @default the `DataSource` class */
  dataSourceToken?: InjectionToken;
}

/** For `forRootAsync({ useClass })` and `useExisting`: makes the options. */
export interface SessionOptionsFactory {
  createSessionOptions(): Promise<SessionModuleOptions> | SessionModuleOptions;
}
