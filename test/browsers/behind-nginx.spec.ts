import type { Browser, Page } from 'playwright-core';
import { afterAll, beforeAll, describe, expect, it } from 'vitest';
import { launchChromium } from './support/chromium.js';
import { type Nginx, startNginx } from './support/nginx.js';
import { digestOfLoad } from './support/page.js';
import { moveOn, signIn, until, visits } from './support/people.js';
import { chromiumPath, nginxPath } from './support/programs.js';
import { type HeldRequest, type HoldingProxy, startHoldingProxy } from './support/proxy.js';
import { CatchAllController } from './support/site.controller.js';
import { type Site, startSite } from './support/site.js';

/** Paths that browsers request under `/api`, and the paths that the server gets. */
const paths: readonly (readonly [path: string, seen: string])[] = [
  ['/late/1/last', '/late/1/last'],
  ['/late/2/a:b', '/late/2/a:b'],
  ['/late/3/http://x', '/late/3/http:/x'],
  ['/late/4/folder/', '/late/4/folder/'],
  ['/late/5/last?a=1&b=/c/?d', '/late/5/last?a=1&b=/c/?d'],
  ['/late/6/folder/?a=%2F', '/late/6/folder/?a=%2F'],
  ['/late/7/%C3%A9%20', '/late/7/%C3%A9%20'],
  ['/late/8//twice', '/late/8/twice'],
  ['/late/9/a%2Fb?x', '/late/9/a/b?x'],
  ['/late/10/a%2Fb', '/late/10/a/b'],
  ['/late/11/a%2F', '/late/11/a/'],
];
const navigations: typeof paths = [
  ['/late/navigation1/', '/late/navigation1/'],
  ['/late/navigation2/last', '/late/navigation2/last'],
  ['/late/navigation3/a%2Fb?x', '/late/navigation3/a/b?x'],
];
/** For the server this path looks like the URL of another host. */
const EVIL = '//evil.test/late/12/last';
const UPLOAD = 5 * 2 ** 20;
const uploads = ['POST', 'PUT', 'POST', 'PUT'].map((method, i) => ({ method, path: `/late/upload${i}/x` }));

/** A browser has six connections to an origin. */
const REQUESTS_PER_ORIGIN = 5;

/** A request on its way. */
interface Late {
  readonly url: string;
  readonly proxy: HoldingProxy;
  /** Status and URL that the page sees. */
  readonly answer: Promise<unknown>;
}

// One browser sends all of them with the same cookies. They arrive when it has proven a later generation.
describe.skipIf(!chromiumPath || !nginxPath)(
  'behind an nginx that takes a prefix from paths',
  { timeout: 30_000 },
  () => {
    let chromium: Browser;
    let site: Site;
    let nginx: Nginx;
    /** URL of nginx. */
    const proxies: HoldingProxy[] = [];
    const tabs: Page[] = [];
    const held: HeldRequest[] = [];
    const sent = new Map<string, Late>();

    beforeAll(async () => {
      chromium = await launchChromium();
      site = await startSite({
        options: { accessToken: { ttl: '4s' }, reuseWindow: '1s' },
        controllers: [CatchAllController],
      });
      nginx = await startNginx(site.port);
      const context = await chromium.newContext();
      const open = async (port: number): Promise<[HoldingProxy, Page]> => {
        const [proxy, tab] = [await startHoldingProxy(() => port), await context.newPage()];
        await tab.goto(`${proxy.url}/api/`);
        proxies.push(proxy);
        tabs.push(tab);
        return [proxy, tab];
      };
      const owner = await open(nginx.port);
      const exact = await open(nginx.exactPort);
      const navigating: [HoldingProxy, Page][] = [];
      for (const _ of navigations) navigating.push(await open(nginx.port));
      const usual: [HoldingProxy, Page][] = [];
      for (let i = 0; i < paths.length + uploads.length; i += REQUESTS_PER_ORIGIN)
        usual.push(await open(nginx.port));

      const { expiresAt } = await signIn(owner[1], `${owner[0].url}/api`, 'alice');
      await until(expiresAt);
      const all = [...paths.map(([path]) => ({ path, method: 'GET' })), ...uploads];
      for (const [i, { path, method }] of all.entries()) {
        const init = method === 'GET' ? '{}' : `{ method: '${method}', body: file(${UPLOAD}) }`;
        send(path, usual[Math.floor(i / REQUESTS_PER_ORIGIN)]!, init);
      }
      send(EVIL, exact);
      for (const [i, [path]] of navigations.entries()) navigate(path, navigating[i]!);
      await Promise.all(held.map(({ arrives }) => arrives));
      await moveOn(site, 'alice', () => visits(owner[1], `${owner[0].url}/api`));
      for (const { release } of held) release();
    }, 60_000);
    afterAll(async () => {
      await chromium?.close();
      for (const each of [...proxies, nginx, site]) await each?.close();
    }, 30_000);

    function send(path: string, [proxy, tab]: [HoldingProxy, Page], init = '{}'): void {
      const url = `${proxy.url}/api${path}`;
      held.push(proxy.hold(partOf(path)));
      const script = `fetch(${JSON.stringify(url)}, ${init}).then(({ status, url }) => [status, url])`;
      note(path, { url, proxy, answer: tab.evaluate(script) });
    }

    function navigate(path: string, [proxy, tab]: [HoldingProxy, Page]): void {
      const url = `${proxy.url}/api${path}`;
      held.push(proxy.hold(partOf(path)));
      note(path, { url, proxy, answer: tab.goto(url).then((answer) => [answer?.status(), tab.url()]) });
    }

    function note(path: string, late: Late): void {
      // A failure before the await must not be an unhandled rejection.
      late.answer.catch(() => undefined);
      sent.set(path, late);
    }

    const handledAt = (path: string) => site.work.handled.filter(({ url }) => url.includes(partOf(path)));

    it.each([...paths, ...navigations, [EVIL, EVIL]] as const)(
      'a late request ends where it began: %s',
      async (path, seen) => {
        const { url, proxy, answer } = sent.get(path)!;
        expect(await answer).toEqual([200, url]);
        expect(proxy.passed(partOf(path)).map(({ status }) => status)).toEqual([307, 200]);
        expect(handledAt(path)).toEqual([expect.objectContaining({ url: seen, userId: 'alice' })]);
      },
    );

    // nginx sends an upload without a break, and asks to close the connection.
    it.each(uploads)('a late upload of 5 MB arrives, once: $method $path', async ({ method, path }) => {
      const { url, proxy, answer } = sent.get(path)!;
      expect(await answer).toEqual([200, url]);
      expect(proxy.passed(partOf(path)).map(({ status }) => status)).toEqual([307, 200]);
      const digest = digestOfLoad(UPLOAD);
      expect(handledAt(path)).toEqual([expect.objectContaining({ method, digest, userId: 'alice' })]);
    });

    it('a late request signs nobody out', async () => {
      for (const [i, tab] of tabs.entries()) expect(await visits(tab, `${proxies[i]!.url}/api`)).toBe(200);
      expect(site.told('alice', 'stale')).toHaveLength(sent.size);
      expect(site.told('alice', 'theft')).toEqual([]);
    });
  },
);

/** The part of a path that identifies it, even after nginx has changed the path. */
function partOf(path: string): string {
  return /\/late\/\w+\//.exec(path)![0];
}
