import { SessionNotFoundError, SessionOverError, StorageUnavailableError } from '../errors/session.errors.js';
import type { ResolvedOptions } from '../options/resolved-options.js';
import type { RevocationChecker } from '../revocation/revocation-checker.js';
import { hashSessionSecret } from '../protocol/session-secret.js';
import {
  endOf,
  type EndedSession,
  isLive,
  mayBeMissing,
  type SessionRow,
  type SessionStore,
} from '../storage/session.store.js';
import type { JsonValue } from '../types/json.js';
import type { BulkRevocation } from './bulk-revocation.js';
import type { SessionEvents } from './session-events.js';
import { type CheckedReason, checkRevokeOptions } from './revoke-options.js';
import { isSessionId } from '../protocol/session-id.js';
import { checkListOptions } from './list-options.js';
import { checkLabel, checkUserId, normaliseClaims, normaliseData } from './session-input.js';
import { toInfo } from './session-info.js';
import type { SessionLifecycle } from './session-lifecycle.js';
import type { SessionClaims, SessionData, UserId } from '../types/register.js';
import type {
  ListOptions,
  RevokeOptions,
  SessionChanges,
  SessionInfo,
  SessionInput,
  SessionPage,
} from './session.types.js';
import type { Clock } from '../util/clock.js';

const ATTEMPTS = 100;
const DEFAULT_BATCH = 1_000;

/** Lists, revokes, updates and removes sessions. */
export class SessionManager {
  constructor(
    private readonly store: SessionStore,
    private readonly lifecycle: SessionLifecycle,
    private readonly bulk: BulkRevocation,
    private readonly revocation: RevocationChecker,
    private readonly events: SessionEvents,
    private readonly options: ResolvedOptions,
    private readonly clock: Clock,
  ) {}

  async find(id: string): Promise<SessionInfo | null> {
    const row = await this.findRow(id);
    return row && toInfo(row);
  }

  async get(id: string, current?: string): Promise<SessionInfo> {
    return toInfo(await this.getRow(id), current);
  }

  async findAllForUser(userId: UserId, options: ListOptions = {}): Promise<SessionPage> {
    const user = checkUserId(userId);
    const { limit, after, current } = checkListOptions(options);
    const { rows, hasMore } = await this.store.findPageForUser(user, this.clock.now(), limit, after);
    const sessions = rows.map((row) => toInfo(row, current));
    return { sessions, next: hasMore ? sessions.at(-1)!.id : null };
  }

  async revoke(id: string, options?: RevokeOptions): Promise<boolean> {
    const why = checkRevokeOptions(options);
    if (!isSessionId(id)) return false;
    const now = this.clock.now();
    const ended = await this.store.revoke(id, now, why.reason);
    if (ended) this.announce([ended], now, why);
    return ended !== undefined;
  }

  async revokeMany(ids: readonly string[], options?: RevokeOptions): Promise<number> {
    const why = checkRevokeOptions(options);
    const now = this.clock.now();
    const known = Array.isArray(ids) ? ids.filter(isSessionId) : [];
    const ended = await this.store.revokeMany(known, now, why.reason);
    this.announce(ended, now, why);
    return ended.length;
  }

  /**
   * Ends sessions whose tokens are authentic. The row of a young one may be late: see `findAuthentic` of the store. Without it
   * nothing would end, and whoever has copied the tokens would keep them.
   *
   * @throws {@link StorageUnavailableError} when it does not come
   */
  async revokeAuthentic(ids: readonly string[], options?: RevokeOptions): Promise<number> {
    let ended = await this.revokeMany(ids, options);
    if (ended === ids.length) return ended;
    for (const id of ids) {
      if ((await this.isLate(id)) && (await this.revoke(id, options))) ended++;
    }
    return ended;
  }

  /**
   * Ends a session only if the secret is right. A right mac is not enough, because somebody who has read the database may be
   * able to make one. The row may be late here, too.
   *
   * @throws {@link StorageUnavailableError} when it does not come
   */
  async revokeWithSecret(id: string, sessionSecret: Buffer, options?: RevokeOptions): Promise<void> {
    const why = checkRevokeOptions(options);
    const hash = hashSessionSecret(sessionSecret);
    const now = this.clock.now();
    let ended = await this.store.revoke(id, now, why.reason, hash);
    if (!ended && (await this.isLate(id))) ended = await this.store.revoke(id, now, why.reason, hash);
    if (ended) this.announce([ended], now, why);
  }

