import type { DataSource, EntityMetadata, EntityTarget, ObjectLiteral } from 'typeorm';
import { statements, timeStatement } from '../diagnostics/channels.js';
import { PreparedStatement } from './prepared-statement.js';
import { isSqlite } from './sqlite-locking.js';
import { StatementWatch } from './statement-watch.js';

/** A statement's result: its rows with property names, and the number of changed rows. */
export interface StatementResult<E> {
  readonly rows: E[];
  readonly affected: number;
}

export interface StatementSettings {
  /** Name of the module, for those who measure statements. */
  readonly module?: string;
  /** Shared by all tables of a module: they are in one database. */
  readonly watch?: StatementWatch;
}

type Values = Readonly<Record<string, unknown>>;

/** Runs a statement with a value for each of its placeholders. */
type Run<E> = (values: Values) => Promise<StatementResult<E>>;

/** Statements on the table of one entity, as the stores use them. {@link Statements} explains the texts. */
export interface EntityStatements<E> {
  /** An `INSERT` of a whole entity. */
  readonly insertion: string;
  /** @returns functions that run the statements, under the same names */
  prepare<Name extends string>(texts: Readonly<Record<Name, string>>): Readonly<Record<Name, Run<E>>>;
}

/** The placeholder of a list: `:name...`. A statement may have one. */
const LIST = /:(\w+)\.\.\./;

/**
 * Statements on the table of one entity. Their SQL text is made once. TypeORM's query builder would make it for each call,
 * which costs several times as much as the database driver. TypeORM still does everything else: connections, transactions,
 * logging, errors.
 *
 * Placeholders in the text:
 *
 * - `{}`: the table
 * - `{property}`: the column of a property
 * - `{* of one, two}`: the columns of these properties, returned under the names of the properties
 * - `{*}`: the columns of all properties
 * - `:name`: a value
 * - `:name...`: the values of a list
 * - `LEAST(`: the function of this name; SQLite calls it `MIN`
 */
export class Statements<E extends ObjectLiteral> implements EntityStatements<E> {
  private readonly metadata: EntityMetadata;
  private readonly transformers: { readonly property: string; readonly from: (value: unknown) => unknown }[];

  private readonly module: string;
  private readonly watch: StatementWatch;

  constructor(
    private readonly dataSource: DataSource,
    entity: EntityTarget<E>,
    { module = '', watch = new StatementWatch() }: StatementSettings = {},
  ) {
    this.module = module;
    this.watch = watch;
    this.metadata = dataSource.getMetadata(entity);
    this.transformers = this.metadata.columns.flatMap(({ propertyName: property, transformer }) =>
      transformer && !Array.isArray(transformer)
        ? { property, from: (value) => transformer.from(value) as unknown }
        : [],
    );
  }

  get insertion(): string {
    const columns = this.properties.map((name) => `{${name}}`).join(', ');
    return `INSERT INTO {} (${columns}) VALUES (${this.properties.map((name) => `:${name}`).join(', ')})`;
  }

  prepare<Name extends string>(texts: Readonly<Record<Name, string>>): Readonly<Record<Name, Run<E>>> {
    const entries = Object.entries<string>(texts).map(([name, text]) => {
      const list = LIST.exec(text)?.[1];
      return [name, list === undefined ? this.prepareOne(name, text) : this.prepareEach(name, text, list)];
    });
    return Object.fromEntries(entries) as Record<Name, Run<E>>;
  }

  private prepareOne(statementName: string, text: string): Run<E> {
    const { driver } = this.dataSource;
    const names: string[] = [];
    const known = new Map<string, number>();
    const escape = (name: string) => driver.escape(name);
    // If the driver numbers its parameters, a value that occurs twice is sent once.
    const isNumbered = driver.createParameter('', 0) !== driver.createParameter('', 1);
    const indexOf = (name: string) => {
      let index = isNumbered ? known.get(name) : undefined;
      if (index === undefined) known.set(name, (index = names.push(name) - 1));
      return index;
    };
    let returned: readonly string[] = [];
    const sql = (isSqlite(this.dataSource.options) ? text.replaceAll('LEAST(', 'MIN(') : text).replace(
      /\{([^}]*)\}|:(\w+)/g,
      (_, what: string | undefined, name: string) => {
        if (what === undefined) return driver.createParameter(name, indexOf(name));
        if (what === '') return this.metadata.tablePath.split('.').map(escape).join('.');
        if (!what.startsWith('*')) return this.column(what);
        returned = what === '*' ? this.properties : what.replace('* of ', '').split(', ');
        return returned.map((property) => `${this.column(property)} AS ${escape(property)}`).join(', ');
      },
    );
    const statement = new PreparedStatement(this.dataSource, sql);
    const transformers = this.transformers.filter(({ property }) => returned.includes(property));
    const valueOf = (values: Values, name: string) => {
      const value = values[name];
      // Drivers would write NULL for `undefined`.
      if (value === undefined)
        throw new Error(`The statement "${statementName}" lacks a value for ":${name}".`);
      return value;
    };
    const label = { statement: statementName, module: this.module };
    const watched = {
      name: `${this.metadata.name}.${statementName}`,
      scope: `${text.slice(0, text.indexOf(' '))} ${this.metadata.name}`,
    };
    return async (values) => {
      const run = async () => statement.run(names.map((name) => valueOf(values, name)));
      const { rows, rowCount } = await this.watch.run(
        watched,
        statements.hasSubscribers ? async () => timeStatement(label, run) : run,
      );
      for (const row of rows as Record<string, unknown>[]) {
        // Drivers give big integers as text. Some settings of the application make them give small integers as text, too.
        for (const { property, from } of transformers) row[property] = from(row[property]);
      }
      return { rows: rows as E[], affected: rowCount ?? rows.length };
    };
  }

  /**
   * A statement with a list needs one SQL text for each length. The length is rounded up to a power of two, by repeating the
   * last value. So connections keep only few prepared statements.
   */
  private prepareEach(statementName: string, text: string, list: string): Run<E> {
    const namesOf = (length: number) => Array.from({ length }, (_, n) => `${list}_${n}`);
    const prepare = (length: number) => {
      const placeholders = namesOf(length).map((name) => `:${name}`);
      return this.prepareOne(statementName, text.replace(LIST, placeholders.join(', ')));
    };
    const byLength = new Map([[1, prepare(1)]]);
    return async (values) => {
      const given = (values[list] ?? []) as readonly unknown[];
      let length = 1;
      while (length < given.length) length *= 2;
      const run = byLength.get(length) ?? prepare(length);
      byLength.set(length, run);
      // An empty list gives no value, which the statement refuses.
      const each = namesOf(length).map((name, n) => [name, given[Math.min(n, given.length - 1)]]);
      return run({ ...values, ...(Object.fromEntries(each) as Values) });
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
