/**
 * Understands the statements of the stores, as `Statements` explains them, and runs them on rows in memory. So the rows change
 * by exactly the conditions that a database would check.
 */

export type Row = Record<string, unknown>;
type Values = Readonly<Record<string, unknown>>;
/** The value of an expression for a row. A condition that is not met may also be null, as in SQL. */
type Expression = (row: Row, values: Values) => unknown;

/** What a statement does to a table. */
export interface MemoryStatement {
  run(table: Row[], values: Values): { rows: Row[]; affected: number };
}

/** A placeholder of `Statements`, a value, a number, a text, a word, or a sign. */
const LEXEME = /\{[^}]*\}|:\w+(?:\.\.\.)?|\d+|'[^']*'|\w+|<=|>=|[=<>+*(),-]/g;

const COMPARISONS: Readonly<Record<string, (a: never, b: never) => boolean>> = {
  '=': (a, b) => a === b,
  '<': (a, b) => a < b,
  '>': (a, b) => a > b,
  '<=': (a, b) => a <= b,
  '>=': (a, b) => a >= b,
};

const SUMS: Readonly<Record<string, (a: number, b: number) => number>> = {
  '+': (a, b) => a + b,
  '-': (a, b) => a - b,
};

const multiply = (a: number, b: number) => a * b;

const FUNCTIONS: Readonly<Record<string, (...values: never[]) => unknown>> = {
  ABS: (value: number) => Math.abs(value),
  COALESCE: (...values: unknown[]) => values.find((value) => value !== null) ?? null,
  LEAST: (...values: number[]) => Math.min(...values),
};

/** @param properties of the entity, for `{*}` */
export function parseStatement(text: string, properties: readonly string[]): MemoryStatement {
  return new Parser(text, properties).statement();
}

class Parser {
  private readonly lexemes: string[];
  private at = 0;

  constructor(
    private readonly text: string,
    private readonly properties: readonly string[],
  ) {
    this.lexemes = text.match(LEXEME) ?? [];
    if (text.replace(LEXEME, '').trim() !== '') this.fail();
  }

  statement(): MemoryStatement {
    const verb = this.next();
    const statement =
      verb === 'SELECT'
        ? this.select()
        : verb === 'UPDATE'
          ? this.update()
          : verb === 'DELETE'
            ? this.remove()
            : verb === 'INSERT'
              ? this.insert()
              : this.fail();
    if (this.at < this.lexemes.length) this.fail();
    return statement;
  }

  private select(): MemoryStatement {
    const columns = this.columns();
    this.expect('FROM', '{}');
    const where = this.where();
    const order = this.skip('ORDER', 'BY') ? this.property() : undefined;
    const direction = order !== undefined && this.skip('DESC') ? -1 : 1;
    const limit = this.skip('LIMIT') ? this.primary() : undefined;
    return {
      run(table, values) {
        const found = table.filter((row) => where(row, values));
        const compare = (a: Row, b: Row) =>
          COMPARISONS['<']!(a[order!] as never, b[order!] as never) ? -1 : 1;
        const sorted = order === undefined ? found : found.toSorted((a, b) => direction * compare(a, b));
        const rows = sorted.slice(0, limit?.({}, values) as number | undefined);
        return { rows: rows.map((row) => pick(row, columns)), affected: 0 };
      },
    };
  }

  private update(): MemoryStatement {
    this.expect('{}', 'SET');
    const changes: [property: string, value: Expression][] = [];
    do {
      const property = this.property();
      this.expect('=');
      changes.push([property, this.sum()]);
    } while (this.skip(','));
    const where = this.where();
    const returned = this.skip('RETURNING') ? this.columns() : undefined;
    return {
      run(table, values) {
        const changed = table.filter((row) => where(row, values));
        for (const row of changed) {
          // All values are computed before one is changed.
          Object.assign(row, Object.fromEntries(changes.map(([name, value]) => [name, value(row, values)])));
        }
        const rows = returned ? changed.map((row) => pick(row, returned)) : [];
        return { rows, affected: changed.length };
      },
    };
  }

  private remove(): MemoryStatement {
    this.expect('FROM', '{}');
    const where = this.where();
    return {
      run(table, values) {
        const kept = table.filter((row) => !where(row, values));
        const affected = table.length - kept.length;
        table.splice(0, table.length, ...kept);
        return { rows: [], affected };
      },
    };
  }

  private insert(): MemoryStatement {
    this.expect('INTO', '{}', '(');
    const names = this.list(() => this.property());
    this.expect('VALUES', '(');
    const values = this.list(() => this.primary());
    return {
      run(table, given) {
        table.push(Object.fromEntries(names.map((name, n) => [name, values[n]!({}, given)])));
        return { rows: [], affected: 1 };
      },
    };
  }

  private where(): Expression {
    return this.skip('WHERE') ? this.condition() : () => true;
  }

  private condition(): Expression {
    const all = [this.conjunction()];
    while (this.skip('OR')) all.push(this.conjunction());
    return all.length === 1 ? all[0]! : (row, values) => all.some((each) => each(row, values));
  }

