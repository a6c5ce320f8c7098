import { setTimeout as delay } from 'node:timers/promises';
import {
  type RevocationReason,
  type SessionEndReason,
  StorageUnavailableError,
} from '../errors/session.errors.js';
import type { RefreshTokenFacts, RotationState } from '../protocol/rotation.js';
import { timeOfSessionId } from '../protocol/session-id.js';
import type { SessionActor } from '../types/actor.js';
import type { JsonValue } from '../types/json.js';
import type { Clock } from '../util/clock.js';
import { logger } from '../util/logger.js';
import type { UserId } from '../types/register.js';
import { toAsciiJson } from './columns.js';
import { Marks } from './marks.js';
import { SessionEntity } from './session.entity.js';
import { isRowKeeper, type Rows, statementsOn } from './row-keeper.js';
import { revocationSql, SESSION_SQL } from './session.sql.js';
import type { StatementResult, StatementSettings } from './statements.js';

/** A row of the table of sessions, with the JSON columns parsed. */
export type SessionRow = Omit<
  SessionEntity,
  'userId' | 'claims' | 'data' | 'amr' | 'label' | 'actor' | 'revokedReason'
> & {
  userId: UserId;
  claims: JsonValue;
  data: JsonValue;
  amr: readonly string[] | null;
  label: string | null;
  actor: SessionActor | null;
  revokedReason: RevocationReason | null;
};

/** The columns of a revoked session that the feed reads. */
export interface Revocation {
  readonly id: string;
  readonly revokedAt: number;
  readonly revokedReason: RevocationReason | null;
}

/** The same, for those who are told of it. `userId` is null if the column is damaged. */
export interface HeardRevocation extends Revocation {
  readonly userId: UserId;
  readonly actor: SessionActor | null;
  /** Whether this process has revoked it. */
  readonly isOwn: boolean;
}

/** A session that a call has revoked. `userId` is null if the column is damaged. */
export type EndedSession = Pick<SessionRow, 'id' | 'userId' | 'actor'>;

/** The columns that tell whether a session is live. */
export type SessionState = Pick<
  SessionRow,
  'id' | 'createdAt' | 'lastSeenAt' | 'expiresAt' | 'idleTtl' | 'revokedAt' | 'revokedReason'
>;

/** The columns that tokens need, and the session's expiry. */
export type SessionFacts = Pick<
  SessionRow,
  'id' | 'userId' | 'claims' | 'expiresAt' | 'remember' | 'authTime' | 'amr'
> &
  // Statements for refreshes do not read it, because no impersonation is refreshed.
  Partial<Pick<SessionRow, 'actor'>>;

/** The part of a session that clients and applications get. Drivers need about half a microsecond for each column more. */
export type SessionDetails = SessionFacts &
  Pick<SessionRow, 'data' | 'createdAt' | 'lastSeenAt' | 'label' | 'userAgent' | 'ip'>;

/** The largest number of ids in one statement. Every database allows that many parameters. */
const CHUNK = 512;

/** For how long after a sign-in a node of a cluster may not have its row, in milliseconds. */
const YOUNG = 30_000;
/** How often, and in which distance in milliseconds, such a row is looked for. */
const ATTEMPTS = 6;
const WAIT = 50;

/** In every collation, this comes after all ids, which are hexadecimal digits and hyphens. */
export const AFTER_ALL_IDS = 'z';

/** Databases with `UPDATE … RETURNING`. */
const HAS_RETURNING: ReadonlySet<string> = new Set(['postgres', 'better-sqlite3']);

/**
 * When a session was revoked, and when its row may be removed, until `settle` has written these times: later than any time.
 * So whoever asks for the revocations since some time gets it, however late the revocation was committed.
 */
export const UNSETTLED = Number.MAX_SAFE_INTEGER;

/** The largest number of damaged columns that are logged. A defect that damages all rows must not fill the log. */
const MOST_DAMAGES = 1_000;

type RunStatement = (values: Readonly<Record<string, unknown>>) => Promise<StatementResult<SessionEntity>>;

/** All in milliseconds. */
export interface RowTimes {
  /** How long the row of a revoked session stays, so that other processes can read it. */
  readonly tombstone: number;
  /** The longest time between two refreshes of a session that has no such time of its own. */
  readonly ttl: number;
  /** The longest life of a session. */
  readonly absoluteTtl: number;
}

/**
 * Reads and writes the table of sessions. Each method runs one statement, or several between which the process may stop at
 * any time. Nothing relies on transactions or locks, because databases and drivers differ in them.
 */
