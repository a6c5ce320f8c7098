import type { InjectionToken } from '@nestjs/common';
import type { DataSourceOptions } from 'typeorm';
import type { SigningAlgorithm, SigningKeySource } from '../keys/signing-key.js';
import type { Duration } from './duration.js';

/** How a revoked session's living access tokens are refused; see {@link SessionModuleOptions.revocation}. */
export type RevocationMode = 'feed' | 'database' | 'none';

/** Where refreshing happens; see {@link SessionModuleOptions.refresh}. */
export type RefreshMode = 'transparent' | 'endpoint';

/** How forged cross-site requests are refused; see {@link CsrfOptions.mode}. */
export type CsrfMode = 'origin' | 'token' | 'header' | 'off';

/** Options of access tokens. */
export interface AccessTokenOptions {
  /** How long an access token is good for at the most: whole seconds, at least 1 s. @default '15m' */
  ttl?: Duration;
  /**
   * By what share of `ttl`, at the most, an access token lives shorter; chance decides for each. Without it, clients that
   * signed in or refreshed at the same moment would refresh together for ever. 0 to 0.25. @default 0.05
   */
  jitter?: number;
  /**
   * The algorithm that newly made keys sign with. HS256 is by far the cheapest to sign and verify, and its tokens are the
   * shortest; the others let services verify tokens that must not be able to make them. Changing it is a key rotation:
   * nobody notices. @default 'HS256', or 'ES256' where `jwksPath` publishes the keys
   */
  algorithm?: SigningAlgorithm;
  /** The `iss` claim; checked when set. @default none */
  issuer?: string;
  /** The `aud` claim; checked when set. @default none */
  audience?: string;
  /**
   * How far the clocks of two processes may be apart, at most five minutes: a token that was issued further in the future is
   * refused, the revocation feed looks back that much, and a process whose clock is off the database's by more than half of
   * it warns at start. Expiry is exact, because an expired token costs a refresh, not a login. @default '2m'
   */
  clockTolerance?: Duration;
  /**
   * How many verified tokens a process remembers, so that a token's next request needs no cryptography: about 1.5 kB each.
   * 0 verifies each time. @default 10000
   */
  cacheSize?: number;
}

/** Options of refresh tokens, and with them of the session's life. */
export interface RefreshTokenOptions {
  /** How long a session lives without being refreshed; each refresh starts it anew. @default '30d' */
  ttl?: Duration;
  /** How long a session lives at the most, counted from sign-in. @default '365d', or `ttl` if that is longer */
  absoluteTtl?: Duration;
}

/** Options of signing keys. */
export interface SigningKeyOptions {
  /** How long a key signs before the next one takes over; at least 1 s. Nobody notices a rotation. @default '24h' */
  rotation?: Duration;
  /**
   * The application's own keys, instead of those that the module makes and keeps in the database. Called at start, at
   * an unknown `kid`, and about every five minutes.
   */
  source?: SigningKeySource;
}

/** Options of the check against cross-site request forgery. It concerns unsafe methods on guarded routes only. */
export interface CsrfOptions {
  /**
   * - `origin`: the browser says where a request comes from (`Sec-Fetch-Site`, else `Origin` against `Host`). Needs no
   *   client code. A request with neither header does not come from a browser and passes.
   * - `token`: the client repeats, in a request header, the token that sign-in and refresh sent in a response header.
   * - `header`: the client adds a custom header of any value, which another site's page cannot.
   * - `off`: no check. Only for clients that are no browsers.
   * @default 'origin'
   */
  mode?: CsrfMode;
  /** Name of the header of modes `token` and `header`. @default 'anti-csrf' */
  header?: string;
  /** Other origins (`https://app.example.com`) that may send unsafe requests, and that the CORS helper allows. @default [] */
  trustedOrigins?: string[];
}

/** Options of the cookies. Combinations that a browser would reject stop the start. */
export interface SessionCookieOptions {
  /** Name of the access-token cookie, without prefix. @default 'session_access' */
  accessName?: string;
  /** Name of the refresh-token cookie, without prefix. @default 'session_refresh' */
  refreshName?: string;
  /**
   * Name of the cookie, without prefix, that names a refresh token which looked old. Set when a client is told to look again,
   * with the attributes of the refresh cookie. @default 'session_look_again'
   */
  lookAgainName?: string;
  /**
   * Name of a cookie that scripts can read, or `false` for none. Its value is `<access token expiry>.<session expiry>`
   * in epoch seconds: it tells a page that somebody is signed in, and until when. @default false
   */
  indicatorName?: string | false;
  /**
   * `auto` puts `__Host-` before a name where a browser allows that (secure, `Path=/`, no domain), else `__Secure-`
   * where it is secure. @default 'auto'
   */
  prefix?: 'auto' | 'none';
  /** `Domain` attribute; host-only when absent. @default none */
  domain?: string;
  /** `Path` attribute of the cookies. @default '/' */
  path?: string;
  /** `Path` of the refresh cookie. @default `path`, or in endpoint mode the refresh route with the global prefix */
  refreshPath?: string;
  /** `SameSite` attribute. `none` needs `secure`. @default 'lax' */
  sameSite?: 'strict' | 'lax' | 'none';
  /** `Secure` attribute. Browsers accept secure cookies from `http://localhost`, Safari does not. @default true */
  secure?: boolean;
  /** `Partitioned` attribute (CHIPS), for applications inside other sites' frames. Needs `secure`. @default false */
  partitioned?: boolean;
  /** Domains that earlier versions of the application set these cookies for; cleared where duplicates are seen. @default [] */
  formerDomains?: string[];
}