  /** The input for a session that goes on where this one ends. */
  async inputForNext(id: string, changes: SessionChanges): Promise<SessionInput> {
    const { userId, claims, data, idleTtl, endsAt, createdAt, remember, label } = await this.getRow(id);
    return {
      userId,
      claims: claims as SessionClaims,
      data: data as SessionData,
      remember: remember === 1,
      ...(idleTtl !== null && { ttl: idleTtl / 1_000 }),
      ...(endsAt !== null && { absoluteTtl: (endsAt - createdAt) / 1_000 }),
      ...changes,
      device: { label, ...changes.device },
    };
  }

  async rename(id: string, label: string | null): Promise<void> {
    const checked = checkLabel(label);
    const isWritten = isSessionId(id) && (await this.store.rename(id, checked, this.clock.now()));
    if (!isWritten) throw new SessionNotFoundError(id);
  }

  /**
   * Ends a session if the one that was to go on in it was ended by somebody else in the meantime.
   *
   * @throws {@link SessionOverError}
   */
  async revokeUnlessReplaced(id: string, predecessor: string): Promise<void> {
    const row = await this.store.find(predecessor);
    if (row?.revokedReason === 'replaced') return;
    const end = row ? endOf(row, this.clock.now()) : undefined;
    await this.revoke(id, { reason: row?.revokedReason ?? 'revoked' });
    throw new SessionOverError(end);
  }

  async updateData(id: string, next: unknown): Promise<void> {
    if (typeof next === 'function') {
      await this.change(id, 'data', async (present) => normaliseData(await callUpdate(next, present)));
      return;
    }
    const data = normaliseData(next);
    const isWritten = isSessionId(id) && (await this.store.updateContent(id, 'data', data, this.clock.now()));
    if (!isWritten) throw new SessionNotFoundError(id);
  }

  /** @returns the row with the new claims */
  async updateClaims(id: string, next: unknown): Promise<SessionRow> {
    return this.change(id, 'claims', async (present, row) => {
      const made = typeof next === 'function' ? await callUpdate(next, present) : next;
      const claims = normaliseClaims(made);
      await this.lifecycle.checkClaimsFit(row, claims, this.clock.now());
      return claims;
    });
  }

  async removeExpired(): Promise<number> {
    const batchSize = this.options.cleanup === false ? DEFAULT_BATCH : this.options.cleanup.batchSize;
    await this.bulk.finish();
    return this.store.removeExpired(this.clock.now(), batchSize);
  }

  /** Reads the row, makes the new value, and writes it on condition that nobody else has written since. */
  private async change(
    id: string,
    what: 'data' | 'claims',
    make: (present: JsonValue, row: SessionRow) => JsonValue | Promise<JsonValue>,
  ): Promise<SessionRow> {
    for (let attempts = 0; attempts < ATTEMPTS; attempts++) {
      const row = await this.getRow(id);
      const value = await make(row[what], row);
      if (await this.store.updateContent(id, what, value, this.clock.now(), row.version))
        return { ...row, [what]: value };
    }
    throw new StorageUnavailableError('The session changed too often while it was being updated.');
  }

  /**
   * Does something with a session whose token is authentic. If it is not found, its row may be late.
   *
   * @throws {@link StorageUnavailableError} when it does not come
   */
  async withAuthentic<T>(id: string, operation: () => Promise<T>): Promise<T> {
    try {
      return await operation();
    } catch (error) {
      if (error instanceof SessionNotFoundError && (await this.isLate(id))) return operation();
      throw error;
    }
  }

  /** Whether the row of a session was not there a moment ago, and is now. */
  private async isLate(id: string): Promise<boolean> {
    const now = this.clock.now();
    if (!mayBeMissing(id, now)) return false;
    const row = await this.store.findAuthentic(id, now);
    return row !== null && isLive(row, now);
  }

  private async findRow(id: string): Promise<SessionRow | null> {
    const row = isSessionId(id) ? await this.store.find(id) : null;
    return row && isLive(row, this.clock.now()) ? row : null;
  }

  /** @throws {@link SessionNotFoundError} when it is not live */
  async getRow(id: string): Promise<SessionRow> {
    const row = await this.findRow(id);
    if (!row) throw new SessionNotFoundError(id);
    return row;
  }

  /** All are told to the checker first, because an observer may use one of the sessions. */
  private announce(ended: readonly EndedSession[], endedAt: number, why: CheckedReason): void {
    if (ended.length === 0) return;
    this.revocation.revoked(
      ended.map(({ id }) => id),
      { endedAt, reason: why.reason },
    );
    // The statement may have waited for a lock.
    this.events.emitRevoked(ended, why, this.clock.now());
  }
}

async function callUpdate(next: Function, present: JsonValue): Promise<unknown> {
  return (await next(present)) as unknown;
}
