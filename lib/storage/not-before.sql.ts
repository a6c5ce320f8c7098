/** Statements on the table of not-befores. `Statements` explains the braces and colons. */
export const NOT_BEFORE_SQL = {
  findForUser: 'SELECT {*} FROM {} WHERE {userId} IN (:users...)',

  since: 'SELECT {*} FROM {} WHERE {settledAt} >= :time',

  findUnsettled: 'SELECT {*} FROM {} WHERE {settledAt} = :unsettled AND {createdAt} < :time',

  settle: 'UPDATE {} SET {settledAt} = :now WHERE {id} = :id AND {settledAt} = :unsettled',

  removeSettled: 'DELETE FROM {} WHERE {settledAt} < :time',
} as const;
