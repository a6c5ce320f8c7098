import { setTimeout as delay } from 'node:timers/promises';
import type { Latencies } from './latencies.js';
import { removeExpired } from './removal.js';
import { type Found, type Growth, NAMES, say, type Station } from './station.js';

/** Sessions that are refreshed meanwhile, so many at a time. */
const REFRESHED = 2_000;
const AT_ONCE = 4;

/** Refreshes without and beside a clean-up of a whole table. */
export async function cleanUp(growth: Growth, expired: Station): Promise<Found> {
  const refresher = await expired.start();
  await refresher.call('create', REFRESHED);
  const beside = async <T>(meanwhile: () => Promise<T>): Promise<{ each: Latencies; result: T }> => {
    await refresher.call('startRefreshing', AT_ONCE);
    const result = await meanwhile();
    return { result, each: await refresher.call<Latencies>('stopRefreshing') };
  };
  await beside(() => delay(2_000));
  growth.progress('refreshes without a clean-up');
  const alone = await beside(() => delay(growth.isQuick ? 3_000 : 20_000));
  growth.progress(`clean-up of ${say(expired.rows)} expired sessions`);
  const { result, each } = await beside(() => removeExpired(growth, expired, expired.rows));
  const { count, seconds, isComplete } = result;
  await refresher.stop();
  const ratio = each.p99 / alone.each.p99;
  return {
    tables: [
      {
        name: `growth-clean-up-${growth.kind}`,
        title: `Clean-up of ${say(expired.rows)} expired sessions, ${NAMES[growth.kind]}`,
        text: `${say(count)} rows in ${seconds.toFixed(1)} s: ${say(Math.round(count / seconds))} a second, in batches of 1,000${isComplete ? '' : '; it was not finished then, and was stopped'}. Beside it, another process refreshes ${AT_ONCE} sessions at a time, with a pause of 5 ms after each.`,
        columns: [
          { key: 'refreshes', label: 'refreshes' },
          { key: 'p50', label: 'ms, p50' },
          { key: 'p99', label: 'ms, p99' },
          { key: 'max', label: 'ms, longest' },
        ],
        rows: [
          { name: 'refresh without a clean-up', values: valuesOf(alone.each) },
          { name: 'refresh beside the clean-up', values: valuesOf(each) },
        ],
      },
    ],
    summary: {
      [`clean-up of ${say(expired.rows)} expired sessions, s`]: isComplete
        ? seconds
        : `more than ${Math.round(seconds)}`,
      'p99 of refresh beside the clean-up / without it': ratio.toFixed(2),
    },
  };
}

function valuesOf({ count, p50, p99, max }: Latencies) {
  return { refreshes: count, p50, p99, max };
}
