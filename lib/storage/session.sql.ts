/** Statements on the table of sessions. `Statements` explains the braces and colons. */

const LIVE = '{revokedAt} IS NULL AND {expiresAt} > :now';

/** The longest time between two refreshes of a session. */
const IDLE_TTL = 'COALESCE({idleTtl}, :ttl)';

/** The same by the present options, which may be stricter than those under which the row was written. */
const LIVE_BY_OPTIONS = `${LIVE} AND {lastSeenAt} + ${IDLE_TTL} > :now AND {createdAt} + :absoluteTtl > :now`;

/**
 * The condition that the rotation state has not changed since the row was read: each rotation changes one of these columns.
 */
const UNCHANGED =
  "{id} = :id AND {generation} = :wasGeneration AND COALESCE({redeemedBy}, '') = :wasRedeemedBy AND {revokedAt} IS NULL";

/**
 * Deletes the content of a session that ends. The row keeps the user id, and why and when the session ended. The mark says
 * which call has ended it: see `SessionStore.end`.
 */
const CLEAR = `{revokedReason} = :reason, {secretHash} = '', {claims} = 'null', {data} = 'null', {label} = NULL,
  {userAgent} = NULL, {ip} = NULL, {redeemedBy} = :mark`;

/** Revokes a session. The time is written by `settle`. */
const REVOKE = `UPDATE {} SET {revokedAt} = :unsettled, {expiresAt} = :unsettled, ${CLEAR}`;

/** What is told of a revoked session. */
const ENDED = '{* of id, userId, actor}';

/** See `expiryAfter` of the store. */
const LONGEST = '{createdAt} + :absoluteTtl';
const TARGET = `LEAST(:now + ${IDLE_TTL}, COALESCE({endsAt}, ${LONGEST}), ${LONGEST})`;
const SLIDE = `{expiresAt} = CASE WHEN 100 * ABS(${TARGET} - {expiresAt}) >= ${IDLE_TTL} THEN ${TARGET}
  ELSE {expiresAt} END`;

/**
 * No time is later than `:unsettled`. The bound is for PostgreSQL: where a table has no statistics, as after a restore, it
 * assumes that a third of all rows are later than a time, and reads the whole table. Between two times it assumes few rows.
 */
const REVOKED_SINCE = '{revokedAt} >= :time AND {revokedAt} <= :unsettled';

/** If `:version` is null, every version of the row matches. */
const UPDATABLE = `{id} = :id AND ${LIVE_BY_OPTIONS} AND {version} = COALESCE(:version, {version})`;

