import type { DataSource, EntityMetadata, EntityTarget, ObjectLiteral } from 'typeorm';
import { PreparedStatement } from './prepared-statement.js';

/** A statement's result: its rows by property names, and how many rows it changed. */
export interface StatementResult<E> {
  readonly rows: E[];
  readonly affected: number;
}

type Values = Readonly<Record<string, unknown>>;

/**
 * Statements on the table of one entity whose text is made once. TypeORM's query builder makes it anew each time, which
 * costs several times what the database driver does; everything else (connections, transactions, logging, errors) stays
 * TypeORM's.
 *
 * In the text, `{}` is the table, `{property}` the column of a property, `:name` a value; `{* of one, two}` are the columns of
 * some properties under the properties' names, for what a statement returns, and `{*}` are all of them.
 */
export class Statements<E extends ObjectLiteral> {
  private readonly metadata: EntityMetadata;
  private readonly transformers: { readonly property: string; readonly from: (value: unknown) => unknown }[];

  constructor(
    private readonly dataSource: DataSource,
    entity: EntityTarget<E>,
  ) {
    this.metadata = dataSource.getMetadata(entity);
    this.transformers = this.metadata.columns.flatMap(({ propertyName: property, transformer }) =>
      transformer && !Array.isArray(transformer)
        ? { property, from: (value) => transformer.from(value) as unknown }
        : [],
    );
  }

  /** An `INSERT` of a whole entity. */
  get insertion(): string {
    const columns = this.properties.map((name) => `{${name}}`).join(', ');
    return `INSERT INTO {} (${columns}) VALUES (${this.properties.map((name) => `:${name}`).join(', ')})`;
  }

  /** @returns a function that runs the statement */
  prepare(text: string): (values: Values) => Promise<StatementResult<E>> {
    const { driver } = this.dataSource;
    const names: string[] = [];
    const escape = (name: string) => driver.escape(name);
    // Where parameters have numbers, a value that occurs twice is sent once.
    const isNumbered = driver.createParameter('', 0) !== driver.createParameter('', 1);
    const indexOf = (name: string) => {
      const known = isNumbered ? names.indexOf(name) : -1;
      return known >= 0 ? known : names.push(name) - 1;
    };
    let returned: readonly string[] = [];
    const sql = text.replace(/\{([^}]*)\}|:(\w+)/g, (_, what: string | undefined, name: string) => {
      if (what === undefined) return driver.createParameter(name, indexOf(name));
      if (what === '') return this.metadata.tablePath.split('.').map(escape).join('.');
      if (!what.startsWith('*')) return this.column(what);
      returned = what === '*' ? this.properties : what.replace('* of ', '').split(', ');
      return returned.map((property) => `${this.column(property)} AS ${escape(property)}`).join(', ');
    });
    const statement = new PreparedStatement(this.dataSource, sql);
    const transformers = this.transformers.filter(({ property }) => returned.includes(property));
    return async (values) => {
      const { rows, rowCount } = await statement.run(names.map((name) => values[name]));
      for (const row of rows as Record<string, unknown>[]) {
        // Drivers give big integers as text.
        for (const { property, from } of transformers) row[property] = from(row[property]);
      }
      return { rows: rows as E[], affected: rowCount ?? rows.length };
    };
  }

  private get properties(): string[] {
    return this.metadata.columns.map(({ propertyName }) => propertyName);
  }

  private column(property: string): string {
    const column = this.metadata.findColumnWithPropertyName(property);
    if (!column) throw new Error(`The entity ${this.metadata.name} has no property "${property}".`);
    return this.dataSource.driver.escape(column.databaseName);
  }
}
