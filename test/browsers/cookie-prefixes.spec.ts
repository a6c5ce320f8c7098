import type { SessionCookieOptions } from 'nestjs-session-tokens';
import { type Browser as Chromium } from 'playwright-core';
import { type Browser as Firefox, launch } from 'puppeteer-core';
import { afterAll, beforeAll, describe, expect, it } from 'vitest';
import { launchChromium } from './support/chromium.js';
import { signIn, visits } from './support/people.js';
import { chromiumPath, firefoxPath } from './support/programs.js';
import { type Site, startSite } from './support/site.js';

/** Cookies that a script tries to set. Every browser lets it set the first one. */
const CONTROL = '__Host-control';
const NAMES = [CONTROL, '__Host-Http-session_access', '__HOST-http-session_refresh'];

/** A page of each browser, in a jar of its own. */
type Tab = Parameters<typeof signIn>[0];

interface Kind {
  readonly browser: string;
  readonly path: string | undefined;
  /** Whether the browser knows the prefix: Chromium does since version 140. */
  readonly refusesScripts: boolean;
  open(): Promise<Tab>;
  close(): Promise<void>;
}

let chromium: Chromium | undefined;
let firefox: Firefox | undefined;

const kinds: Kind[] = [
  {
    browser: 'Chromium',
    path: chromiumPath,
    refusesScripts: true,
    async open() {
      chromium ??= await launchChromium();
      return (await chromium.newContext()).newPage();
    },
    close: async () => chromium?.close(),
  },
  {
    browser: 'Firefox',
    path: firefoxPath,
    refusesScripts: false,
    async open() {
      firefox ??= await launch({ browser: 'firefox', executablePath: firefoxPath, headless: true });
      return (await firefox.createBrowserContext()).newPage();
    },
    close: async () => firefox?.close(),
  },
];

const installed = kinds.filter(({ path }) => path !== undefined);

describe.skipIf(installed.length === 0).each(installed)(
  'names of cookies in $browser',
  { timeout: 60_000 },
  (kind) => {
    const sites: Site[] = [];
    async function start(cookies: SessionCookieOptions): Promise<Site> {
      const site = await startSite({ options: { cookies } });
      sites.push(site);
      return site;
    }
    beforeAll(async () => void (await kind.open()), 60_000);
    afterAll(async () => {
      await kind.close();
      for (const site of sites) await site.close();
    }, 30_000);

    it.each<[string, SessionCookieOptions]>([
      ['by default', {}],
      ['strict', { sameSite: 'strict' }],
      ['with names that have prefixes', { accessName: '__Http-a', refreshName: '__HOST-http-r' }],
      ['partitioned', { partitioned: true, sameSite: 'none' }],
    ])('are accepted from the server: %s', async (_, cookies) => {
      const site = await start(cookies);
      const tab = await kind.open();
      await signIn(tab, site.url, 'alice');
      expect(await visits(tab, site.url)).toBe(200);
    });

    // Ports of one host share their cookies. So the second site is the first one, with other options.
    it.each([
      { what: 'partitioned', order: [false, true], visits: 1 },
      { what: 'no longer partitioned', order: [true, false], visits: 2 },
    ])('are there once when cookies are $what', async ({ order, visits: count }) => {
      const tab = await kind.open();
      for (const [i, partitioned] of order.entries()) {
        const site = await start({ sameSite: 'none', partitioned, indicatorName: 'info' });
        for (let visit = 0; visit < (i === 0 ? 1 : count); visit++) await signIn(tab, site.url, 'alice');
        expect(await visits(tab, site.url)).toBe(200);
      }
      expect(((await tab.evaluate('document.cookie')) as string).match(/info=/g)).toHaveLength(1);
    });

    it('cannot be set by scripts where the browser knows the prefix', async () => {
      const site = await start({});
      const tab = await kind.open();
      await tab.goto(`${site.url}/`);
      await tab.evaluate(
        `for (const name of ${JSON.stringify(NAMES)}) document.cookie = name + '=planted; Secure; Path=/';`,
      );
      const seen = (await tab.evaluate('document.cookie')) as string;
      const set = seen.split('; ').map((pair) => pair.split('=')[0]!);
      expect(set).toContain(CONTROL);
      expect(kind.refusesScripts ? set.length : 1, 'how many of ours').toBe(1);
      await signIn(tab, site.url, 'alice');
      expect(await visits(tab, site.url)).toBe(200);
    });
  },
);
