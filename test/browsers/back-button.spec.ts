import { once } from 'node:events';
import { createServer, type Server } from 'node:http';
import type { AddressInfo } from 'node:net';
import { chromium } from 'playwright-core';
import { launch } from 'puppeteer-core';
import { afterAll, beforeAll, describe, expect, it } from 'vitest';
import { type Tab, untilTrue } from './support/people.js';
import { chromiumPath, firefoxPath } from './support/programs.js';

const COOKIE = '__Host-Http-session_access';

/** What the README says of the Back button rests on browsers alone, so a plain server shows it. */
function startServer(): Server {
  return createServer((request, response) => {
    const { pathname, searchParams } = new URL(request.url!, 'http://localhost');
    const attributes = 'Path=/; Secure; HttpOnly';
    response.setHeader('content-type', 'text/html');
    switch (pathname) {
      case '/in':
        response.setHeader('set-cookie', `${COOKIE}=1; ${attributes}`).end('in');
        break;
      case '/out':
        response.setHeader('clear-site-data', '"cache"');
        response.setHeader('set-cookie', `${COOKIE}=; Max-Age=0; ${attributes}`).end('out');
        break;
      default: {
        const isSignedIn = request.headers.cookie?.includes(`${COOKIE}=1`) ?? false;
        response.setHeader('cache-control', searchParams.get('says')!);
        response.end(isSignedIn ? 'private page' : 'please sign in');
      }
    }
  }).listen(0, '127.0.0.1');
}

interface Kind {
  readonly browser: string;
  readonly path: string | undefined;
  readonly start: () => Promise<{ open(): Promise<Tab>; close(): Promise<void> }>;
}

const kinds: Kind[] = [
  {
    browser: 'Chromium',
    path: chromiumPath,
    async start() {
      // Playwright turns off the memory of pages that Back uses.
      const browser = await chromium.launch({
        executablePath: chromiumPath,
        args: ['--headless', '--no-sandbox', '--disable-gpu'],
        ignoreDefaultArgs: ['--disable-back-forward-cache'],
      });
      const open = async () => (await browser.newContext()).newPage();
      return { open, close: () => browser.close() };
    },
  },
  {
    browser: 'Firefox',
    path: firefoxPath,
    async start() {
      const browser = await launch({ browser: 'firefox', executablePath: firefoxPath, headless: true });
      const open = async () => (await browser.createBrowserContext()).newPage();
      return { open, close: () => browser.close() };
    },
  },
];

const installed = kinds.filter(({ path }) => path !== undefined);

describe.skipIf(installed.length === 0).each(installed)(
  'after signing out, Back in $browser',
  { timeout: 60_000 },
  ({ start }) => {
    let browser: Awaited<ReturnType<typeof start>>;
    let server: Server;
    let url: string;
    beforeAll(async () => {
      browser = await start();
      server = startServer();
      await once(server, 'listening');
      url = `http://localhost:${(server.address() as AddressInfo).port}`;
    }, 60_000);
    afterAll(async () => {
      await browser?.close();
      server?.close();
    });

    it.each([
      { says: 'private, no-store', shows: 'please sign in' },
      // Neither that the page must be checked nor Clear-Site-Data makes the browser forget it.
      { says: 'private, no-cache', shows: 'private page' },
      { says: 'private', shows: 'private page' },
    ])('shows "$shows" where the page says $says', async ({ says, shows }) => {
      const tab = await browser.open();
      await tab.goto(`${url}/in`);
      await tab.goto(`${url}/page?says=${encodeURIComponent(says)}`);
      expect(await tab.evaluate('document.body.innerText')).toBe('private page');
      await tab.goto(`${url}/out`);
      await tab.evaluate('void setTimeout(() => history.back())').catch(() => undefined);
      const seen = async () => {
        const script = `[location.pathname, document.body?.innerText]`;
        return (await tab.evaluate(script).catch(() => [])) as string[];
      };
      await untilTrue(async () => (await seen())[0] === '/page');
      expect((await seen())[1]).toBe(shows);
    });
  },
);
