import type { DataSource, ObjectLiteral } from 'typeorm';
import { type EntityStatements, Statements } from './statements.js';

/** A class whose objects are rows of a table. */
export type EntityClass<E> = abstract new () => E;

/** Keeps the rows elsewhere than in a database of TypeORM: those of the testing module are in memory. */
export interface RowKeeper {
  statementsOf<E extends ObjectLiteral>(entity: EntityClass<E>): EntityStatements<E>;
}

/** Where the rows are. */
export type Rows = DataSource | RowKeeper;

export function isRowKeeper(rows: Rows | undefined): rows is RowKeeper {
  return typeof (rows as Partial<RowKeeper> | undefined)?.statementsOf === 'function';
}

/** @param module name of the module, for those who measure statements */
export function statementsOn<E extends ObjectLiteral>(
  rows: Rows,
  entity: EntityClass<E>,
  module?: string,
): EntityStatements<E> {
  return isRowKeeper(rows) ? rows.statementsOf(entity) : new Statements(rows, entity, module);
}
