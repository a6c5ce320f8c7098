import { vi } from 'vitest';
import { DatabaseClock } from '../../lib/storage/database-clock.js';

/**
 * Where a test sets the time, the database's clock and the machine's steady one have that time too, unless the test says that
 * they go by themselves.
 */
export const databaseClock = { goesByItself: false };

interface Reader {
  read(query: (sql: string) => Promise<unknown>, sql: string): Promise<number>;
  tick(): number;
}
const reader = DatabaseClock.prototype as unknown as Reader;
// eslint-disable-next-line typescript/unbound-method -- called with its object below
const { read, tick } = reader;
const isSet = () => vi.isFakeTimers() && !databaseClock.goesByItself;

reader.read = function (this: Reader, query, sql) {
  return isSet() ? Promise.resolve(Date.now()) : read.call(this, query, sql);
};

reader.tick = function (this: Reader) {
  return isSet() ? Date.now() : tick.call(this);
};
