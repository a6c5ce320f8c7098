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
 * Revokes a session and deletes its content. The row keeps the user id, and why and when the session was revoked. The time is
 * written by `settle`. The mark says which call has revoked it: see `SessionStore.end`.
 */
const REVOKE = `UPDATE {} SET {revokedAt} = :unsettled, {revokedReason} = :reason, {expiresAt} = :unsettled,
  {secretHash} = '', {claims} = 'null', {data} = 'null', {userAgent} = NULL, {ip} = NULL, {redeemedBy} = :mark`;

/** What is told of a revoked session. */
const ENDED = '{* of id, userId, actor}';

/** See `expiryAfter` of the store. */
const LONGEST = '{createdAt} + :absoluteTtl';
const TARGET = `LEAST(:now + ${IDLE_TTL}, COALESCE({endsAt}, ${LONGEST}), ${LONGEST})`;
const SLIDE = `{expiresAt} = CASE WHEN 100 * ABS(${TARGET} - {expiresAt}) >= ${IDLE_TTL} THEN ${TARGET}
  ELSE {expiresAt} END`;

/** If `:version` is null, every version of the row matches. */
const UPDATABLE = `{id} = :id AND ${LIVE_BY_OPTIONS} AND {version} = COALESCE(:version, {version})`;

export const SESSION_SQL = {
  find: 'SELECT {*} FROM {} WHERE {id} = :id',

  findAllForUser: `SELECT {*} FROM {} WHERE {userId} = :userId AND ${LIVE} ORDER BY {createdAt} DESC, {id} DESC`,

  findIdsForUser: `SELECT {* of id, userId, actor} FROM {} WHERE {userId} = :userId AND ${LIVE}`,

  revokedSince: 'SELECT {* of id, revokedAt, revokedReason} FROM {} WHERE {revokedAt} >= :time',

  /** The same with whose sessions they were, and who has revoked them. */
  heardSince:
    'SELECT {* of id, userId, actor, revokedAt, revokedReason, redeemedBy} FROM {} WHERE {revokedAt} >= :time',

  advance: `UPDATE {} SET {generation} = :generation, {redeemedBy} = :redeemedBy, {lastSeenAt} = :lastSeenAt,
    {expiresAt} = :expiresAt WHERE ${UNCHANGED}`,

  /** Does the exchanges that `decideRefresh` allows. The caller has checked that the token is not kept. */
  redeem: `UPDATE {} SET {generation} = :generation, {redeemedBy} = :tokenId, {lastSeenAt} = :now, ${SLIDE}
    WHERE {id} = :id AND {secretHash} = :secretHash AND ${LIVE_BY_OPTIONS} AND ({generation} < :generation OR
      {generation} = :generation AND ({redeemedBy} IS NULL OR {redeemedBy} = :tokenId))
    RETURNING {* of id, userId, claims, data, createdAt, lastSeenAt, expiresAt, remember, authTime, amr, userAgent, ip}`,

  /**
   * Does what `decideUse` allows. It returns only the columns that are used, because the driver takes about half a
   * microsecond for each column.
   */
  prove: `UPDATE {} SET {redeemedBy} = CASE WHEN {generation} = :generation THEN {redeemedBy} ELSE NULL END,
    {generation} = :generation, {lastSeenAt} = :now, ${SLIDE}
    WHERE {id} = :id AND {secretHash} = :secretHash AND ${LIVE_BY_OPTIONS} AND {generation} <= :generation
    RETURNING {* of id, userId, claims, expiresAt, remember, authTime, amr}`,

  updateData: `UPDATE {} SET {data} = :value, {version} = {version} + 1 WHERE ${UPDATABLE}`,

  updateClaims: `UPDATE {} SET {claims} = :value, {version} = {version} + 1 WHERE ${UPDATABLE}`,

  revokeStolen: `${REVOKE} WHERE ${UNCHANGED}`,

  /** Those of the sessions that the call with this mark has revoked. */
  findMarked: `SELECT ${ENDED} FROM {} WHERE {id} IN (:ids...) AND {redeemedBy} = :mark`,

  settle: `UPDATE {} SET {revokedAt} = :now, {expiresAt} = :removableAt
    WHERE {id} IN (:ids...) AND {revokedAt} = :unsettled`,

  settleAll: 'UPDATE {} SET {revokedAt} = :now, {expiresAt} = :removableAt WHERE {revokedAt} = :unsettled',

  discard: 'DELETE FROM {} WHERE {id} = :id',

  findExpired: 'SELECT {* of id} FROM {} WHERE {expiresAt} < :now LIMIT :count',

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
  };
}
