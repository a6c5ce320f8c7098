import type { DataSource } from 'typeorm';
import type { SessionEndReason } from '../errors/session.errors.js';
import type { RefreshTokenFacts, RotationState } from '../protocol/rotation.js';
import type { JsonValue } from '../types/json.js';
import type { UserId } from '../types/register.js';
import { toAsciiJson } from './columns.js';
import { storageErrors } from './database-error.js';
import { SessionEntity } from './session.entity.js';
import { SESSION_SQL } from './session.sql.js';
import { Statements } from './statements.js';

/** A row of the table of sessions, with the JSON columns parsed. */
export type SessionRow = Omit<SessionEntity, 'userId' | 'claims' | 'data' | 'revokedReason'> & {
  userId: UserId;
  claims: JsonValue;
  data: JsonValue;
  revokedReason: RevocationReason | null;
};

/** Why a row was revoked. */
export type RevocationReason = Exclude<SessionEndReason, 'expired'>;

/** The columns of a revoked session that the feed reads. */
export interface Revocation {
  readonly id: string;
  readonly revokedAt: number;
  readonly revokedReason: RevocationReason | null;
}

/** The columns that tokens need, and the session's expiry. */
export type SessionFacts = Pick<SessionRow, 'id' | 'userId' | 'claims' | 'expiresAt'>;

/** The part of a session that clients and applications get. Drivers need about half a microsecond for each column more. */
export type SessionDetails = SessionFacts &
  Pick<SessionRow, 'data' | 'createdAt' | 'lastSeenAt' | 'userAgent' | 'ip'>;

/** The largest number of ids in one statement. Every database allows that many parameters. */
const CHUNK = 512;

/** Databases with `UPDATE … RETURNING`. */
const HAS_RETURNING: ReadonlySet<string> = new Set(['postgres', 'better-sqlite3']);

/** The new expiry of a row, in epoch milliseconds. It is written only if it is at least `gain` milliseconds later. */
export interface ExpirySlide {
  readonly target: number;
  readonly gain: number;
}

/**
 * Reads and writes the table of sessions. Each method runs one statement, or several between which the process may stop at
 * any time. Nothing relies on transactions or locks, because databases and drivers differ in them.
 */
export class SessionStore {
  private readonly run;
  /** Whether {@link redeem} and {@link prove} are available. */
  readonly hasReturning: boolean;

  /**
   * @param tombstoneLife how long the row of a revoked session stays, so that other processes can read it, in milliseconds
   */
  constructor(
    dataSource: DataSource,
    private readonly tombstoneLife: number,
  ) {
    this.hasReturning = HAS_RETURNING.has(dataSource.options.type);
    const statements = new Statements(dataSource, SessionEntity);
    this.run = statements.prepare({ ...SESSION_SQL, insert: statements.insertion });
  }

  async insert(row: SessionRow): Promise<void> {
    await storageErrors(() => this.run.insert(toValues(row)));
  }

  /** The row of a session, live or not, or null. */
  async find(id: string): Promise<SessionRow | null> {
    const { rows } = await storageErrors(() => this.run.find({ id }));
    return rows[0] ? fromEntity(rows[0]) : null;
  }

  /** Live sessions of a user, newest first. */
  async findAllForUser(userId: UserId, now: number): Promise<SessionRow[]> {
    const { rows } = await storageErrors(() => this.run.findAllForUser({ userId: toAsciiJson(userId), now }));
    // For MySQL's usual collations, "Ann", "ann" and "änn" are equal. Here they are different users.
    return rows.map(fromEntity).filter((row) => row.userId === userId);
  }

  /**
   * Writes a rotation decision, on condition that the row has not changed since it was read.
   *
   * @returns whether it was written. If not, read the row and decide again
   */
  async advance(
    row: SessionRow,
    next: RotationState,
    times: { lastSeenAt: number; expiresAt: number },
  ): Promise<boolean> {
    const { affected } = await storageErrors(() =>
      this.run.advance({ ...next, ...times, ...unchanged(row) }),
    );
    return affected === 1;
  }

  /**
   * Exchanges a token that is not kept, if the rules allow that.
   *
   * @returns the row after the update, or `undefined` if the rules do not allow it; then read the row and decide
   */
  async redeem(
    { sessionId, generation, tokenId }: RefreshTokenFacts & { readonly sessionId: string },
    secretHash: string,
    slide: ExpirySlide,
    now: number,
  ): Promise<SessionDetails | undefined> {
    // The spread comes last, here and below, because V8 takes a microsecond for each property after a spread.
    const values = { id: sessionId, secretHash, generation, tokenId, now, ...slide };
    const { rows } = await storageErrors(() => this.run.redeem(values));
    return rows[0] && detailsOf(rows[0]);
  }