export class SessionStore {
  private readonly run;
  /** Whether {@link redeem} and {@link prove} are available. */
  readonly hasReturning: boolean;
  private readonly marks = new Marks();
  /** What has been logged. */
  private readonly damages = new Set<string>();

  constructor(
    rows: Rows,
    private readonly clock: Clock,
    private readonly times: RowTimes,
    settings?: StatementSettings,
  ) {
    this.hasReturning = isRowKeeper(rows) || HAS_RETURNING.has(rows.options.type);
    const statements = statementsOn(rows, SessionEntity, settings);
    this.run = statements.prepare({
      ...SESSION_SQL,
      ...revocationSql(this.hasReturning),
      insert: statements.insertion,
    });
  }

  async insert(row: SessionRow): Promise<void> {
    await this.run.insert(toValues(row));
  }

  /** Takes back a row whose session nobody has got. */
  async discard(id: string): Promise<void> {
    await this.run.discard({ id });
  }

  /** The row of a session, live or not, or null. */
  async find(id: string): Promise<SessionRow | null> {
    const { rows } = await this.run.find({ id });
    return rows[0] ? this.rowOf(rows[0]) : null;
  }

  /**
   * The same for a session whose token is authentic. Right after a sign-in, another node of a cluster, or a replica that has just
   * become the primary, may not have the row yet. So the row of a young session is waited for.
   *
   * @throws {@link StorageUnavailableError} when it does not come: that it is missing says nothing
   */
  async findAuthentic(id: string, now: number): Promise<SessionRow | null> {
    for (let attempts = 1; ; attempts++) {
      const row = await this.find(id);
      if (row || !mayBeMissing(id, now)) return row;
      if (attempts === ATTEMPTS) {
        throw new StorageUnavailableError(
          'The session was made a moment ago, and the database that was asked does not have it yet.',
        );
      }
      await delay(WAIT);
    }
  }

  /** Whether a session has certainly ended. That the row of a young one is missing does not say so: see {@link findAuthentic}. */
  async isOver(id: string, now: number): Promise<boolean> {
    const row = await this.find(id);
    return row ? !isLive(row, now) : !mayBeMissing(id, now);
  }

  /**
   * Live sessions of a user, newest first. What cannot be read of one is null, so that it does not hide the others.
   *
   * @param after the last session of the page before
   * @returns at most `limit` sessions, and whether there are more
   */
  async findPageForUser(
    userId: UserId,
    now: number,
    limit: number,
    after: string = AFTER_ALL_IDS,
  ): Promise<{ rows: SessionRow[]; hasMore: boolean }> {
    const user = toAsciiJson(userId);
    const { ttl, absoluteTtl } = this.times;
    const count = limit + 1;
    const found: SessionEntity[] = [];
    let before = after;
    // Once, unless the database takes other users for this one: their sessions do not count.
    for (;;) {
      const values = { userId: user, before, now, ttl, absoluteTtl, count };
      const { rows } = await this.run.findPageForUser(values);
      found.push(...ofUser(rows, user));
      if (rows.length < count || found.length > limit) break;
      before = rows.at(-1)!.id;
    }
    const rows = found.slice(0, limit).map((row) => this.rowOf(row, this.unreadable));
    return { rows, hasMore: found.length > limit };
  }

  /**
   * Ids of the live sessions of a user. This parses nothing else, because the rest may be large, or damaged.
   *
   * @param impersonated whether sessions in which somebody else acts as the user count
   */
  async findIdsForUser(userId: UserId, now: number, impersonated = true): Promise<string[]> {
    const user = toAsciiJson(userId);
    const { rows } = await this.run.findIdsForUser({ userId: user, now });
    const counting = ofUser(rows, user).filter(({ actor }) => impersonated || actor === null);
    return counting.map(({ id }) => id);
  }

  /** Whether sessions are live, and until when. Those without a row are missing in the result. */
  async findStates(ids: readonly string[]): Promise<SessionState[]> {
    return this.inChunks(ids, async (chunk) => {
      const { rows } = await this.run.findStates({ ids: chunk });
      for (const row of rows) row.expiresAt = this.expiryOf(row);
      return rows;
    });
  }

  /** Ids of up to `count` live sessions between two ids, in the order of ids. */
  async findIdsBetween(after: string, before: string, now: number, count: number): Promise<string[]> {
    const { rows } = await this.run.findIdsBetween({ after, before, now, count });
    return rows.map(({ id }) => id);
  }

