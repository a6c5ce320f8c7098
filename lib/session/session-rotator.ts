import type { AccessToken, UnprovenToken } from '../protocol/access-token.js';
import {
  LookAgainError,
  SessionOverError,
  type StaleRefreshToken,
  StorageUnavailableError,
  TokenTheftError,
} from '../errors/session.errors.js';
import type { ResolvedOptions } from '../options/resolved-options.js';
import type { RefreshToken } from '../protocol/refresh-token.codec.js';
import { hashOfPreimage, isPreimageOf } from '../protocol/session-secret.js';
import {
  endOf,
  hasBeenEnded,
  isLive,
  type SessionFacts,
  type SessionDetails,
  type SessionRow,
  type SessionStore,
} from '../storage/session.store.js';
import type { Devices } from './devices.js';
import { decideRefresh, decideUse, isKept } from '../protocol/rotation.js';

/** The result of a refresh. */
export interface Refreshed {
  readonly row: SessionDetails;
  /** The generation of the tokens to issue. */
  readonly generation: number;
  /**
   * Present when the client keeps its refresh token: times of the access token to issue. `issuedAt` is that of the refresh
   * token.
   */
  readonly kept: { readonly issuedAt: number; readonly expiresAt: number } | undefined;
}

/** The largest number of attempts. An attempt fails only when another request has changed the row since it was read. */
const ATTEMPTS = 32;

/**
 * Applies the rotation rules to the database: reads the row, decides, and writes on condition that the row has not changed.
 * If it has changed, this starts again.
 */
export class SessionRotator {
  constructor(
    private readonly store: SessionStore,
    private readonly options: ResolvedOptions,
    private readonly devices: Devices,
  ) {}

  /**
   * Exchanges an authentic refresh token.
   *
   * @param preimage of its session secret
   * @param hasLookedAgain whether the client was told earlier that this token looks old
   * @throws {@link LookAgainError} when the token looks old and the client has not looked again
   * @throws {@link SessionOverError} when the session is over and the client has looked again, or when the secret is wrong
   * @throws {@link TokenTheftError} when the token looks old and the client has looked again; the session is already revoked
   */
  async refresh(
    token: RefreshToken,
    preimage: string,
    now: number,
    hasLookedAgain: boolean,
  ): Promise<Refreshed> {
    const done = await this.redeemInOneStatement(token, preimage, now);
    if (done) return done;
    const isFinal = hasLookedAgain || !this.options.lookAgain;
    return this.retryOnConflict(async () => {
      const row = await this.store.findAuthentic(token.sessionId, now);
      if (!row) throw isFinal ? new SessionOverError() : new LookAgainError(this.staleness(token, null, now));
      // The secret is checked before anything else. A token with a right mac and a wrong secret was made by somebody who has
      // stolen the refresh key, not by a client.
      if (!hasBeenEnded(row) && !isPreimageOf(preimage, row.secretHash)) throw new SessionOverError();
      if (!isLive(row, now)) {
        throw isFinal
          ? new SessionOverError(endOf(row, now))
          : new LookAgainError(this.staleness(token, row, now));
      }

      const decision = decideRefresh(row, token, now, this.options.rotation);
      switch (decision.verdict) {
        case 'keep': {
          const kept = { issuedAt: token.issuedAt, expiresAt: decision.expiresAt };
          return { row, generation: token.generation, kept };
        }
        case 'rotate': {
          const advanced = await this.store.advance(row, decision.next, now);
          return advanced && { row: advanced, generation: decision.generation, kept: undefined };
        }
        case 'old': {
          const stale = this.staleness(token, row, now);
          if (!isFinal) throw new LookAgainError(stale);
          if (!(await this.store.revokeStolen(row))) return undefined;
          throw new TokenTheftError(row.userId, stale);
        }
      }
    });
  }

  /**
   * Proves the generation of an unproven access token.
   *
   * @returns the row, or `undefined` when the token counts as expired
   * @throws {@link SessionOverError} when the session is over
   */
  async use({ sessionId, unproven }: AccessToken, now: number): Promise<SessionFacts | undefined> {
    const done = await this.proveInOneStatement(sessionId, unproven!, now);
    if (done) return done;
    const { row } = await this.retryOnConflict(async () => {
      const found = await this.findLive(sessionId, now);
      // A thief who has the signing key but no refresh token must not prove a generation: the owner would look like a thief.
      if (!isPreimageOf(unproven!.preimage, found.secretHash)) return { row: undefined };
      const decision = decideUse(found, unproven!);
      switch (decision.verdict) {
        case 'accept':
          return { row: found };
        case 'stale':
          return { row: undefined };
        case 'prove': {
          const advanced = await this.store.advance(found, decision.next, now);
          return advanced && { row: advanced };
        }
      }
    });
    return row;
  }

  /**
   * Does nearly every refresh in one statement, on databases with `UPDATE … RETURNING`.
   *
   * @returns `undefined` when the row must be read
   */
  private async redeemInOneStatement(
    token: RefreshToken,
    preimage: string,
    now: number,
  ): Promise<Refreshed | undefined> {
    if (!this.store.hasReturning || isKept(token, now, this.options.rotation)) return undefined;
    const row = await this.store.redeem(token, hashOfPreimage(preimage), now);
    return row && { row, generation: token.generation + 1, kept: undefined };
  }

  /**
   * Does nearly every first use in one statement, on databases with `UPDATE … RETURNING`.
   *
   * @returns `undefined` when the row must be read
   */
  private async proveInOneStatement(
    sessionId: string,
    unproven: UnprovenToken,
    now: number,
  ): Promise<SessionFacts | undefined> {
    if (!this.store.hasReturning) return undefined;
    const expected = { id: sessionId, secretHash: hashOfPreimage(unproven.preimage) };
    return this.store.prove(expected, unproven.generation, now);
  }

  private async findLive(id: string, now: number): Promise<SessionRow> {
    const row = await this.store.findAuthentic(id, now);
    if (!row) throw new SessionOverError();
    if (!isLive(row, now)) throw new SessionOverError(endOf(row, now));
    return row;
  }

  private async retryOnConflict<T>(attempt: () => Promise<T | undefined>): Promise<T> {
    for (let attempts = 0; attempts < ATTEMPTS; attempts++) {
      const result = await attempt();
      if (result !== undefined) return result;
    }
    throw new StorageUnavailableError('The session changed too often while it was being refreshed.');
  }

  /** The facts by which an operator can tell a thief from a client that stores tokens wrongly. */
  private staleness(
    { sessionId, tokenId, generation, issuedAt }: RefreshToken,
    row: SessionRow | null,
    now: number,
  ): StaleRefreshToken {
    const isOver = !row || !isLive(row, now);
    const behind = isOver ? 0 : row.generation - generation;
    const kind = isOver ? 'session_over' : behind === 0 ? 'sibling' : 'superseded';
    return {
      sessionId,
      userId: row?.userId,
      tokenId,
      kind,
      behind,
      age: now - issuedAt,
      sinceRotation: isOver ? undefined : now - row.lastSeenAt,
      // The row of a session that was ended has no content.
      device: row && !hasBeenEnded(row) ? this.devices.recall(row) : undefined,
    };
  }
}
