import type { AccessToken, UnprovenToken } from '../access-token/access-token.js';
import { SessionOverError, StorageUnavailableError, TokenTheftError } from '../errors/session.errors.js';
import type { ResolvedOptions } from '../options/resolved-options.js';
import type { RefreshToken } from '../refresh-token/refresh-token.codec.js';
import { hashOfProof, isProofOf } from '../refresh-token/session-secret.js';
import { timeOfSessionId } from '../session/session-id.js';
import {
  type ExpirySlide,
  isLive,
  type SessionFacts,
  type SessionRow,
  type SessionStore,
} from '../storage/session.store.js';
import { decideRefresh, decideUse, isKept, type RotationState } from './rotation.js';

/** What an exchange came to. */
export interface Exchange {
  readonly row: SessionRow;
  /** Generation of the tokens to be issued. */
  readonly generation: number;
  /** Set when the refresh token stays: new access tokens then belong to the moment it was issued. */
  readonly keptFrom: number | undefined;
}

/** How often a decision is made again because another request was faster; each time that one has made progress. */
const ATTEMPTS = 32;

/** Applies the rotation rules to the database: read, decide, write on condition, and again when another was faster. */
export class SessionRotator {
  constructor(
    private readonly store: SessionStore,
    private readonly options: ResolvedOptions,
  ) {}

  /**
   * Exchanges an authentic refresh token.
   *
   * @param proof of its session secret
   * @throws {@link SessionOverError} when the session does not go on
   * @throws {@link TokenTheftError} when the rules say theft; the session has then been revoked
   */
  async refresh(token: RefreshToken, proof: string, now: number): Promise<Exchange> {
    const likely = await this.refreshLikely(token, proof, now);
    if (likely) return likely;
    return this.untilWritten(async () => {
      const row = await this.findLive(token.sessionId, now);
      // Somebody with the refresh key but without the secret has seen the database, not the client.
      if (!isProofOf(proof, row.secretHash)) throw new SessionOverError();

      const decision = decideRefresh(row, token, now, this.options.reuseWindow);
      switch (decision.verdict) {
        case 'keep':
          return { row, generation: token.generation, keptFrom: token.issuedAt };
        case 'rotate': {
          const advanced = await this.advance(row, decision.next, now);
          return advanced && { row: advanced, generation: decision.generation, keptFrom: undefined };
        }
        case 'theft':
          if (!(await this.store.revokeUnchanged(row, now))) return undefined;
          throw new TokenTheftError(row.id, row.userId);
      }
    });
  }

  /**
   * Proves the generation of an unproven access token.
   *
   * @returns the row, or `undefined` when the token counts as expired
   * @throws {@link SessionOverError} when the session does not go on
   */
  async use({ sessionId, unproven }: AccessToken, now: number): Promise<SessionFacts | undefined> {
    const likely = await this.proveLikely(sessionId, unproven!, now);
    if (likely) return likely;
    const { row } = await this.untilWritten(async () => {
      const found = await this.findLive(sessionId, now);
      // Somebody with the signing key, but without a refresh token, must not move the session on: its owner would look like
      // a thief.
      if (!isProofOf(unproven!.proof, found.secretHash)) return { row: undefined };
      const decision = decideUse(found, unproven!, this.options.reuseWindow);
      switch (decision.verdict) {
        case 'accept':
          return { row: found };
        case 'stale':
          return { row: undefined };
        case 'prove': {
          const advanced = await this.advance(found, decision.next, now);
          return advanced && { row: advanced };
        }
      }
    });
    return row;
  }

  /** Nearly every refresh in one statement, where the database can. @returns `undefined` where the row has to be read */
  private async refreshLikely(
    token: RefreshToken,
    proof: string,
    now: number,
  ): Promise<Exchange | undefined> {
    const { reuseWindow } = this.options;
    if (!this.store.hasReturning || isKept(token, now, reuseWindow)) return undefined;
    const row = await this.store.redeem(
      token,
      hashOfProof(proof),
      reuseWindow,
      this.slideOf(token.sessionId, now),
      now,
    );
    return row && { row, generation: token.generation + 1, keptFrom: undefined };
  }

  /** Nearly every first use in one statement, where the database can. @returns `undefined` where the row has to be read */
  private async proveLikely(
    sessionId: string,
    unproven: UnprovenToken,
    now: number,
  ): Promise<SessionFacts | undefined> {
    if (!this.store.hasReturning) return undefined;
    const expected = { id: sessionId, secretHash: hashOfProof(unproven.proof) };
    const next = { generation: unproven.generation, generationIssuedAt: unproven.issuedAt };
    return this.store.prove(expected, next, this.slideOf(sessionId, now), now);
  }

  private async findLive(id: string, now: number): Promise<SessionRow> {
    const row = await this.store.find(id);
    if (!row) throw new SessionOverError();
    if (!isLive(row, now)) throw new SessionOverError({ endedAt: row.revokedAt ?? row.expiresAt });
    return row;
  }

  /** @returns the row as it now is, or `undefined` when another request was faster */
  private async advance(
    row: SessionRow,
    next: RotationState | undefined,
    now: number,
  ): Promise<SessionRow | undefined> {
    const expiresAt = this.slide(row, now);
    if (next === undefined && expiresAt === row.expiresAt) return row;
    const state = next ?? row;
    const times = { lastSeenAt: now, expiresAt };
    return (await this.store.advance(row, state, times)) ? { ...row, ...state, ...times } : undefined;
  }

  private slide(row: SessionRow, now: number): number {
    const { target, gain } = this.slideOf(row.id, now);
    return target - row.expiresAt >= gain ? target : row.expiresAt;
  }

  /**
   * Where a session's expiry moves. It does only when that gains at least one per cent: on PostgreSQL an update that leaves
   * indexed columns alone is several times cheaper.
   */
  private slideOf(sessionId: string, now: number): ExpirySlide {
    const { ttl, absoluteTtl } = this.options.refreshToken;
    return { target: Math.min(now + ttl, timeOfSessionId(sessionId) + absoluteTtl), gain: ttl / 100 };
  }

  private async untilWritten<T>(attempt: () => Promise<T | undefined>): Promise<T> {
    for (let attempts = 0; attempts < ATTEMPTS; attempts++) {
      const result = await attempt();
      if (result !== undefined) return result;
    }
    throw new StorageUnavailableError('The session changed too often while it was being refreshed.');
  }
}
