import { type Browser, launch, type Page } from 'puppeteer-core';
import { SessionService } from 'nestjs-session-tokens';
import { afterAll, beforeAll, describe, expect, it } from 'vitest';
import { tellLateStory, timesHandled, TIMES } from './support/late-story.js';
import { digestOfLoad } from './support/page.js';
import { moveOn, signIn, until, visits } from './support/people.js';
import { firefoxPath } from './support/programs.js';
import { type HoldingProxy, startHoldingProxy } from './support/proxy.js';
import { type Site, startSite } from './support/site.js';

const all = <T>(value: T): T[] => Array.from({ length: 40 }, () => value);

describe.skipIf(!firefoxPath)('late requests, in Firefox', { timeout: 60_000 }, () => {
  let firefox: Browser;
  let site: Site;
  let proxy: HoldingProxy;
  /** The same site as another origin. */
  let elsewhere: HoldingProxy;

  beforeAll(async () => {
    elsewhere = await startHoldingProxy(() => site.port);
    proxy = await startHoldingProxy(() => site.port);
    site = await startSite({
      options: { ...TIMES, csrf: { trustedOrigins: [elsewhere.url] } },
      configure: (app) => app.enableCors(app.get(SessionService).corsOptions()),
    });
    firefox = await launch({ browser: 'firefox', executablePath: firefoxPath, headless: true });
  }, 60_000);
  afterAll(async () => {
    await firefox?.close();
    for (const each of [elsewhere, proxy, site]) await each?.close();
  }, 30_000);

  async function twoTabs(): Promise<[Page, Page]> {
    const context = await firefox.createBrowserContext();
    return [await context.newPage(), await context.newPage()];
  }

  it.concurrent('are all answered', async () => {
    const tabs = await twoTabs();
    const init = `(i) => ({
      method: 'POST',
      headers: { 'content-type': 'application/json' },
      body: JSON.stringify({ load: load(50_000) }),
    })`;
    expect(await tellLateStory(site, tabs, { userId: 'alice', init })).toEqual(all(200));
    expect(timesHandled(site, 'alice')).toEqual(all(1));
    const load = { method: 'POST', digest: digestOfLoad(50_000) };
    expect(site.work.handled.filter(({ userId }) => userId === 'alice')).toEqual(
      all(expect.objectContaining(load)),
    );
    expect(site.told('alice', 'stale').length).toBeGreaterThan(10);
    expect(site.told('alice', 'theft')).toEqual([]);
    for (const tab of tabs) expect(await visits(tab, site.url)).toBe(200);
  });

  // Firefox calls the second request cross-site.
  it.concurrent('are answered from another origin, with preflight', async () => {
    const [tab] = await twoTabs();
    const { expiresAt } = await signIn(tab, elsewhere.url, 'bob');
    await until(expiresAt);
    const held = proxy.hold('id=bob.');
    const answer = tab.evaluate(`fetch('${proxy.url}/late?id=bob.', {
      method: 'PUT',
      credentials: 'include',
      headers: { 'content-type': 'application/json' },
      body: JSON.stringify({ load: load(50_000) }),
    }).then(({ status }) => status)`);
    await held.arrives;
    await moveOn(site, 'bob', () => tab.evaluate(`fetch('/me')`));
    held.release();
    expect(await answer).toBe(200);
    expect(proxy.passed('id=bob.').map(({ status }) => status)).toEqual([307, 200]);
    const load = { method: 'PUT', digest: digestOfLoad(50_000) };
    expect(site.work.handled.filter(({ id }) => id === 'bob.')).toEqual([expect.objectContaining(load)]);
    expect(await visits(tab, proxy.url)).toBe(200);
    expect(site.told('bob', 'theft')).toEqual([]);
  });
});
