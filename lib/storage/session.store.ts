import { type DataSource, In, IsNull, LessThan, MoreThan, MoreThanOrEqual, type Repository } from 'typeorm';
import type { RotationState } from '../rotation/rotation.js';
import type { JsonValue } from '../session/json.js';
import type { UserId } from '../session/session.types.js';
import { toAsciiJson } from './columns.js';
import { storageErrors } from './database-error.js';
import { SessionEntity } from './session.entity.js';

/** A session as its row has it, with the JSON columns taken apart. */
export type SessionRow = Omit<SessionEntity, 'userId' | 'claims' | 'data'> & {
  userId: UserId;
  claims: JsonValue;
  data: JsonValue;
};

/** Rows named in one statement; every database takes that many parameters. */
const CHUNK = 500;

/**
 * The table of sessions. Every method is one statement, or several that may be interrupted between any two: nothing
 * relies on transactions or locks, which not every database and driver gives alike.
 */
export class SessionStore {
  private readonly repository: Repository<SessionEntity>;

  /** @param tombstoneLife how long the row of a revoked session stays for the others to read, in milliseconds */
  constructor(
    dataSource: DataSource,
    private readonly tombstoneLife: number,
  ) {
    this.repository = dataSource.getRepository(SessionEntity);
  }

  async insert(row: SessionRow): Promise<void> {
    await storageErrors(() => this.repository.insert(toEntity(row)));
  }

  /** The row whatever its state, or null. */
  async find(id: string): Promise<SessionRow | null> {
    const entity = await storageErrors(() => this.repository.findOneBy({ id }));
    return entity && fromEntity(entity);
  }

  /** Live sessions of a user, newest first. */
  async findAllForUser(userId: UserId, now: number): Promise<SessionRow[]> {
    const where = { userId: toAsciiJson(userId), revokedAt: IsNull(), expiresAt: MoreThan(now) };
    const entities = await storageErrors(() =>
      this.repository.find({ where, order: { createdAt: 'DESC', id: 'DESC' } }),
    );
    // MySQL's usual collations take "Ann", "ann" and "änn" for equal; they are different users.
    return entities.map(fromEntity).filter((row) => row.userId === userId);
  }

  /**
   * Writes a rotation decision, on condition that nobody was faster.
   *
   * @returns whether it was written; false means: read again and decide again
   */
  async advance(
    row: SessionRow,
    next: RotationState,
    times: { lastSeenAt: number; expiresAt: number },
  ): Promise<boolean> {
    const { generation, generationIssuedAt, redeemedBy, previousRedeemedBy } = next;
    const values = { generation, generationIssuedAt, redeemedBy, previousRedeemedBy, ...times };
    return this.update(this.unchanged(row), values);
  }

  /** Revokes on condition that the row is still as it was read. */
  async revokeUnchanged(row: SessionRow, now: number): Promise<boolean> {
    return this.update(this.unchanged(row), this.tombstone(now));
  }

  /** @returns whether there was such a live session */
  async revoke(id: string, now: number): Promise<boolean> {
    return this.update({ id, revokedAt: IsNull(), expiresAt: MoreThan(now) }, this.tombstone(now));
  }

  /** @returns how many of them were live */
  async revokeMany(ids: readonly string[], now: number): Promise<number> {
    let revoked = 0;
    for (let start = 0; start < ids.length; start += CHUNK) {
      const criteria = {
        id: In(ids.slice(start, start + CHUNK)),
        revokedAt: IsNull(),
        expiresAt: MoreThan(now),
      };
      const { affected } = await storageErrors(() => this.repository.update(criteria, this.tombstone(now)));
      revoked += affected ?? 0;
    }
    return revoked;
  }

  /** Sessions revoked since then. */
  async revokedSince(time: number): Promise<{ id: string; revokedAt: number }[]> {
    const where = { revokedAt: MoreThanOrEqual(time) };
    const rows = await storageErrors(() =>
      this.repository.find({ select: { id: true, revokedAt: true }, where }),
    );
    return rows.map(({ id, revokedAt }) => ({ id, revokedAt: revokedAt! }));
  }

  /**
   * Replaces data or claims of a live session.
   *
   * @param version when given, only if the row still has this version
   * @returns whether it was written
   */
  async updateContent(
    id: string,
    column: 'data' | 'claims',
    value: JsonValue,
    now: number,
    version?: number,
  ): Promise<boolean> {
    const criteria = {
      id,
      revokedAt: IsNull(),
      expiresAt: MoreThan(now),
      ...(version !== undefined && { version }),
    };
    return this.update(criteria, { [column]: toAsciiJson(value), version: () => 'version + 1' });
  }

  /**
   * Removes rows of sessions that are over. Any number of processes may do so at once.
   *
   * @returns how many rows this call removed
   */
  async removeExpired(now: number, batchSize: number): Promise<number> {
    let removed = 0;
    for (;;) {
      const where = { expiresAt: LessThan(now) };
      const rows = await storageErrors(() =>
        this.repository.find({ select: { id: true }, where, take: batchSize }),
      );
      if (rows.length === 0) return removed;
      // The condition stands in the DELETE again: a session that was renewed in between survives.
      const criteria = { id: In(rows.map(({ id }) => id)), ...where };
      const { affected } = await storageErrors(() => this.repository.delete(criteria));
      removed += affected ?? 0;
      if (rows.length < batchSize) return removed;
    }
  }

  /** The row exactly as far as rotation goes; generation and redeemer change with every step of it. */
  private unchanged({ id, generation, redeemedBy }: SessionRow) {
    return { id, generation, redeemedBy: redeemedBy ?? IsNull(), revokedAt: IsNull() };
  }

  /** Nothing of the session remains in its row but that it was revoked, and whose it was. */
  private tombstone(now: number) {
    return {
      revokedAt: now,
      expiresAt: now + this.tombstoneLife,
      secretHash: '',
      claims: 'null',
      data: 'null',
      userAgent: null,
      ip: null,
    };
  }

  private async update(...parameters: Parameters<Repository<SessionEntity>['update']>): Promise<boolean> {
    const { affected } = await storageErrors(() => this.repository.update(...parameters));
    return affected === 1;
  }
}

/** Whether a row stands for a session that goes on. */
export function isLive(row: SessionRow, now: number): boolean {
  return row.revokedAt === null && row.expiresAt > now;
}

function toEntity(row: SessionRow): SessionEntity {
  const { userId, claims, data } = row;
  return { ...row, userId: toAsciiJson(userId), claims: toAsciiJson(claims), data: toAsciiJson(data) };
}

function fromEntity(entity: SessionEntity): SessionRow {
  return Object.assign({}, entity, {
    userId: JSON.parse(entity.userId) as UserId,
    claims: JSON.parse(entity.claims) as JsonValue,
    data: JSON.parse(entity.data) as JsonValue,
  });
}