  /**
   * Writes a rotation decision, on condition that the row has not changed since it was read.
   *
   * @returns the row after that, or `undefined` if it was not written; then read the row and decide again
   */
  async advance(row: SessionRow, next: RotationState, now: number): Promise<SessionRow | undefined> {
    const times = { lastSeenAt: now, expiresAt: this.expiryAfter(row, now) };
    const isWritten =
      times.expiresAt === row.expiresAt &&
      next.generation === row.generation &&
      next.redeemedBy === row.redeemedBy;
    if (isWritten) return row;
    const { affected } = await this.run.advance({ ...next, ...times, ...unchanged(row) });
    return affected === 1 ? { ...row, ...next, ...times } : undefined;
  }

  /**
   * The expiry of a session that is used now. It changes only by at least one per cent of the idle time, because on PostgreSQL
   * an update that changes no indexed column is several times cheaper.
   */
  private expiryAfter({ createdAt, idleTtl, endsAt, expiresAt }: SessionRow, now: number): number {
    const idle = idleTtl ?? this.times.ttl;
    const end = createdAt + this.times.absoluteTtl;
    const target = Math.min(now + idle, endsAt ?? end, end);
    return 100 * Math.abs(target - expiresAt) >= idle ? target : expiresAt;
  }

  /**
   * Exchanges a token that is not kept, if the rules allow that.
   *
   * @returns the row after the update, or `undefined` if the rules do not allow it; then read the row and decide
   */
  async redeem(
    { sessionId, generation, tokenId }: RefreshTokenFacts & { readonly sessionId: string },
    secretHash: string,
    now: number,
  ): Promise<SessionDetails | undefined> {
    const { ttl, absoluteTtl } = this.times;
    const values = { id: sessionId, secretHash, generation, tokenId, now, ttl, absoluteTtl };
    const { rows } = await this.run.redeem(values);
    return rows[0] && detailsOf(rows[0]);
  }

  /**
   * Moves the row on to a generation, unless its generation is the same or later.
   *
   * @returns the row after the update, or `undefined` if the row's generation is later; then read the row and decide
   */
  async prove(
    { id, secretHash }: Pick<SessionRow, 'id' | 'secretHash'>,
    generation: number,
    now: number,
  ): Promise<SessionFacts | undefined> {
    const { ttl, absoluteTtl } = this.times;
    const values = { id, secretHash, generation, now, ttl, absoluteTtl };
    const { rows } = await this.run.prove(values);
    return rows[0] && factsOf(rows[0]);
  }

  /** Revokes a stolen session, on condition that the row has not changed since it was read. */
  async revokeStolen(row: SessionRow): Promise<boolean> {
    const values = { ...unchanged(row), reason: 'theft', unsettled: UNSETTLED, mark: this.marks.next() };
    const { affected } = await this.run.revokeStolen(values);
    if (affected > 0) await this.settle([row.id]);
    return affected === 1;
  }

  /**
   * @param secretHash when given, the session must have this hash
   * @returns the session, or `undefined` if there was no such live session
   */
  async revoke(
    id: string,
    now: number,
    reason: RevocationReason,
    secretHash?: string,
  ): Promise<EndedSession | undefined> {
    const values = { id, secretHash, now, reason };
    const run = secretHash === undefined ? this.run.revoke : this.run.revokeWithSecret;
    const [ended] = await this.end([id], run, values);
    return ended;
  }

  /** @returns those of the sessions that were live until this call */
  async revokeMany(ids: readonly string[], now: number, reason: RevocationReason): Promise<EndedSession[]> {
    return this.inChunks(ids, (chunk) => this.end(chunk, this.run.revokeMany, { ids: chunk, now, reason }));
  }

  /** The same for sessions of whose end a not-before tells all processes. */
  async endMany(ids: readonly string[], now: number, reason: RevocationReason): Promise<EndedSession[]> {
    return this.inChunks(ids, (chunk) =>
      this.end(chunk, this.run.endMany, { ids: chunk, now, reason }, false),
    );
  }

  private async inChunks<T>(
    ids: readonly string[],
    run: (chunk: readonly string[]) => Promise<readonly T[]>,
  ): Promise<T[]> {
    const results: T[] = [];
    for (let start = 0; start < ids.length; start += CHUNK) {
      results.push(...(await run(ids.slice(start, start + CHUNK))));
    }
    return results;
  }