  private conjunction(): Expression {
    const all = [this.comparison()];
    while (this.skip('AND')) all.push(this.comparison());
    return all.length === 1 ? all[0]! : (row, values) => all.every((each) => each(row, values));
  }

  private comparison(): Expression {
    const left = this.sum();
    if (this.skip('IS', 'NULL')) return (row, values) => left(row, values) === null;
    if (this.skip('IN', '(')) {
      const list = this.primary();
      this.expect(')');
      return (row, values) => (list(row, values) as unknown[]).includes(left(row, values));
    }
    const compare = COMPARISONS[this.peek()];
    if (!compare) return left;
    this.at++;
    const right = this.sum();
    return (row, values) => orNull(compare, [left(row, values), right(row, values)]);
  }

  private sum(): Expression {
    let left = this.product();
    for (let add = SUMS[this.peek()]; add; add = SUMS[this.peek()]) {
      this.at++;
      const [first, then, second] = [left, add, this.product()];
      left = (row, values) => orNull(then, [first(row, values), second(row, values)]);
    }
    return left;
  }

  private product(): Expression {
    let left = this.primary();
    while (this.skip('*')) {
      const [first, second] = [left, this.primary()];
      left = (row, values) => orNull(multiply, [first(row, values), second(row, values)]);
    }
    return left;
  }

  private primary(): Expression {
    const lexeme = this.next();
    if (lexeme === '(') {
      const inner = this.condition();
      this.expect(')');
      return inner;
    }
    if (lexeme === 'CASE') return this.choice();
    if (lexeme === 'NULL') return () => null;
    if (lexeme.startsWith("'")) return () => lexeme.slice(1, -1);
    if (lexeme.startsWith('{')) return this.column(lexeme);
    if (lexeme.startsWith(':')) return this.value(/\w+/.exec(lexeme)![0]);
    if (/^\d/.test(lexeme)) return () => Number(lexeme);
    const call = FUNCTIONS[lexeme];
    if (!call || !this.skip('(')) return this.fail();
    const parameters = this.list(() => this.sum());
    return (row, values) => {
      const all = parameters.map((each) => each(row, values));
      return lexeme === 'COALESCE' ? call(...(all as never[])) : orNull(call, all);
    };
  }

  private choice(): Expression {
    const cases: [condition: Expression, value: Expression][] = [];
    while (this.skip('WHEN')) {
      const condition = this.condition();
      this.expect('THEN');
      cases.push([condition, this.sum()]);
    }
    this.expect('ELSE');
    const otherwise = this.sum();
    this.expect('END');
    return (row, values) => {
      const [, value] = cases.find(([condition]) => condition(row, values)) ?? [undefined, otherwise];
      return value(row, values);
    };
  }

  private column(lexeme: string): Expression {
    const property = this.known(lexeme.slice(1, -1));
    return (row) => row[property];
  }

  private value(name: string): Expression {
    return (_row, values) => {
      const value = values[name];
      if (value === undefined) throw new Error(`The statement "${this.text}" lacks a value for ":${name}".`);
      return value;
    };
  }

  /** `{*}`, or `{* of one, two}`. */
  private columns(): readonly string[] {
    const lexeme = this.next();
    if (!lexeme.startsWith('{*')) return this.fail();
    if (lexeme === '{*}') return this.properties;
    const names = lexeme.slice('{* of '.length, -1).split(', ');
    return names.map((name) => this.known(name));
  }

  private property(): string {
    return this.known(this.next().slice(1, -1));
  }

  private known(property: string): string {
    return this.properties.includes(property) ? property : this.fail();
  }

  /** What is between parentheses; the first of them has been read. */
  private list<T>(read: () => T): T[] {
    const all = [read()];
    while (this.skip(',')) all.push(read());
    this.expect(')');
    return all;
  }

  private peek(): string {
    return this.lexemes[this.at] ?? '';
  }

  private next(): string {
    return this.lexemes[this.at++] ?? this.fail();
  }

  /** Reads these lexemes, if they come next. */
  private skip(...lexemes: string[]): boolean {
    if (!lexemes.every((lexeme, n) => this.lexemes[this.at + n] === lexeme)) return false;
    this.at += lexemes.length;
    return true;
  }

  private expect(...lexemes: string[]): void {
    if (!this.skip(...lexemes)) this.fail();
  }

  private fail(): never {
    const rest = this.lexemes.slice(Math.max(0, this.at - 1)).join(' ');
    throw new Error(`The rows in memory do not understand a statement at "${rest}": ${this.text}`);
  }
}

/** In SQL, what is computed from NULL is NULL. */
function orNull(compute: (...values: never[]) => unknown, values: unknown[]): unknown {
  return values.includes(null) ? null : compute(...(values as never[]));
}

function pick(row: Row, names: readonly string[]): Row {
  return Object.fromEntries(names.map((name) => [name, row[name]]));
}
