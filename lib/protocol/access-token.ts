import type { Unproven } from './rotation.js';
import type { JsonValue } from '../types/json.js';
import type { UserId } from '../types/register.js';

/** What an access token says. Times are epoch milliseconds, exact to the second. */
export interface AccessToken {
  readonly sessionId: string;
  readonly userId: UserId;
  readonly claims: JsonValue;
  readonly issuedAt: number;
  readonly expiresAt: number;
  /** Present until the token's generation has been proven. */
  readonly unproven: UnprovenToken | undefined;
}

/** The generation of an unproven token, with the preimage that a refresh of this very session issued it. */
export interface UnprovenToken extends Unproven {
  readonly preimage: string;
}

/** An access token with its text for the client. */
export interface SignedAccessToken extends AccessToken {
  readonly token: string;
}

export type AccessTokenVerification =
  | { readonly status: 'valid'; readonly accessToken: AccessToken }
  /** Ours in every respect, but expired. */
  | { readonly status: 'expired'; readonly accessToken: AccessToken }
  | { readonly status: 'invalid' };
