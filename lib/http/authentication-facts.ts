import type { SessionErrorCode } from '../errors/session.errors.js';
import type { ResolvedCsrfOptions } from '../options/csrf-options.js';
import type { Credential, TokenReader } from './transport/token-transport.js';

/** What a description of the application says of the requests of one module. */
export interface AuthenticationFacts {
  /** Name of the module. */
  readonly module: string;
  /** Where a request may carry its access token. One of them is enough. */
  readonly credentials: readonly Credential[];
  /** Where a request to the refresh route carries the refresh token. */
  readonly refreshCredentials: readonly Credential[];
  /** How forged requests are recognised. Only cookies need that. */
  readonly csrf: Pick<ResolvedCsrfOptions, 'mode' | 'header'>;
  /** Whether the guard exchanges refresh tokens. */
  readonly refreshes: boolean;
  /** Whether a client whose refresh token looks old must look again. */
  readonly looksAgain: boolean;
  /** Whether the application provides the signing keys. */
  readonly hasOwnKeys: boolean;
  /** What may be unavailable while a request is authenticated. */
  readonly unavailable: readonly SessionErrorCode[];
}

/** Where requests carry access tokens. That of an impersonation comes beside the client's own. */
export function credentialsOf(readers: readonly TokenReader[]): Credential[] {
  return readers.filter((each) => !each.isForImpersonation).map(({ credential }) => credential);
}
