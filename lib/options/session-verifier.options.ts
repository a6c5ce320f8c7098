import type { Duration } from './duration.js';
import type { CsrfOptions, SessionCookieOptions } from './session-module.options.js';

/** Options of `SessionModule.forVerifier`. Durations are seconds, or strings such as `'15m'`. */
export interface SessionVerifierOptions {
  /** Address of the keys: the `jwksPath` of the application that has the sessions. `https:`, or a loopback address. */
  jwksUri: string;
  /** The `iss` claim that tokens must have: `accessToken.issuer` over there. */
  issuer: string;
  /** The `aud` claim that tokens must have: `accessToken.audience` over there. */
  audience: string;
  /** See `accessToken.clockTolerance`. @default '2m' */
  clockTolerance?: Duration;
  /** See `accessToken.cacheSize`. @default 10000 */
  cacheSize?: number;
  /**
   * Age at which the keys are fetched again, and with it the longest time that a dropped key is still accepted; a token
   * under a key that this service has not seen yet brings it forward. @default '30s'
   */
  cacheMaxAge?: Duration;
  /**
   * Tokens with unknown keys cause at most one fetch in this time, counted from any fetch; meanwhile they are answered
   * `try_refresh`. Of honest tokens that concerns those of a key that signed without having been published before, as
   * one does that `rotateSigningKeys` had to make. @default '5s'
   */
  cooldown?: Duration;
  /** How long a fetch may take. @default '5s' */
  timeout?: Duration;
  /** How the access-token cookie is called over there. Tokens in an `Authorization: Bearer` header need no cookie. */
  cookies?: Pick<SessionCookieOptions, 'accessName' | 'prefix' | 'domain' | 'path' | 'secure'>;
  /** Cross-site request forgery; mode `token` is not available, because it needs the keys of refresh tokens. */
  csrf?: CsrfOptions;
}

/** For `forVerifierAsync({ useClass })` and `useExisting`: makes the options. */
export interface SessionVerifierOptionsFactory {
  createSessionVerifierOptions(): Promise<SessionVerifierOptions> | SessionVerifierOptions;
}

/** Options that stand beside `useFactory` in `forVerifierAsync`. */
export interface SessionVerifierExtras {
  /**
   * Name of the module, where an application has several: `@InjectSessionVerifier('partner')`,
   * `@UseGuards(SessionGuard.of('partner'))`. @default none: `SessionVerifier` and `SessionGuard`
   */
  name?: string;
  /** Makes the module's exports available everywhere without importing it. @default false */
  isGlobal?: boolean;
}
