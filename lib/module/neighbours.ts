import type { ApplicationConfig } from '@nestjs/core';
import { InvalidOptionError } from '../errors/session.errors.js';
import type { ResolvedOptions } from '../options/resolved-options.js';
import { isRowKeeper, type Rows } from '../storage/row-keeper.js';
import { tablesOf } from '../storage/session-data-source.js';

/** The settings by which two modules of one application may conflict. */
interface Neighbour {
  readonly tables: unknown;
  /** Cookies and headers in which it looks for its tokens. */
  readonly places: readonly Place[];
  readonly refreshPath: string | undefined;
}

interface Place {
  readonly option: 'cookies' | 'headers.refresh';
  readonly text: string;
}

/** The modules of each application. */
const neighbours = new WeakMap<ApplicationConfig, Neighbour[]>();

/**
 * Checks that two modules of an application share both tables and cookies or headers, or neither. If they shared only the
 * tables, a session of one would be accepted by the guard of the other. If they shared only cookies, one would clear the other's
 * cookies. If they shared only the header of the refresh token, one would tell clients of the other that they are signed out.
 * All modules share `Authorization`: each takes a token of another one for one of its own that is no longer good.
 *
 * @throws {@link InvalidOptionError}
 */
export function meetNeighbours(application: ApplicationConfig, rows: Rows, options: ResolvedOptions): void {
  const { refreshPath } = options;
  const tables = isRowKeeper(rows) ? rows : tablesOf(rows);
  const own: Neighbour = { tables, places: placesOf(options), refreshPath };
  const others = neighbours.get(application) ?? [];
  for (const other of others) {
    const shared = own.places.find(({ text }) => other.places.some((each) => each.text === text));
    const isSame = own.tables === other.tables;
    if (isSame && shared === undefined) {
      throw new InvalidOptionError(
        'database',
        'another SessionModule of this application has the same tables, but other cookies and headers. Sessions of one would open the guard of the other. Give each a database or an "entityPrefix" of its own.',
      );
    }
    if (!isSame && shared !== undefined) {
      throw new InvalidOptionError(
        shared.option,
        `another SessionModule of this application has a ${shared.text}, too, but other tables. Give each module other names.`,
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

function placesOf({ transport, cookies, headers }: ResolvedOptions): Place[] {
  const { accessName, refreshName, lookAgainName, indicatorName } = cookies;
  const inCookies = transport === 'header' ? [] : [accessName, refreshName, lookAgainName, indicatorName];
  const places = inCookies
    .filter((name) => name !== undefined)
    .map((name): Place => ({ option: 'cookies', text: `cookie "${name}"` }));
  const inHeader: Place = { option: 'headers.refresh', text: `header "${headers.refresh}"` };
  return transport === 'cookie' ? places : [...places, inHeader];
}
