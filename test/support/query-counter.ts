import type { Logger } from 'typeorm';

/** Sees every statement that goes to the database driver. */
export class QueryCounter implements Logger {
  readonly queries: string[] = [];

  /** How many statements there were since the last time somebody asked. */
  take(): number {
    return this.queries.splice(0).length;
  }

  logQuery(query: string): void {
    this.queries.push(query);
  }

  logQueryError(): void {}
  logQuerySlow(): void {}
  logSchemaBuild(): void {}
  logMigration(): void {}
  log(): void {}
}
