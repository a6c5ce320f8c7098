/** Statements on the table of keys. `Statements` explains the braces and colons. */
export const KEY_SQL = {
  findAll: 'SELECT {*} FROM {} WHERE {purpose} = :purpose ORDER BY {sequence}',

  activate: 'UPDATE {} SET {activeAt} = :now WHERE {kid} = :kid AND {activeAt} > :now',

  replaceMaterial: 'UPDATE {} SET {material} = :next WHERE {kid} = :kid AND {material} = :material',

  remove: 'DELETE FROM {} WHERE {kid} IN (:kids...)',
} as const;
