import type { SessionActor } from '../types/actor.js';
import type { Unproven } from './rotation.js';
import type { JsonValue } from '../types/json.js';
import type { UserId } from '../types/register.js';

/** The content of an access token. Times are epoch milliseconds of whole seconds. */
export interface AccessToken {
  readonly sessionId: string;
  readonly userId: UserId;
  readonly claims: JsonValue;
  readonly issuedAt: number;
  readonly expiresAt: number;
  /** When the user last proved who they are. */
  readonly authTime: number;
  /** How they did (RFC 8176); empty if the application does not say. */
  readonly amr: readonly string[];
  /** Who acts as the user, if it is somebody else. */
  readonly actor: SessionActor | undefined;
  /** Present in unproven tokens only. */
  readonly unproven: UnprovenToken | undefined;
  /** Names the key that has signed the token. */
  readonly kid: string;
}

/** The generation of an unproven token. The preimage shows that a refresh of this session has made the token. */
export interface UnprovenToken extends Unproven {
  readonly preimage: string;
}

/** An access token, and its encoded form for the client. */
export interface SignedAccessToken extends AccessToken {
  readonly token: string;
}

export type AccessTokenVerification =
  | { readonly status: 'valid'; readonly accessToken: AccessToken }
  /** This module issued the token, and it has expired. */
  | { readonly status: 'expired'; readonly accessToken: AccessToken }
  | { readonly status: 'invalid' };
