import { vi } from 'vitest';
import { DatabaseClock } from '../../lib/storage/database-clock.js';

/** Where a test sets the time, the database's clock has that time too, unless the test says that it goes by itself. */
export const databaseClock = { goesByItself: false };

interface Reader {
  read(query: (sql: string) => Promise<unknown>, sql: string): Promise<number>;
}
const reader = DatabaseClock.prototype as unknown as Reader;
// eslint-disable-next-line typescript/unbound-method -- called with its object below
const { read } = reader;

reader.read = function (this: Reader, query, sql) {
  const isSet = vi.isFakeTimers() && !databaseClock.goesByItself;
  return isSet ? Promise.resolve(Date.now()) : read.call(this, query, sql);
};
