import { getMetadataArgsStorage, type ObjectLiteral } from 'typeorm';
import type { EntityClass, RowKeeper } from '../storage/row-keeper.js';
import type { EntityStatements, StatementResult } from '../storage/statements.js';
import { type MemoryStatement, parseStatement, type Row } from './memory-statement.js';

/**
 * Keeps rows in memory, for tests: without a database, and without a driver of one. It runs the statements that a database would
 * run. Each of them is done at once, so none comes in between.
 */
export class MemoryRows implements RowKeeper {
  private readonly tables = new Map<unknown, Row[]>();

  statementsOf<E extends ObjectLiteral>(entity: EntityClass<E>): EntityStatements<E> {
    const properties = propertiesOf(entity);
    const uniques = uniquesOf(entity);
    const table = this.tables.get(entity) ?? [];
    this.tables.set(entity, table);
    const names = properties.map((name) => `{${name}}`).join(', ');
    const insertion = `INSERT INTO {} (${names}) VALUES (${properties.map((name) => `:${name}`).join(', ')})`;

    const run = (statement: MemoryStatement, isInsertion: boolean, values: Row): StatementResult<E> => {
      if (isInsertion) refuseDuplicates(table, uniques, values);
      return statement.run(table, values) as StatementResult<E>;
    };
    return {
      insertion,
      prepare<Name extends string>(texts: Readonly<Record<Name, string>>) {
        const entries = Object.entries<string>(texts).map(([name, text]) => {
          const statement = parseStatement(text, properties);
          return [name, async (values: Row) => run(statement, text === insertion, values)];
        });
        return Object.fromEntries(entries) as ReturnType<EntityStatements<E>['prepare']>;
      },
    };
  }
}

function propertiesOf(entity: EntityClass<unknown>): string[] {
  const columns = getMetadataArgsStorage().columns.filter(({ target }) => target === entity);
  return columns.map(({ propertyName }) => propertyName);
}

/** The properties that no two rows have in common: of the primary key, and of unique indexes. */
function uniquesOf(entity: EntityClass<unknown>): string[][] {
  const { columns, indices } = getMetadataArgsStorage();
  const primary = columns.filter(({ target, options }) => target === entity && options.primary);
  const unique = indices.filter((index) => index.target === entity && index.unique);
  return [
    primary.map(({ propertyName }) => propertyName),
    ...unique.map(({ columns: of }) => of as string[]),
  ];
}

function refuseDuplicates(table: readonly Row[], uniques: readonly string[][], values: Row): void {
  for (const names of uniques) {
    if (!table.some((row) => names.every((name) => row[name] === values[name]))) continue;
    // The stores know the codes of the databases.
    throw Object.assign(new Error('There is such a row already.'), { code: 'SQLITE_CONSTRAINT_UNIQUE' });
  }
}
