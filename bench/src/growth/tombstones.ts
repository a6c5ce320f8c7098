import { setTimeout as delay } from 'node:timers/promises';
import type { Row } from '../questions/question.js';
import { fill, tidy } from './fill.js';
import { latencies } from './latencies.js';
import { removeExpired } from './removal.js';
import { type Found, type Growth, NAMES, say, type Station } from './station.js';

const HOUR = 3_600_000;

/** Half as many revoked sessions as there are live ones: of a day without clean-up, and of ten minutes. */
export async function tombstones(growth: Growth, large: Station): Promise<Found> {
  const { sql } = large;
  const count = large.rows / 2;
  const rows: Row[] = [];
  const summary: Record<string, string | number> = {};

  const within = async (name: string, revokedWithin: number) => {
    growth.progress(`${say(count)} tombstones of ${name}`);
    await fill(sql, { rows: count, state: { revokedWithin }, progress: growth.progress });
    // A new one each time: it lives for 15 minutes.
    const issuer = await large.start();
    await issuer.call('create', 1);
    const [token] = await issuer.call<{ accessToken: string }[]>('accessTokens');
    await issuer.stop();
    const reader = await large.start();
    try {
      const before = await reader.collectGarbage();
      const first = await reader.call<number>('verify', token!.accessToken);
      const { heapUsed } = await reader.collectGarbage();
      const next: number[] = [];
      for (let n = 0; n < 5; n++) {
        await delay(1_100);
        next.push((await reader.call<number>('verify', token!.accessToken)) * 1e3);
      }
      const later = latencies(next).p50;
      rows.push({
        name: `of ${name}`,
        values: { first: first * 1e3, later, heap: heapUsed - before.heapUsed },
      });
      summary[`${say(count)} tombstones of ${name}: first read of the feed, s`] = first;
      summary[`${say(count)} tombstones of ${name}: a later read, ms`] = later;
      await reader.stop();
    } catch (error) {
      // Nothing says that a process must be able to keep that many.
      growth.progress(`the reading process failed: ${(error as Error).message.slice(0, 300)}`);
      rows.push({ name: `of ${name}`, values: { failed: 'the process ended' } });
      summary[`${say(count)} tombstones of ${name}: first read of the feed, s`] = 'the process ended';
    }
  };

  await within('a day', 24 * HOUR);
  growth.progress('clean-up of tombstones');
  const { seconds, count: removed, isComplete } = await removeExpired(growth, large, count);
  rows.push({ name: `clean-up of ${say(removed)} of them`, values: { first: seconds * 1e3 } });
  summary[`clean-up of ${say(count)} tombstones of a day, s`] = isComplete
    ? seconds
    : `more than ${Math.round(seconds)}`;
  await tidy(sql);
  await within('the last ten minutes', HOUR / 6);
  return {
    tables: [
      {
        name: `growth-tombstones-${growth.kind}`,
        title: `${say(count)} tombstones, ${NAMES[growth.kind]}`,
        text: `Rows of revoked sessions, beside ${say(large.rows)} live ones. A new process reads, with its first request, the revocations since the oldest access token that may still live (19 minutes at most); then once a second what is new. Those of the last ten minutes are all among them.`,
        columns: [
          { key: 'first', label: 'ms' },
          { key: 'later', label: 'a later read, ms' },
          { key: 'heap', label: 'more heap', format: 'bytes' },
          { key: 'failed', label: '' },
        ],
        rows,
      },
    ],
    summary,
  };
}
