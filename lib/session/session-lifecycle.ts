import { randomBytes } from 'node:crypto';
import { operate, operations } from '../diagnostics/channels.js';
import { andThen } from '../util/and-then.js';
import type { AccessToken, SignedAccessToken, UnprovenToken } from '../protocol/access-token.js';
import type { AccessTokens } from '../tokens/access-tokens.js';
import { describeLargestClaim, UNPROVEN_OVERHEAD } from '../protocol/access-token.payload.js';
import {
  ImpersonationRefusedError,
  InvalidClaimsError,
  InvalidInputError,
  LookAgainError,
  SessionOverError,
  TokenTheftError,
} from '../errors/session.errors.js';
import type { ResolvedOptions } from '../options/resolved-options.js';
import type { RefreshToken } from '../protocol/refresh-token.codec.js';
import { hashSessionSecret, preimageOf } from '../protocol/session-secret.js';
import { newTokenId, type RefreshTokens } from '../tokens/refresh-tokens.js';
import type { RevocationChecker } from '../revocation/revocation-checker.js';
import type { RevocableSession } from '../revocation/revocation-memory.js';
import { expiryOfAccessToken, isYoung } from '../protocol/rotation.js';
import type { SessionRotator } from './session-rotator.js';
import type { SessionDetails, SessionEnd, SessionFacts, SessionRow } from '../storage/session.store.js';
import type { Device } from '../types/device.js';
import type { JsonValue } from '../types/json.js';
import type { BulkRevocation } from './bulk-revocation.js';
import type { SessionEvents } from './session-events.js';
import { newSessionId } from '../protocol/session-id.js';
import type { Devices } from './devices.js';
import { checkImpersonationInput, checkSessionInput } from './session-input.js';
import type { DeviceInput, ImpersonationInput, SessionInput } from './session.types.js';
import type { TheftResponse } from './theft-response.js';
import type { SessionActor } from '../types/actor.js';

/** The tokens that the client uses from now on. `refreshToken` is `undefined` when the client keeps the one that it has. */
export interface TokenSet {
  readonly row: SessionDetails;
  readonly accessToken: SignedAccessToken;
  readonly refreshToken: string | undefined;
}

/** The decision on a valid access token. */
export type AccessVerdict =
  /**
   * `row` is present when the database was asked. `replacement` is a proven access token that the client gets in place of
   * the one that it used.
   */
  | {
      readonly status: 'active';
      readonly accessToken: AccessToken;
      readonly row?: SessionFacts;
      readonly replacement?: SignedAccessToken;
    }
  /** The token's generation is over. The refresh token decides. */
  | { readonly status: 'stale' }
  | { readonly status: 'over'; readonly error: SessionOverError };

/** What is said of a proof: the words for its verdicts, and codes of errors. */
const PROOFS = { active: 'proven', stale: 'look_again', over: 'session_over' } as const;

/** What happens to the tokens of a session: sign-in, use, refresh. Without HTTP. */
export class SessionLifecycle {
  constructor(
    private readonly accessTokens: AccessTokens,
    private readonly refreshTokens: RefreshTokens,
    private readonly rotator: SessionRotator,
    private readonly revocation: RevocationChecker,
    private readonly events: SessionEvents,
    private readonly thefts: TheftResponse,
    private readonly bulk: BulkRevocation,
    private readonly devices: Devices,
    private readonly options: ResolvedOptions,
    /** The largest number of characters that an access token may have. The transports determine it. */
    private readonly maxTokenLength: number,
  ) {}

  /**
   * Makes a session and its tokens.
   *
   * @param device user agent and address for the list of devices. @default the device in the input
   * @param insert stores the row
   * @param predecessor the session that goes on in this one
   * @throws {@link InvalidUserIdError} | {@link InvalidClaimsError} | {@link InvalidDataError} | {@link InvalidInputError} |
   *   {@link SessionOverError} when all sessions of the user were ended in the meantime
   */
  async issue(
    input: SessionInput,
    now: number,
    insert: (row: SessionRow) => Promise<void>,
    device: DeviceInput | undefined = input?.device,
    predecessor?: string,
  ): Promise<TokenSet> {
    const { ttl, absoluteTtl: longest } = this.options.refreshToken;
    const { absoluteTtl, ...checked } = checkSessionInput(input, longest, now);
    const sessionSecret = randomBytes(16);
    const createdAt = this.bulk.timeOfSession(now);
    const row: SessionRow = {
      id: newSessionId(createdAt),
      secretHash: hashSessionSecret(sessionSecret),
      version: 1,
      generation: 0,
      redeemedBy: null,
      createdAt,
      lastSeenAt: now,
      expiresAt: now + Math.min(checked.idleTtl ?? ttl, absoluteTtl ?? longest),
      endsAt: absoluteTtl === null ? null : now + absoluteTtl,
      actor: null,
      revokedAt: null,
      revokedReason: null,
      ...checked,
      ...this.devices.describe(device),
    };
    const facts = { generation: 0, issuedAt: now, tokenId: newTokenId() };
    const expiresAt = expiryOfAccessToken(facts, this.options.rotation);
    const accessToken = await this.sign(row, now, expiresAt);
    this.checkSize(accessToken, row.claims);
    const refreshToken = await this.refreshTokens.make({ sessionId: row.id, sessionSecret, ...facts });
    await insert(row);
    await this.bulk.admit(row, predecessor);
    this.tellOfNew(row, now);
    return { row, accessToken, refreshToken };
  }

