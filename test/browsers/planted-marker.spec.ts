import { once } from 'node:events';
import { createServer, type Server } from 'node:http';
import type { AddressInfo } from 'node:net';
import type { SessionCookieOptions } from 'nestjs-session-tokens';
import type { Browser, Page } from 'playwright-core';
import { afterAll, beforeAll, describe, expect, it } from 'vitest';
import { launchChromium } from './support/chromium.js';
import { moveOn, signIn, until, visits } from './support/people.js';
import { chromiumPath } from './support/programs.js';
import { type HoldingProxy, startHoldingProxy } from './support/proxy.js';
import { type Site, startSite } from './support/site.js';

const TTL = 4_000;

/** Another site of the same domain. Its pages may set cookies for the whole domain. */
const PLANTED = ['/', '/home', '/late'].map(
  (path) => `session_look_again=planted; Domain=app.test; Path=${path}`,
);

describe.skipIf(!chromiumPath).concurrent.each<[string, SessionCookieOptions]>([
  ['of the host alone', {}],
  ['of the whole domain', { domain: 'app.test' }],
])('a planted marker beside cookies %s, in Chromium', { timeout: 60_000 }, (_, cookies) => {
  let chromium: Browser;
  let site: Site;
  let proxy: HoldingProxy;
  let sibling: Server;
  let url: string;

  beforeAll(async () => {
    chromium = await launchChromium();
    site = await startSite({
      options: {
        accessToken: { ttl: TTL / 1_000 },
        reuseWindow: '1s',
        cookies: { ...cookies, secure: false },
      },
    });
    proxy = await startHoldingProxy(() => site.port);
    url = `http://www.app.test:${proxy.port}`;
    sibling = createServer((_request, response) => {
      response.setHeader('content-type', 'text/html').setHeader('set-cookie', PLANTED).end('planted');
    }).listen(0, '127.0.0.1');
    await once(sibling, 'listening');
  }, 30_000);
  afterAll(async () => {
    await chromium?.close();
    sibling?.close();
    for (const each of [proxy, site]) await each?.close();
  }, 30_000);

  async function visitSibling(tab: Page): Promise<void> {
    const { port } = sibling.address() as AddressInfo;
    await tab.goto(`http://evil.app.test:${port}/`);
    const planted = (await tab.context().cookies()).filter(({ value }) => value === 'planted');
    expect(planted).toHaveLength(PLANTED.length);
  }

  it('does not send the owner round in circles', async () => {
    const context = await chromium.newContext();
    const [tab, other] = [await context.newPage(), await context.newPage()];
    const { expiresAt } = await signIn(tab, url, 'alice');
    await visitSibling(other);
    await until(expiresAt);
    const held = proxy.hold('id=alice.');
    const answer = tab.evaluate(`fetch('/late?id=alice.').then(({ status }) => status)`);
    await held.arrives;
    await moveOn(site, 'alice', () => visits(other, url));
    held.release();
    expect(await answer).toBe(200);
    expect(proxy.passed('id=alice.').map(({ status }) => status)).toEqual([307, 200]);
    expect(await visits(tab, url)).toBe(200);
    expect(site.told('alice', 'theft')).toEqual([]);
  });

  it('does not hide the thief', async () => {
    const context = await chromium.newContext();
    const owner = await context.newPage();
    const { expiresAt } = await signIn(owner, url, 'bob');
    const copy = await chromium.newContext();
    await copy.addCookies(await context.cookies());
    const thief = await copy.newPage();
    await visitSibling(thief);
    await until(expiresAt);
    await moveOn(site, 'bob', () => visits(owner, url));
    expect(await visits(thief, url)).toBe(401);
    expect(site.told('bob', 'theft')).toHaveLength(1);
    expect(await visits(owner, url)).toBe(401);
  });
});
