import type { RevocationReason } from '../errors/session.errors.js';
import { timeOfSessionId } from '../protocol/session-id.js';
import type { UserId } from '../types/register.js';
import { toAsciiJson } from './columns.js';
import { storageErrors } from './database-error.js';
import { Marks } from './marks.js';
import { NotBeforeEntity } from './not-before.entity.js';
import { NOT_BEFORE_SQL } from './not-before.sql.js';
import { type Rows, statementsOn } from './row-keeper.js';
import { UNSETTLED } from './session.store.js';

/** Ends all sessions of a user, or of everybody, that were made until some time. */
export interface NotBefore {
  readonly id: string;
  /** `undefined` for everybody. */
  readonly userId: UserId | undefined;
  /** Sessions that were made at this time or before are over. */
  readonly notBefore: number;
  /** The id of a session that goes on. */
  readonly except: string | undefined;
  readonly reason: RevocationReason;
  /** When it was asked for. */
  readonly createdAt: number;
  /** When the rows of its sessions had all been ended. {@link UNSETTLED} until then. */
  readonly settledAt: number;
  /** Whether this process has made it. */
  readonly isOwn: boolean;
}

/** In the place of a user id. No JSON is the same. */
const EVERYBODY = '*';

/** Whether a session is over by a not-before. Whether the user is the right one is for the caller to know. */
export function isBefore(
  { notBefore, except }: Pick<NotBefore, 'notBefore' | 'except'>,
  sessionId: string,
): boolean {
  return timeOfSessionId(sessionId) <= notBefore && sessionId !== except;
}

/** Reads and writes the table of not-befores. */
export class NotBeforeStore {
  private readonly run;
  private readonly marks = new Marks();

  /** @param module name of the module, for telemetry */
  constructor(rows: Rows, module?: string) {
    const statements = statementsOn(rows, NotBeforeEntity, module);
    this.run = statements.prepare({ ...NOT_BEFORE_SQL, insert: statements.insertion });
  }

  async insert(facts: Omit<NotBefore, 'id' | 'settledAt' | 'isOwn'>): Promise<NotBefore> {
    const made: NotBefore = { ...facts, id: this.marks.next(), settledAt: UNSETTLED, isOwn: true };
    const { userId, except } = made;
    const values = { ...made, userId: userId === undefined ? EVERYBODY : toAsciiJson(userId) };
    await storageErrors(() => this.run.insert({ ...values, exceptId: except ?? null }));
    return made;
  }

  /** Those that end one of these sessions of a user, oldest first. */
  async findFor(sessionIds: readonly string[], userId: UserId): Promise<NotBefore[]> {
    const users = [toAsciiJson(userId), EVERYBODY];
    const { rows } = await storageErrors(() => this.run.findForUser({ users }));
    // For MySQL's usual collations, "Ann" and "ann" are equal.
    const own = rows.filter((row) => users.includes(row.userId)).map((row) => this.toNotBefore(row));
    const ending = own.filter((each) => sessionIds.some((id) => isBefore(each, id)));
    return ending.toSorted((a, b) => a.createdAt - b.createdAt);
  }

  /** Those that were settled at this time or later, or not yet. */
  async since(time: number): Promise<NotBefore[]> {
    const { rows } = await storageErrors(() => this.run.since({ time }));
    return rows.map((row) => this.toNotBefore(row));
  }

  /** Those from before this time that are not settled: the process that has made them may have died. */
  async findUnsettled(time: number): Promise<NotBefore[]> {
    const { rows } = await storageErrors(() => this.run.findUnsettled({ time, unsettled: UNSETTLED }));
    return rows.map((row) => this.toNotBefore(row));
  }

  async settle({ id }: NotBefore, now: number): Promise<void> {
    await storageErrors(() => this.run.settle({ id, now, unsettled: UNSETTLED }));
  }

  /** Removes those that were settled before this time. */
  async removeSettled(time: number): Promise<void> {
    await storageErrors(() => this.run.removeSettled({ time }));
  }

  private toNotBefore({ userId, exceptId, ...row }: NotBeforeEntity): NotBefore {
    return {
      ...row,
      userId: userId === EVERYBODY ? undefined : userOf(userId),
      except: exceptId ?? undefined,
      isOwn: this.marks.isOwn(row.id),
    };
  }
}

/** The user id in a column. One that is damaged, which is nobody's, must not keep the others from being read. */
function userOf(text: string): UserId {
  try {
    return JSON.parse(text) as UserId;
  } catch {
    return text;
  }
}