  /**
   * Makes a session in which one user acts as another one. It has an access token and nothing to refresh it with. It ends when
   * that expires: the row as well, so that nothing prolongs it. The token is never longer-lived than others, because revocations
   * are remembered for that long only.
   *
   * @param by the actor's live session
   * @param device user agent and address for the list of devices. @default the device in the input
   * @param insert stores the row
   * @throws {@link ImpersonationRefusedError} when the actor acts as another user already
   * @throws {@link InvalidUserIdError} | {@link InvalidClaimsError} | {@link InvalidDataError} | {@link InvalidInputError}
   */
  async impersonate(
    by: SessionRow,
    input: ImpersonationInput,
    now: number,
    insert: (row: SessionRow) => Promise<void>,
    device: DeviceInput | undefined = input?.device,
  ): Promise<TokenSet> {
    if (by.actor) throw new ImpersonationRefusedError();
    const { life, reason, ...checked } = checkImpersonationInput(input, this.options.accessToken.ttl);
    if (checked.userId === by.userId) throw new InvalidInputError('Nobody can act as themselves.');
    // In whole seconds, as JWT times are.
    const expiresAt = Math.floor(Math.min(now + life, by.expiresAt) / 1_000) * 1_000;
    const createdAt = this.bulk.timeOfSession(now);
    const row: SessionRow = {
      id: newSessionId(createdAt),
      // Of a secret that nobody has.
      secretHash: hashSessionSecret(randomBytes(16)),
      version: 1,
      generation: 0,
      redeemedBy: null,
      createdAt,
      lastSeenAt: now,
      expiresAt,
      idleTtl: life,
      endsAt: expiresAt,
      remember: 0,
      // Who is there is the actor.
      authTime: by.authTime ?? by.createdAt,
      amr: by.amr,
      actor: { userId: by.userId, sessionId: by.id, reason },
      revokedAt: null,
      label: null,
      revokedReason: null,
      ...checked,
      ...this.devices.describe(device),
    };
    const accessToken = await this.sign(row, now, expiresAt);
    this.checkSize(accessToken, row.claims);
    await insert(row);
    await this.bulk.admit(row);
    this.tellOfNew(row, now);
    return { row, accessToken, refreshToken: undefined };
  }

  /**
   * Accepts a valid access token, unless its session is over. If the token is unproven and its generation has settled, this
   * proves the generation.
   *
   * @returns a promise only if the decision needs to wait for something
   */
  use(accessToken: AccessToken, now: number): AccessVerdict | Promise<AccessVerdict> {
    const { unproven, actor } = accessToken;
    if (actor) return this.useImpersonation(accessToken, actor, now);
    if (unproven && !isYoung(unproven, now, this.options.rotation)) return this.prove(accessToken, now);
    const end = this.revocation.endOf(accessToken, now);
    return andThen(end, (settled) => verdictOf(accessToken, settled));
  }

  /**
   * Exchanges an authentic refresh token.
   *
   * @param hasLookedAgain whether the client was told earlier that this token looks old
   * @param client gives the client, for events
   * @throws {@link LookAgainError} | {@link SessionOverError} | {@link TokenTheftError}
   */
  refresh(
    token: RefreshToken,
    now: number,
    hasLookedAgain: boolean,
    client: () => SessionInput['device'],
  ): Promise<TokenSet> {
    if (!operations.hasSubscribers) return this.exchange(token, now, hasLookedAgain, client);
    return operate({
      name: 'refresh',
      module: this.events.module,
      run: () => this.exchange(token, now, hasLookedAgain, client),
      resultOf: ({ refreshToken }) => (refreshToken === undefined ? 'kept' : 'exchanged'),
    });
  }