  /**
   * Runs a statement that revokes sessions. If two processes revoke a session at once, only one of them has ended it. Where
   * `UPDATE` returns no rows, the mark in the row says who has. No other statement changes a revoked row's mark.
   *
   * If that cannot be read any more, the call fails although the sessions have ended. They then have no event, and this process
   * hears of them like the others, by the feed.
   *
   * @param ids the sessions that the statement may revoke
   * @param settles whether the time of the revocations must be written after their commit
   * @returns those that it has revoked
   */
  private async end(
    ids: readonly string[],
    run: RunStatement,
    values: object,
    settles = true,
  ): Promise<EndedSession[]> {
    const mark = this.marks.next();
    const { rows, affected } = await run({ ...values, unsettled: UNSETTLED, mark });
    if (affected === 0) return [];
    if (settles) await this.settle(this.hasReturning ? rows.map(({ id }) => id) : ids);
    const marked = this.hasReturning ? rows : (await this.run.findMarked({ ids, mark })).rows;
    return marked.map((row) => ({
      id: row.id,
      userId: parsed(row, 'userId', this.unreadable) as UserId,
      actor: actorOf(row, this.unreadable),
    }));
  }

  /** Logs that a column cannot be read, once. Its value is null then. */
  private readonly unreadable: Unreadable = ({ message }) => {
    if (this.damages.size < MOST_DAMAGES && !this.damages.has(message)) {
      this.damages.add(message);
      logger.error(message);
    }
    return null;
  };

  /**
   * Writes the time of revocations that have been committed. A revocation may have to wait for a lock, for any time, and be
   * committed even if nobody waits for it any more. If the time from before that were kept, processes that have read on since
   * would never see it.
   */
  private async settle(ids: readonly string[]): Promise<void> {
    try {
      await this.run.settle({ ids, ...this.settled() });
    } catch {
      // The sessions are revoked, and everybody reads so. The next clean-up writes the time.
    }
  }

  private settled() {
    const now = this.clock.now();
    return { now, removableAt: now + this.times.tombstone, unsettled: UNSETTLED };
  }

  /** Sessions that were revoked at this time or later. The time of some may be later than now. */
  async revokedSince(time: number): Promise<Revocation[]> {
    const { rows } = await this.run.revokedSince({ time, unsettled: UNSETTLED });
    return rows as Revocation[];
  }

  /** The same, with whose sessions they were, and whether this process has revoked them. */
  async heardSince(time: number): Promise<HeardRevocation[]> {
    const { rows } = await this.run.heardSince({ time, unsettled: UNSETTLED });
    return rows.map((row) => ({
      id: row.id,
      // The same rows are read again and again. So what is damaged is not logged here.
      userId: parsed(row, 'userId', () => null) as UserId,
      actor: actorOf(row, () => null),
      revokedAt: row.revokedAt!,
      revokedReason: row.revokedReason,
      isOwn: this.marks.isOwn(row.redeemedBy),
    }));
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
    const { ttl, absoluteTtl } = this.times;
    const values = { id, value: toAsciiJson(value), version: version ?? null, now, ttl, absoluteTtl };
    const { affected } = await run(values);
    return affected === 1;
  }

  /** Names the device of a live session, or takes its name away. @returns whether it was written */
  async rename(id: string, label: string | null, now: number): Promise<boolean> {
    const { ttl, absoluteTtl } = this.times;
    const value = label === null ? null : toAsciiJson(label);
    const values = { id, value, version: null, now, ttl, absoluteTtl };
    const { affected } = await this.run.updateLabel(values);
    return affected === 1;
  }

  /**
   * Removes rows of sessions that are over. Any number of processes may do this at once.
   *
   * @returns how many rows this call removed
   */
  async removeExpired(now: number, batchSize: number): Promise<number> {
    await this.run.settleAll(this.settled());
    let removed = 0;
    for (;;) {
      const { rows } = await this.run.findExpired({ now, count: batchSize });
      if (rows.length === 0) return removed;
      const ids = rows.map(({ id }) => id);
      const { affected } = await this.run.removeExpired({ ids, now });
      removed += affected;
      if (rows.length < batchSize) return removed;
    }
  }

  /** @param unreadable is called for a column that cannot be read. Its result takes the place of the value */
  private rowOf(entity: SessionEntity, unreadable: Unreadable = refuseRow): SessionRow {
    const row = detailsOf(entity, unreadable) as SessionRow;
    row.actor = actorOf(entity, unreadable);
    row.expiresAt = this.expiryOf(row);
    return row;
  }