export const SESSION_SQL = {
  find: 'SELECT {*} FROM {} WHERE {id} = :id',

  /** Newest first: an id begins with the time of the sign-in. So it is the whole cursor, and stays one when its row is gone. */
  findPageForUser: `SELECT {*} FROM {} WHERE {userId} = :userId AND {id} < :before AND ${LIVE_BY_OPTIONS}
    ORDER BY {id} DESC LIMIT :count`,

  /** The first live sessions of a part of the table, in the order of ids, which is that of sign-ins. */
  findIdsBetween: `SELECT {* of id} FROM {} WHERE {id} > :after AND {id} < :before AND ${LIVE} ORDER BY {id} LIMIT :count`,

  findIdsForUser: `SELECT {* of id, userId, actor} FROM {} WHERE {userId} = :userId AND ${LIVE}`,

  revokedSince: `SELECT {* of id, revokedAt, revokedReason} FROM {} WHERE ${REVOKED_SINCE}`,

  /** The same with whose sessions they were, and who has revoked them. */
  heardSince: `SELECT {* of id, userId, actor, revokedAt, revokedReason, redeemedBy} FROM {} WHERE ${REVOKED_SINCE}`,

  /** What tells whether sessions are live, and until when. */
  findStates: `SELECT {* of id, createdAt, lastSeenAt, expiresAt, idleTtl, revokedAt, revokedReason} FROM {}
    WHERE {id} IN (:ids...)`,

  advance: `UPDATE {} SET {generation} = :generation, {redeemedBy} = :redeemedBy, {lastSeenAt} = :lastSeenAt,
    {expiresAt} = :expiresAt WHERE ${UNCHANGED}`,

  /** Does the exchanges that `decideRefresh` allows. The caller has checked that the token is not kept. */
  redeem: `UPDATE {} SET {generation} = :generation, {redeemedBy} = :tokenId, {lastSeenAt} = :now, ${SLIDE}
    WHERE {id} = :id AND {secretHash} = :secretHash AND ${LIVE_BY_OPTIONS} AND ({generation} < :generation OR
      {generation} = :generation AND ({redeemedBy} IS NULL OR {redeemedBy} = :tokenId))
    RETURNING {* of id, userId, claims, data, createdAt, lastSeenAt, expiresAt, remember, authTime, amr, label, userAgent, ip}`,

  /**
   * Does what `decideUse` allows. It returns only the columns that are used, because the driver takes about half a
   * microsecond for each column.
   */
  prove: `UPDATE {} SET {redeemedBy} = CASE WHEN {generation} = :generation THEN {redeemedBy} ELSE NULL END,
    {generation} = :generation, {lastSeenAt} = :now, ${SLIDE}
    WHERE {id} = :id AND {secretHash} = :secretHash AND ${LIVE_BY_OPTIONS} AND {generation} <= :generation
    RETURNING {* of id, userId, claims, expiresAt, remember, authTime, amr}`,

  updateData: `UPDATE {} SET {data} = :value, {version} = {version} + 1 WHERE ${UPDATABLE}`,

  updateLabel: `UPDATE {} SET {label} = :value, {version} = {version} + 1 WHERE ${UPDATABLE}`,

  updateClaims: `UPDATE {} SET {claims} = :value, {version} = {version} + 1 WHERE ${UPDATABLE}`,

  revokeStolen: `${REVOKE} WHERE ${UNCHANGED}`,

  /** Those of the sessions that the call with this mark has revoked. */
  findMarked: `SELECT ${ENDED} FROM {} WHERE {id} IN (:ids...) AND {redeemedBy} = :mark`,

  settle: `UPDATE {} SET {revokedAt} = :now, {expiresAt} = :removableAt
    WHERE {id} IN (:ids...) AND {revokedAt} = :unsettled`,

  settleAll: 'UPDATE {} SET {revokedAt} = :now, {expiresAt} = :removableAt WHERE {revokedAt} = :unsettled',

  discard: 'DELETE FROM {} WHERE {id} = :id',

  /** The order makes PostgreSQL use the index, whatever it knows of the table. Otherwise it may read from the table's start. */
  findExpired: 'SELECT {* of id} FROM {} WHERE {expiresAt} < :now ORDER BY {expiresAt} LIMIT :count',

  /** The condition is repeated here, so that a session that was refreshed since `findExpired` is not removed. */
  removeExpired: 'DELETE FROM {} WHERE {id} IN (:ids...) AND {expiresAt} < :now',
} as const;

/** @param hasReturning whether the database has `UPDATE … RETURNING` */
export function revocationSql(hasReturning: boolean) {
  const returning = hasReturning ? ` RETURNING ${ENDED}` : '';
  return {
    revoke: `${REVOKE} WHERE {id} = :id AND ${LIVE}${returning}`,
    revokeWithSecret: `${REVOKE} WHERE {id} = :id AND {secretHash} = :secretHash AND ${LIVE}${returning}`,
    revokeMany: `${REVOKE} WHERE {id} IN (:ids...) AND ${LIVE}${returning}`,
    /** Ends sessions that a not-before tells all processes of. So the feed does not find them. */
    endMany: `UPDATE {} SET {expiresAt} = :now, ${CLEAR} WHERE {id} IN (:ids...) AND ${LIVE}${returning}`,
  };
}