/** Options of the removal of sessions that are over. */
export interface CleanupOptions {
  /** Time between two runs in one process. @default '1h' */
  interval?: Duration;
  /** Rows removed by one statement. @default 1000 */
  batchSize?: number;
}

/** Options of `SessionModule`. Durations are seconds, or strings such as `'15m'`. */
export interface SessionModuleOptions {
  /**
   * At least 32 characters of randomness (`openssl rand -base64 48`), the same for every process. Encrypts key material
   * in the database, so that a stolen database makes no access token. To change it, give several, newest first: the
   * first encrypts, all decrypt. @default none: keys lie in the database in plain text, and a warning says so
   */
  secret?: string | string[];
  /** Access tokens. */
  accessToken?: AccessTokenOptions;
  /** Refresh tokens and the life of sessions. */
  refreshToken?: RefreshTokenOptions;
  /**
   * How long a refresh token stays good beside the one that it was exchanged for: for requests that are late, and for a
   * browser that was killed and has forgotten its newest cookies, which Chromium writes to disk up to 30 s late. At most half
   * of `accessToken.ttl`; under 70 s, killed browsers may be signed out. 0 gives strict single use.
   * @default '90s', or half of `accessToken.ttl` where that is less
   */
  reuseWindow?: Duration;
  /**
   * Whether a client whose refresh token looks old is told to look again before that counts as theft, and before its cookies
   * are cleared where the session is over. With `false`, both are so at first sight, also for a request that is only late.
   * @default true
   */
  lookAgain?: boolean;
  /**
   * - `transparent`: the guard refreshes inside the request that met an expired access token.
   * - `endpoint`: the guard answers `try_refresh`, the client calls the refresh route (`refreshPath`), and the refresh
   *   cookie travels only there.
   * @default 'transparent'
   */
  refresh?: RefreshMode;
  /** Signing keys. */
  signingKeys?: SigningKeyOptions;
  /**
   * How soon access tokens of a revoked session are refused.
   * - `feed`: at once in this process, within `revocationInterval` in the others; costs requests nothing.
   * - `database`: at once everywhere; costs each request a primary-key look-up.
   * - `none`: when they expire.
   * @default 'feed'
   */
  revocation?: RevocationMode;
  /**
   * How often a process looks, at most, for sessions that others have revoked (in mode `feed`) and for signing keys that
   * they have made or dropped. It looks when requests come. A revocation by a process whose clock is more than five seconds
   * behind is seen up to ten seconds later. @default '1s'
   */
  revocationInterval?: Duration;
  /** Cross-site request forgery. */
  csrf?: CsrfOptions;
  /** Cookies. */
  cookies?: SessionCookieOptions;
  /** Removal of sessions that are over; `false` leaves it to calls of `removeExpired()`. */
  cleanup?: CleanupOptions | false;
  /**
   * A database of the module's own, opened from these TypeORM options and migrated at start. @default none: the
   * application's `DataSource` is used
   */
  database?: DataSourceOptions;
  /**
   * SQLite drivers run everything on one connection, so that a transaction of the application that rolls back takes
   * writes of the sessions with it. `own` opens a second connection to the same file. @default 'own'
   */
  sqliteConnection?: 'own' | 'shared';
}

/** Options that belong to the module's definition: in `forRootAsync` they stand beside `useFactory`. */
export interface SessionModuleExtras {
  /**
   * Name of the module, where an application has several. What it exports then has the name as well:
   * `@InjectSessionService('admin')`, `@UseGuards(SessionGuard.of('admin'))`, `@CurrentSession({ module: 'admin' })`. Two modules
   * need cookies of different names, and tables of their own: another database, or another `entityPrefix`.
   * @default none: `SessionService` and `SessionGuard`
   */
  name?: string;
  /** Makes the module's exports available everywhere without importing it. @default false */
  isGlobal?: boolean;
  /** Path of a ready-made `POST` route that refreshes the session. Needed for `refresh: 'endpoint'`. @default none */
  refreshPath?: string;
  /**
   * Path of a ready-made `GET` route with the public halves of the signing keys (RFC 7517), such as
   * `'/.well-known/jwks.json'`, for services that verify access tokens without being able to make them. @default none
   */
  jwksPath?: string;
  /** Injection token of the application's TypeORM `DataSource`. @default the `DataSource` class */
  dataSourceToken?: InjectionToken;
}

/** For `forRootAsync({ useClass })` and `useExisting`: makes the options. */
export interface SessionOptionsFactory {
  createSessionOptions(): Promise<SessionModuleOptions> | SessionModuleOptions;
}