  /**
   * Moves the row on to a generation, unless its generation is the same or later.
   *
   * @returns the row after the update, or `undefined` if the row's generation is later; then read the row and decide
   */
  async prove(
    expected: Pick<SessionRow, 'id' | 'secretHash'>,
    generation: number,
    slide: ExpirySlide,
    now: number,
  ): Promise<SessionFacts | undefined> {
    const values = { generation, now, ...expected, ...slide };
    const { rows } = await storageErrors(() => this.run.prove(values));
    return rows[0] && factsOf(rows[0]);
  }

  /** Revokes a stolen session, on condition that the row has not changed since it was read. */
  async revokeStolen(row: SessionRow, now: number): Promise<boolean> {
    const values = { ...unchanged(row), ...this.tombstone(now, 'theft') };
    const { affected } = await storageErrors(() => this.run.revokeStolen(values));
    return affected === 1;
  }

  /**
   * @param secretHash when given, the session must have this hash
   * @returns whether there was such a live session
   */
  async revoke(id: string, now: number, reason: RevocationReason, secretHash?: string): Promise<boolean> {
    const run = secretHash === undefined ? this.run.revoke : this.run.revokeWithSecret;
    const { affected } = await storageErrors(() => run({ id, secretHash, ...this.tombstone(now, reason) }));
    return affected === 1;
  }

  /** @returns how many of the sessions were live */
  async revokeMany(ids: readonly string[], now: number, reason: RevocationReason): Promise<number> {
    let revoked = 0;
    for (let start = 0; start < ids.length; start += CHUNK) {
      const values = { ids: ids.slice(start, start + CHUNK), ...this.tombstone(now, reason) };
      const { affected } = await storageErrors(() => this.run.revokeMany(values));
      revoked += affected;
    }
    return revoked;
  }

  /** Sessions that were revoked at this time or later. */
  async revokedSince(time: number): Promise<Revocation[]> {
    const { rows } = await storageErrors(() => this.run.revokedSince({ time }));
    return rows as Revocation[];
  }

  /**
   * Replaces data or claims of a live session.
   *
   * @param version when given, the row must still have this version
   * @returns whether it was written
   */
  async updateContent(
    id: string,
    column: 'data' | 'claims',
    value: JsonValue,
    now: number,
    version?: number,
  ): Promise<boolean> {
    const run = column === 'data' ? this.run.updateData : this.run.updateClaims;
    const values = { id, value: toAsciiJson(value), now, version: version ?? null };
    const { affected } = await storageErrors(() => run(values));
    return affected === 1;
  }

  /**
   * Removes rows of sessions that are over. Any number of processes may do this at once.
   *
   * @returns how many rows this call removed
   */
  async removeExpired(now: number, batchSize: number): Promise<number> {
    let removed = 0;
    for (;;) {
      const { rows } = await storageErrors(() => this.run.findExpired({ now, count: batchSize }));
      if (rows.length === 0) return removed;
      const ids = rows.map(({ id }) => id);
      const { affected } = await storageErrors(() => this.run.removeExpired({ ids, now }));
      removed += affected;
      if (rows.length < batchSize) return removed;
    }
  }

  private tombstone(now: number, reason: RevocationReason) {
    return { now, reason, removableAt: now + this.tombstoneLife };
  }
}

function unchanged({ id, generation, redeemedBy }: SessionRow) {
  return { id, wasGeneration: generation, wasRedeemedBy: redeemedBy ?? '' };
}

/** When and why a session ended. */
export interface SessionEnd {
  readonly endedAt: number;
  readonly reason?: SessionEndReason | undefined;
}

export function endOf({ revokedAt, revokedReason, expiresAt }: SessionRow): SessionEnd {
  return revokedAt === null
    ? { endedAt: expiresAt, reason: 'expired' }
    : { endedAt: revokedAt, reason: revokedReason ?? undefined };
}

/** Whether a session is neither revoked nor expired. */
export function isLive(row: SessionRow, now: number): boolean {
  return row.revokedAt === null && row.expiresAt > now;
}

function toValues(row: SessionRow): Record<keyof SessionEntity, unknown> {
  const values: Record<keyof SessionEntity, unknown> = { ...row };
  values.userId = toAsciiJson(row.userId);
  values.claims = toAsciiJson(row.claims);
  values.data = toAsciiJson(row.data);
  return values;
}

/** Parses the JSON columns of an entity. It changes the entity, which nobody else uses. */
function fromEntity(entity: SessionEntity): SessionRow {
  return detailsOf(entity) as SessionRow;
}

/** The same for a row of which a statement returns only some columns. */
function detailsOf(entity: Pick<SessionEntity, keyof SessionDetails>): SessionDetails {
  const details = factsOf(entity) as SessionDetails;
  details.data = JSON.parse(entity.data) as JsonValue;
  return details;
}

/** The same, without data. */
function factsOf(entity: Pick<SessionEntity, keyof SessionFacts>): SessionFacts {
  const facts = entity as { -readonly [Name in keyof SessionFacts]: SessionFacts[Name] };
  facts.userId = JSON.parse(entity.userId) as UserId;
  facts.claims = JSON.parse(entity.claims) as JsonValue;
  return facts;
}
