import type { Row } from '../questions/question.js';
import { HOT_USER, userIdOf } from './fill.js';
import type { Latencies } from './latencies.js';
import { type Found, type Growth, NAMES, say, type Station } from './station.js';

const PAGE = 50;
/** The most that a page has, where the library has pages. */
const LONGEST_PAGE = 1_000;
/** Users whose sessions are listed, each once. */
const USERS = 200;

interface Listed {
  readonly each: Latencies;
  readonly length: number;
}

/** Lists: of usual users in both tables, and of one with a hundredth of all sessions, who then signs out everywhere. */
export async function user(growth: Growth, small: Station, large: Station): Promise<Found> {
  growth.progress('a user with many sessions');
  const rows: Row[] = [];
  const add = (name: string, { each: { p50, p99 }, length }: Listed) =>
    rows.push({ name, values: { length, p50, p99 } });
  const usual: Listed[] = [];
  for (const station of [small, large]) {
    const process = await station.start();
    const userIds = Array.from({ length: USERS }, (_, n) => userIdOf(n * 7 + 1));
    await process.call('list', { userIds: userIds.slice(0, 20) });
    const listed = await process.call<Listed>('list', { userIds });
    usual.push(listed);
    add(`all of a usual user, ${say(station.rows)} sessions`, listed);
    await process.stop();
  }
  const process = await large.start();
  const first = await process.call<Listed>('list', {
    userIds: Array(20).fill(HOT_USER),
    limit: PAGE,
    isFirstPage: true,
  });
  const isPaged = first.length === PAGE;
  if (isPaged) add(`first page of ${PAGE}, of the user with many`, first);
  const whole = await process.call<Listed>('list', { userIds: Array(3).fill(HOT_USER), limit: LONGEST_PAGE });
  add(isPaged ? `all pages of ${LONGEST_PAGE}, of the user with many` : 'all, of the user with many', whole);
  const { seconds, count } = await process.call<{ seconds: number; count: number }>('revokeUser', HOT_USER);
  await process.stop();
  rows.push({
    name: 'sign out everywhere, of the user with many',
    values: { length: count, p50: seconds * 1e3 },
  });
  return {
    tables: [
      {
        name: `growth-user-${growth.kind}`,
        title: `Lists, and a user with many sessions, ${NAMES[growth.kind]}`,
        text: `One call at a time. In the large table, one user has one session in a hundred.${isPaged ? '' : ' This version of the library lists all sessions at once.'}`,
        columns: [
          { key: 'length', label: 'sessions' },
          { key: 'p50', label: 'ms, p50' },
          { key: 'p99', label: 'ms, p99' },
        ],
        rows,
      },
    ],
    summary: {
      [`list of a usual user: time in ${say(large.rows)} / in ${say(small.rows)}`]: (
        usual[1]!.each.p50 / usual[0]!.each.p50
      ).toFixed(2),
      ...(isPaged && { [`first page of a user with ${say(whole.length)} sessions, ms`]: first.each.p50 }),
      [`list of ${say(whole.length)} sessions${isPaged ? `, by pages of ${LONGEST_PAGE}` : ''}, ms`]:
        whole.each.p50,
      [`sign out ${say(count)} sessions of a user, s`]: seconds,
    },
  };
}
