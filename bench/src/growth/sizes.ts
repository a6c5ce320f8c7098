import type { GrowthSizes } from '../questions/question.js';
import { FULL_GROWTH } from '../run/workbench.js';

const QUICK_ROWS = 100_000;

/** The smallest large table: the small one that it is compared with has 10,000 rows. */
const LEAST_ROWS = 20_000;

/** What the command line says of the question `growth`. */
export function readGrowthSizes(values: Readonly<Record<string, unknown>>): GrowthSizes {
  const rows = Number(values['rows'] ?? (values['quick'] === true ? QUICK_ROWS : FULL_GROWTH.rows));
  if (!Number.isInteger(rows) || rows < LEAST_ROWS)
    throw new Error(`--rows must be a whole number, ${LEAST_ROWS} or more.`);
  const named = (values['databases'] as string | undefined)?.split(',');
  const unknown = named?.find((name) => name !== 'postgres' && name !== 'mysql');
  if (unknown !== undefined) throw new Error(`--databases are postgres and mysql, not "${unknown}".`);
  return { rows, databases: FULL_GROWTH.databases.filter((kind) => named?.includes(kind) ?? true) };
}
