export { SessionModule } from './module/session.module.js';
export type {
  AccessTokenOptions,
  CleanupOptions,
  CsrfMode,
  CsrfOptions,
  DeviceOptions,
  RefreshMode,
  RefreshTokenOptions,
  RevocationMode,
  SessionCacheOptions,
  SessionCookieOptions,
  SessionHeaderOptions,
  SessionModuleExtras,
  SessionModuleOptions,
  SessionOptionsFactory,
  SigningKeyOptions,
  TheftPolicy,
  TheftScope,
  TransportMode,
} from './options/session-module.options.js';
export type { Duration } from './options/duration.js';
export type { SigningAlgorithm, SigningKeySource } from './keys/signing-key.js';
export type { RevocationsAnswer, RevocationsRequest } from './revocation/published-revocations.js';
export type { DroppedKeys, KeyRotation } from './keys/key-ring.js';
export type { PublicKeys } from './keys/signing-keys.js';

export { SessionVerifier } from './http/session-verifier.js';
export type {
  SessionVerifierExtras,
  SessionVerifierOptions,
  SessionVerifierOptionsFactory,
  VerifierRevocationOptions,
} from './options/session-verifier.options.js';

export {
  InjectSessionService,
  InjectSessionVerifier,
  sessionServiceToken,
  sessionVerifierToken,
} from './module/named-module.js';
export { SessionService } from './module/session.service.js';
export { SESSION_OBSERVER, type SessionObserver } from './module/session-observers.js';
export type { SessionTokens } from './module/session-tokens.js';
export { ActiveSession } from './session/active-session.js';
export { AuthenticatedSession } from './session/authenticated-session.js';
export { VerifiedSession } from './session/verified-session.js';
export type { JsonObject, JsonValue } from './types/json.js';
export type { Register, SessionClaims, SessionData, Update, UserId } from './types/register.js';
export type {
  DeviceInput,
  ImpersonatedSession,
  ImpersonationInput,
  IssuedSession,
  IssuedToken,
  ListOptions,
  RefreshedSession,
  SessionInfo,
  RevokeAllOptions,
  RevokeOptions,
  SessionInput,
  SessionChanges,
  SessionPage,
} from './session/session.types.js';
export type {
  AllRevokedEvent,
  CsrfRefusedEvent,
  KeyRotatedEvent,
  SessionCreatedEvent,
  SessionEvent,
  SessionRefreshedEvent,
  SessionRevokedEvent,
  StaleTokenEvent,
  TokenTheftEvent,
} from './session/session-event.js';
export type { SessionActor } from './types/actor.js';
export type { Device } from './types/device.js';
export { truncateIp } from './util/truncate-ip.js';
export { RESERVED_CLAIMS } from './protocol/access-token.payload.js';

export { SessionGuard } from './guard/session.guard.js';
export {
  CurrentSession,
  NoImpersonation,
  NoRefresh,
  OptionalSession,
  RequireFresh,
  Session,
  type SessionProperty,
  type SessionSelector,
  SkipCsrf,
  SkipSession,
} from './guard/session.decorators.js';
export { attachedSession } from './guard/attached-session.js';
export { sessionAtConnect } from './guard/session-at-connect.js';
export { type Exchange, exchangeOf } from './guard/exchange-of.js';
export { SESSION_AUTHENTICATOR, sessionAuthenticatorToken } from './guard/injection-tokens.js';
export type { HttpRequest, HttpResponse } from './http/messages.js';
export type { AuthenticateOptions, SessionAuthenticator } from './http/session-authenticator.js';
export type { SessionCorsOptions } from './http/cors.js';

export { withMigrationLock } from './storage/migration-lock.js';
export { SESSION_ENTITIES, SESSION_MIGRATIONS } from './storage/schema.js';
export { SessionEntity } from './storage/session.entity.js';
export { NotBeforeEntity } from './storage/not-before.entity.js';
export { SessionKeyEntity } from './storage/session-key.entity.js';

export {
  type AnySessionError,
  CsrfError,
  HeadersSentError,
  ImpersonationRefusedError,
  InvalidClaimsError,
  InvalidDataError,
  InvalidInputError,
  InsufficientAuthenticationError,
  InvalidOptionError,
  InvalidReasonError,
  InvalidUserIdError,
  KeysUnavailableError,
  LookAgainError,
  NoCredentialsError,
  type RevocationReason,
  RevocationsUnavailableError,
  type SessionEndReason,
  SessionError,
  type SessionErrorCode,
  SessionNotFoundError,
  SessionOverError,
  SigningKeyNotFoundError,
  StorageUnavailableError,
  type StaleRefreshToken,
  type TokenTheft,
  TokenTheftError,
  TooManySessionsError,
  TryRefreshError,
  UnguardedRouteError,
  UnsupportedContextError,
} from './errors/session.errors.js';
