import { moveOn, signIn, type Tab, until, untilTrue, visits } from './people.js';
import type { Site } from './site.js';

/** How many connections to a host browsers open over HTTP/1.1. */
const CONNECTIONS = 6;

export interface LateStory {
  readonly userId: string;
  /** Where the site is. @default its own URL */
  readonly url?: string;
  /** How many requests the page sends at once. @default 40 */
  readonly count?: number;
  /** What `fetch` is given for each, as an expression of the page with its number `i`. @default nothing */
  readonly init?: string;
  /** What happens while requests are under way, before the second tab moves on. */
  readonly meanwhile?: () => Promise<void>;
}

/** Lengths that the stories need: the requests are late, and within what the protocol promises, which is 2.2 s here. */
export const TIMES = { accessToken: { ttl: '5s' }, reuseWindow: '1s' };

/**
 * A page sends many requests just after its access token has expired. The browser attaches the cookies to all of them, but
 * sends only six at a time. While it does, somebody opens the site in a second tab, and stays. The requests that have not been
 * sent by then are late: their cookies are those of a generation that is over.
 *
 * @returns the statuses that the page sees
 */
export async function tellLateStory(
  site: Site,
  [first, second]: readonly [Tab, Tab],
  { userId, url = site.url, count = 40, init = 'undefined', meanwhile }: LateStory,
): Promise<number[]> {
  const { expiresAt } = await signIn(first, url, userId);
  await second.goto(`${url}/`);
  await until(expiresAt);
  // All connections but one are taken for as long as the second tab needs; it gets through by the last.
  const taken = CONNECTIONS - 1;
  const urls = `Array.from({ length: ${count} }, (_, i) => '/slow?id=${userId}-' + i + (i < ${taken} ? '' : '&moment=400'))`;
  const answers = first.evaluate(`statuses(${urls}, ${init})`);
  const hindrance = site.work.hindrance(userId);
  await untilTrue(() => hindrance.waiting >= CONNECTIONS);
  await meanwhile?.();
  // A fetch would wait behind those of the other tab; a navigation goes before them.
  await moveOn(site, userId, () => visits(second, url));
  hindrance.end.give();
  return (await answers) as number[];
}

/** How often each of a story's requests was handled. */
export function timesHandled(site: Site, userId: string, count = 40): number[] {
  const ids = site.work.handled.map(({ id }) => id);
  return Array.from({ length: count }, (_, i) => ids.filter((id) => id === `${userId}-${i}`).length);
}
