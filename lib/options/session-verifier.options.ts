import type { Duration } from './duration.js';
import type {
  CsrfOptions,
  SessionCacheOptions,
  SessionCookieOptions,
  TransportMode,
} from './session-module.options.js';

/** How a service without the database hears of revocations. */
export interface VerifierRevocationOptions {
  /** URL of the list: the `revocationsPath` of the application that issues the tokens. `https:`, or a loopback address. */
  uri: string;
  /**
   * The shortest time between two requests for what is new. Only requests to this service cause them, and the first one after
   * this time waits for the answer, for `newsTimeout` at most. A revoked session is refused after this time, and after
   * `revocationInterval` of the issuing application if several of its processes answer. @default '1s'
   */
  interval?: Duration;
  /** How old the newest list may be, before `whenStale` applies: at least twice `interval`. @default '1m' */
  maxStaleness?: Duration;
  /**
   * What happens to tokens when the newest list is older, because the issuer cannot be reached, or does not reach its database.
   * - `accept`: tokens of sessions that are not known to be revoked are accepted.
   * - `refuse`: they are answered 503 `revocations_unavailable`.
   * @default 'accept'
   */
  whenStale?: 'accept' | 'refuse';
}

/** Options of `SessionModule.forVerifier`. Durations are seconds, or strings such as `'15m'`. */
export interface SessionVerifierOptions {
  /** URL of the public keys: the `jwksPath` of the application that issues the tokens. `https:`, or a loopback address. */
  jwksUri: string;
  /** The `iss` claim that tokens must have: `accessToken.issuer` of the issuing application. */
  issuer: string;
  /** The `aud` claim that tokens must have: `accessToken.audience` of the issuing application. */
  audience: string;
  /**
   * How far the clock of this service may be behind that of the issuer's database, at most five minutes. A token that was issued
   * further in the future is refused. Expiry has no tolerance. @default '2m'
   */
  clockTolerance?: Duration;
  /** See `accessToken.cacheSize`. @default 10000 */
  cacheSize?: number;
  /**
   * Age at which the keys are fetched again. So it is also the longest time for which a dropped key is still accepted. A
   * token with an unknown key causes an earlier fetch. @default '30s'
   */
  cacheMaxAge?: Duration;
  /**
   * The shortest time between a fetch and the next fetch for a token with an unknown key. Until then such tokens are
   * answered with `try_refresh`. This concerns valid tokens only if their key signed without being published first, such as
   * a key that `rotateSigningKeys` had to make. @default '5s'
   */
  cooldown?: Duration;
  /** How long a fetch may take, until all of the response is there. It may have 256 kB. @default '5s' */
  timeout?: Duration;
  /**
   * How long a request with a token of a known key waits at most for fresh keys and revocations. If they do not come by then,
   * what is known decides, and no other request waits before an answer has come. @default '1s'
   */
  newsTimeout?: Duration;
  /** Where the service hears of revoked sessions. @default none: it accepts their access tokens until they expire */
  revocations?: VerifierRevocationOptions;
  /**
   * Where access tokens may be: in the `cookie`, in the `Authorization: Bearer` `header`, or in `any` of them. Of requests with
   * both, the header counts if its token has the form of the issuer's. @default 'any'
   */
  transport?: TransportMode;
  /** The cookie options of the issuing application. Tokens in an `Authorization: Bearer` header need no cookie. */
  cookies?: Pick<SessionCookieOptions, 'accessName' | 'prefix' | 'domain' | 'path' | 'secure'>;
  /** Cross-site request forgery. Mode `token` is not available, because it needs the keys of refresh tokens. */
  csrf?: CsrfOptions;
  /** What caches may keep. */
  caches?: Pick<SessionCacheOptions, 'private'>;
}

/** For `forVerifierAsync({ useClass })` and `useExisting`: makes the options. */
export interface SessionVerifierOptionsFactory {
  createSessionVerifierOptions(): Promise<SessionVerifierOptions> | SessionVerifierOptions;
}

/** Options that stand beside `useFactory` in `forVerifierAsync`. */
export interface SessionVerifierExtras {
  /**
   * Name of the module, if an application has several: `@InjectSessionVerifier('partner')`,
   * `@UseGuards(SessionGuard.of('partner'))`. @default none: `SessionVerifier` and `SessionGuard`
   */
  name?: string;
  /** Makes the module's exports available everywhere without importing it. @default false */
  isGlobal?: boolean;
}
