import type { Logger } from 'typeorm';
import { searchParameter } from './log-search.js';

/** Records every statement that one connection sends to the database driver. */
export class QueryLog implements Logger {
  private readonly queries: string[] = [];

  /** The statements since the last call that contain this text or match this pattern. */
  take(pattern: string | RegExp = ''): string[] {
    return this.queries.splice(0).filter((query) => query.search(pattern) >= 0);
  }

  logQuery(query: string, parameters: readonly unknown[] = []): void {
    this.queries.push(query);
    parameters.forEach(searchParameter);
  }

  logQueryError(): void {}
  logQuerySlow(): void {}
  logSchemaBuild(): void {}
  logMigration(): void {}
  log(): void {}
}
