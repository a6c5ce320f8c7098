/** Statements on the table of sessions; see `Statements` for what stands in braces and behind colons. */

const LIVE = '{revokedAt} IS NULL AND {expiresAt} > :now';

/** The row exactly as far as rotation goes; generation and redeemer change with every step of it. */
const UNCHANGED =
  "{id} = :id AND {generation} = :wasGeneration AND COALESCE({redeemedBy}, '') = :wasRedeemedBy AND {revokedAt} IS NULL";

/** Nothing of a revoked session remains in its row but that it was revoked, and whose it was. */
const REVOKE = `UPDATE {} SET {revokedAt} = :now, {revokedReason} = :reason, {expiresAt} = :removableAt,
  {secretHash} = '', {claims} = 'null', {data} = 'null', {userAgent} = NULL, {ip} = NULL`;

/** See `ExpirySlide` of the store. */
const SLIDE = '{expiresAt} = CASE WHEN :target - {expiresAt} >= :gain THEN :target ELSE {expiresAt} END';

/** Without a `:version`, whichever the row has. */
const UPDATABLE = `{id} = :id AND ${LIVE} AND {version} = COALESCE(:version, {version})`;

export const SESSION_SQL = {
  find: 'SELECT {*} FROM {} WHERE {id} = :id',

  findAllForUser: `SELECT {*} FROM {} WHERE {userId} = :userId AND ${LIVE} ORDER BY {createdAt} DESC, {id} DESC`,

  revokedSince: 'SELECT {* of id, revokedAt, revokedReason} FROM {} WHERE {revokedAt} >= :time',

  advance: `UPDATE {} SET {generation} = :generation, {redeemedBy} = :redeemedBy, {lastSeenAt} = :lastSeenAt,
    {expiresAt} = :expiresAt WHERE ${UNCHANGED}`,

  /** The exchanges that `decideRefresh` allows, but for tokens that are kept; the caller has seen to those. */
  redeem: `UPDATE {} SET {generation} = :generation, {redeemedBy} = :tokenId, {lastSeenAt} = :now, ${SLIDE}
    WHERE {id} = :id AND {secretHash} = :secretHash AND ${LIVE} AND ({generation} < :generation OR
      {generation} = :generation AND ({redeemedBy} IS NULL OR {redeemedBy} = :tokenId))
    RETURNING {*}`,

  /** What `decideUse` allows. No more is returned than is used: the driver takes about half a microsecond for each column. */
  prove: `UPDATE {} SET {redeemedBy} = CASE WHEN {generation} = :generation THEN {redeemedBy} ELSE NULL END,
    {generation} = :generation, {lastSeenAt} = :now, ${SLIDE}
    WHERE {id} = :id AND {secretHash} = :secretHash AND ${LIVE} AND {generation} <= :generation
    RETURNING {* of id, userId, claims, expiresAt}`,

  updateData: `UPDATE {} SET {data} = :value, {version} = {version} + 1 WHERE ${UPDATABLE}`,

  updateClaims: `UPDATE {} SET {claims} = :value, {version} = {version} + 1 WHERE ${UPDATABLE}`,

  revoke: `${REVOKE} WHERE {id} = :id AND ${LIVE}`,

  revokeWithSecret: `${REVOKE} WHERE {id} = :id AND {secretHash} = :secretHash AND ${LIVE}`,

  revokeStolen: `${REVOKE} WHERE ${UNCHANGED}`,

  revokeMany: `${REVOKE} WHERE {id} IN (:ids...) AND ${LIVE}`,

  findExpired: 'SELECT {* of id} FROM {} WHERE {expiresAt} < :now LIMIT :count',

  /** The condition stands here again: a session that was renewed since it was found survives. */
  removeExpired: 'DELETE FROM {} WHERE {id} IN (:ids...) AND {expiresAt} < :now',
} as const;
