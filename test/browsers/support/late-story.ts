import { moveOn, signIn, type Tab, until, untilTrue, visits } from './people.js';
import type { Site } from './site.js';

/** The number of connections that browsers open to a host over HTTP/1.1. */
const CONNECTIONS = 6;

export interface LateStory {
  readonly userId: string;
  /** URL of the site. @default its own URL */
  readonly url?: string;
  /** How many requests the page sends at once. @default 40 */
  readonly count?: number;
  /** Options of `fetch` for each request, as an expression of the page with its number `i`. @default none */
  readonly init?: string;
  /** Called while requests are in progress, before the second tab goes on. */
  readonly meanwhile?: () => Promise<void>;
}

/** Times of the stories. The requests are late, but within the bound of the protocol, which is 2.2 s here. */
export const TIMES = { accessToken: { ttl: '5s' }, reuseWindow: '1s' };

/**
 * A page sends many requests just after its access token has expired. The browser attaches the cookies to all of them, but
 * sends only six at a time. In the meantime, the user opens the site in a second tab and goes on there. The requests that
 * have not been sent by then are late: their cookies are of a generation that is over.
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
  // All connections except one are busy for as long as the second tab needs. The second tab uses the last one.
  const taken = CONNECTIONS - 1;
  const urls = `Array.from({ length: ${count} }, (_, i) => '/slow?id=${userId}-' + i + (i < ${taken} ? '' : '&moment=400'))`;
  const answers = first.evaluate(`statuses(${urls}, ${init})`);
  const hindrance = site.work.hindrance(userId);
  await untilTrue(() => hindrance.waiting >= CONNECTIONS);
  await meanwhile?.();
  // A fetch would wait for those of the other tab. A navigation has priority.
  await moveOn(site, userId, () => visits(second, url));
  hindrance.end.give();
  return (await answers) as number[];
}

/** How often each of a story's requests was handled. */
export function timesHandled(site: Site, userId: string, count = 40): number[] {
  const ids = site.work.handled.map(({ id }) => id);
  return Array.from({ length: count }, (_, i) => ids.filter((id) => id === `${userId}-${i}`).length);
}
