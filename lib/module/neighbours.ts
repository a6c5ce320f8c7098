import type { ApplicationConfig } from '@nestjs/core';
import { InvalidOptionError } from '../errors/session.errors.js';
import type { ResolvedOptions } from '../options/resolved-options.js';
import { isRowKeeper, type Rows } from '../storage/row-keeper.js';
import { tablesOf } from '../storage/session-data-source.js';

/** The settings by which two modules of one application may conflict. */
interface Neighbour {
  readonly tables: unknown;
  readonly cookies: readonly string[];
  readonly refreshPath: string | undefined;
}

/** The modules of each application. */
const neighbours = new WeakMap<ApplicationConfig, Neighbour[]>();

/**
 * Checks that two modules of an application share both tables and cookies, or neither. If they shared only the tables, a
 * session of one would be accepted by the guard of the other. If they shared only cookies, one would clear the other's
 * cookies.
 *
 * @throws {@link InvalidOptionError}
 */
export function meetNeighbours(
  application: ApplicationConfig,
  rows: Rows,
  { cookies, refreshPath }: ResolvedOptions,
): void {
  const names = [cookies.accessName, cookies.refreshName, cookies.lookAgainName, cookies.indicatorName];
  const own: Neighbour = {
    tables: isRowKeeper(rows) ? rows : tablesOf(rows),
    cookies: names.filter((name) => name !== undefined),
    refreshPath,
  };
  const others = neighbours.get(application) ?? [];
  for (const other of others) {
    const shared = own.cookies.find((name) => other.cookies.includes(name));
    const isSame = own.tables === other.tables;
    if (isSame && shared === undefined) {
      throw new InvalidOptionError(
        'database',
        'another SessionModule of this application has the same tables, but other cookies. Sessions of one would open the guard of the other. Give each a database or an "entityPrefix" of its own.',
      );
    }
    if (!isSame && shared !== undefined) {
      throw new InvalidOptionError(
        'cookies',
        `another SessionModule of this application has a cookie "${shared}", too, but other tables. Give each module cookies of other names.`,
      );
    }
    if (!isSame && refreshPath !== undefined && refreshPath === other.refreshPath) {
      throw new InvalidOptionError(
        'refreshPath',
        `another SessionModule of this application has a route at "${refreshPath}". Give each another path.`,
      );
    }
  }
  neighbours.set(application, [...others, own]);
}