  private async exchange(
    token: RefreshToken,
    now: number,
    hasLookedAgain: boolean,
    client: () => DeviceInput | undefined,
  ): Promise<TokenSet> {
    const { sessionId, sessionSecret } = token;
    try {
      const preimage = preimageOf(sessionSecret);
      const { row, generation, kept } = await this.rotator.refresh(token, preimage, now, hasLookedAgain);
      this.refuseIfOver({ sessionId, userId: row.userId });
      if (kept) {
        const unproven = { generation, issuedAt: kept.issuedAt, preimage };
        const accessToken = await this.sign(row, now, kept.expiresAt, unproven);
        return { row, accessToken, refreshToken: undefined };
      }
      const facts = { generation, issuedAt: now, tokenId: newTokenId() };
      const expiresAt = expiryOfAccessToken(facts, this.options.rotation);
      const unproven = { generation, issuedAt: now, preimage };
      const accessToken = await this.sign(row, now, expiresAt, unproven);
      const refreshToken = await this.refreshTokens.make({ sessionId, sessionSecret, ...facts });
      if (this.events.isObserved) this.events.emit({ type: 'refreshed', sessionId, userId: row.userId }, now);
      return { row, accessToken, refreshToken };
    } catch (error) {
      if (error instanceof LookAgainError && this.events.isObserved) {
        this.events.emit({ type: 'stale', ...error.stale, request: this.partyOf(client) }, now);
      }
      if (error instanceof TokenTheftError) {
        const { sessionId: id, userId, stale } = error;
        this.revocation.revoked([id], { endedAt: now, reason: 'theft' });
        const theft = { ...stale, userId, request: this.partyOf(client) };
        this.events.emit({ type: 'theft', ...theft }, now);
        await this.thefts.answer(theft);
      }
      throw error;
    }
  }

  /**
   * An access token with new claims. It replaces one that has been accepted, and has the same expiry. So an update of claims
   * does not prolong anything.
   */
  async reissue(row: SessionFacts, present: AccessToken, now: number): Promise<SignedAccessToken> {
    return this.sign(row, now, Math.max(present.expiresAt, now), present.unproven);
  }

  /** @throws {@link InvalidClaimsError} when an access token with these claims would not fit into a cookie */
  async checkClaimsFit(row: SessionFacts, claims: JsonValue, now: number): Promise<void> {
    this.checkSize(await this.accessTokens.sign({ ...subjectOf(row), claims }, now), claims);
  }

  /** An access token never outlives its session: otherwise nobody could end what has ended, and is still accepted. */
  private sign(
    row: SessionFacts,
    now: number,
    expiresAt: number,
    unproven?: UnprovenToken,
  ): Promise<SignedAccessToken> {
    return this.accessTokens.sign(subjectOf(row, unproven), now, Math.min(expiresAt, row.expiresAt));
  }

  /** Somebody acts as another user for no longer than their own session lives. */
  private async useImpersonation(
    accessToken: AccessToken,
    actor: SessionActor,
    now: number,
  ): Promise<AccessVerdict> {
    const end = (await this.revocation.endOf(accessToken, now)) ?? (await this.revocation.endOf(actor, now));
    return verdictOf(accessToken, end);
  }

  private tellOfNew({ id: sessionId, userId, actor, userAgent, ip }: SessionRow, now: number): void {
    if (!this.events.isObserved) return;
    const device = { userAgent, ip };
    this.events.emit({ type: 'created', sessionId, userId, actor: actor ?? undefined, device }, now);
  }

  private prove(accessToken: AccessToken, now: number): Promise<AccessVerdict> {
    if (!operations.hasSubscribers) return this.proveGeneration(accessToken, now);
    return operate({
      name: 'prove',
      module: this.events.module,
      run: () => this.proveGeneration(accessToken, now),
      resultOf: ({ status }) => PROOFS[status],
    });
  }

  private async proveGeneration(accessToken: AccessToken, now: number): Promise<AccessVerdict> {
    try {
      const row = await this.rotator.use(accessToken, now);
      if (!row) return { status: 'stale' };
      this.refuseIfOver(accessToken);
      const replacement = await this.sign(row, now, accessToken.expiresAt);
      return { status: 'active', accessToken: replacement, row, replacement };
    } catch (error) {
      if (error instanceof SessionOverError) return { status: 'over', error };
      throw error;
    }
  }

  /**
   * The row may not say yet that the session is over, or not any more: while the rows of many sessions are being ended, and
   * after a failover that has lost a revocation.
   *
   * @throws {@link SessionOverError}
   */
  private refuseIfOver(session: RevocableSession): void {
    const end = this.revocation.remembered(session);
    if (end) throw new SessionOverError(end);
  }

  private partyOf(client: () => DeviceInput | undefined): Device | undefined {
    const device = client();
    return device && this.devices.describe(device);
  }

  private checkSize({ token }: SignedAccessToken, claims: JsonValue): void {
    const excess = token.length + UNPROVEN_OVERHEAD - this.maxTokenLength;
    if (excess <= 0) return;
    const place = this.options.transport === 'header' ? 'header' : 'cookie';
    throw new InvalidClaimsError(
      `With these claims the access token would be ${excess} bytes too long for a ${place}. ${describeLargestClaim(claims)}. Keep it in the session's data instead.`,
    );
  }
}

/** The decision on a valid token, if nothing but its session's end can speak against it. */
export function verdictOf(accessToken: AccessToken, end: SessionEnd | undefined): AccessVerdict {
  return end === undefined
    ? { status: 'active', accessToken }
    : {
        status: 'over',
        error: new SessionOverError({ ...end, impersonation: accessToken.actor !== undefined }),
      };
}

function subjectOf(row: SessionFacts, unproven?: UnprovenToken) {
  const { id, userId, claims, authTime, amr, actor } = row;
  return { sessionId: id, userId, claims, authTime, amr, actor, unproven };
}