  /** The options may have become stricter since the row was written. */
  private expiryOf({ expiresAt, createdAt, lastSeenAt, idleTtl }: SessionState): number {
    const { ttl, absoluteTtl } = this.times;
    return Math.min(expiresAt, lastSeenAt + (idleTtl ?? ttl), createdAt + absoluteTtl);
  }
}

/** For MySQL's usual collations, "Ann", "ann" and "änn" are equal. Here they are different users. */
function ofUser(rows: readonly SessionEntity[], userId: string): SessionEntity[] {
  return rows.filter((row) => row.userId === userId);
}

function unchanged({ id, generation, redeemedBy }: SessionRow) {
  return { id, wasGeneration: generation, wasRedeemedBy: redeemedBy ?? '' };
}

/** When and why a session ended. */
export interface SessionEnd {
  readonly endedAt: number;
  readonly reason?: SessionEndReason | undefined;
}

export function endOf({ revokedAt, revokedReason, expiresAt }: SessionState, now: number): SessionEnd {
  return revokedAt === null
    ? { endedAt: expiresAt, reason: revokedReason ?? 'expired' }
    : { endedAt: Math.min(revokedAt, now), reason: revokedReason ?? undefined };
}

/** Whether a session has neither been ended nor expired. */
export function isLive(row: SessionState, now: number): boolean {
  return !hasBeenEnded(row) && row.expiresAt > now;
}

/** Whether a session was revoked, alone or by a not-before. Its row has no content then. */
export function hasBeenEnded({
  revokedAt,
  revokedReason,
}: Pick<SessionState, 'revokedAt' | 'revokedReason'>): boolean {
  return revokedAt !== null || revokedReason !== null;
}

/** Whether a session is so young that a missing row does not say that it is over. */
export function mayBeMissing(id: string, now: number): boolean {
  return now - timeOfSessionId(id) < YOUNG;
}

function toValues(row: SessionRow): Record<keyof SessionEntity, unknown> {
  const values: Record<keyof SessionEntity, unknown> = { ...row };
  values.userId = toAsciiJson(row.userId);
  values.claims = toAsciiJson(row.claims);
  values.data = toAsciiJson(row.data);
  values.amr = row.amr && toAsciiJson(row.amr);
  values.label = row.label && toAsciiJson(row.label);
  values.actor = row.actor && toAsciiJson(row.actor);
  return values;
}

type Unreadable = (error: StorageUnavailableError) => null;

function refuseRow(error: StorageUnavailableError): never {
  throw error;
}

/** Who acts as the user of a session. */
function actorOf(
  { id, actor }: Pick<SessionEntity, 'id' | 'actor'>,
  unreadable: Unreadable,
): SessionActor | null {
  return actor === null ? null : (parsed({ id, actor }, 'actor', unreadable) as SessionActor | null);
}

/** Parses the JSON columns of a row. It changes the entity, which nobody else uses. */
function detailsOf(
  entity: Pick<SessionEntity, keyof SessionDetails>,
  unreadable: Unreadable = refuseRow,
): SessionDetails {
  const details = factsOf(entity, unreadable) as SessionDetails;
  details.data = parsed(entity, 'data', unreadable);
  if (entity.label !== null)
    details.label = parsed(entity as { id: string; label: string }, 'label', unreadable) as string | null;
  return details;
}

/** The same, without data. */
function factsOf(
  entity: Pick<SessionEntity, keyof SessionFacts>,
  unreadable: Unreadable = refuseRow,
): SessionFacts {
  const facts = entity as { -readonly [Name in keyof SessionFacts]: SessionFacts[Name] };
  facts.userId = parsed(entity, 'userId', unreadable) as UserId;
  facts.claims = parsed(entity, 'claims', unreadable);
  if (entity.amr !== null)
    facts.amr = parsed(entity as { id: string; amr: string }, 'amr', unreadable) as string[] | null;
  return facts;
}

/** The value of a JSON column. It may be damaged: servers that are not strict cut off what is too long. */
function parsed<Column extends 'userId' | 'claims' | 'data' | 'amr' | 'label' | 'actor'>(
  entity: { readonly id: string } & Readonly<Record<Column, string>>,
  column: Column,
  unreadable: Unreadable,
): JsonValue {
  try {
    return JSON.parse(entity[column]) as JsonValue;
  } catch {
    // The error of JSON.parse() quotes the value. So it is not kept.
    const message = `The column for the ${column} of session ${entity.id} is damaged: its value is not JSON.`;
    return unreadable(new StorageUnavailableError(message));
  }
}
