import type { Browser, Page } from 'playwright-core';
import { afterAll, beforeAll, describe, expect, it, vi } from 'vitest';
import { adapters } from '../support/app.js';
import { launchChromium } from './support/chromium.js';
import { tellLateStory, timesHandled, TIMES } from './support/late-story.js';
import { digestOfLoad } from './support/page.js';
import { moveOn, signIn, until, untilTrue, visits } from './support/people.js';
import { chromiumPath } from './support/programs.js';
import { startHoldingProxy } from './support/proxy.js';
import { type Site, type SiteSettings, startSite } from './support/site.js';

const all = <T>(value: T): T[] => Array.from({ length: 40 }, () => value);

describe.skipIf(!chromiumPath)('late requests, in Chromium', { timeout: 60_000 }, () => {
  // These tests wait most of the time, so they can run concurrently.
  vi.setConfig({ maxConcurrency: 6 });

  let chromium: Browser;
  const closes: (() => Promise<void>)[] = [];

  beforeAll(async () => {
    chromium = await launchChromium();
  });
  afterAll(async () => {
    await chromium?.close();
    for (const close of closes) await close();
  }, 30_000);

  async function start(settings: SiteSettings): Promise<Site> {
    const site = await startSite({ ...settings, options: { ...TIMES, ...settings.options } });
    closes.push(() => site.close());
    return site;
  }

  async function twoTabs(): Promise<[Page, Page]> {
    const context = await chromium.newContext();
    return [await context.newPage(), await context.newPage()];
  }

  describe.concurrent.each(adapters)('over %s', (adapter) => {
    it('are all answered', async () => {
      const site = await start({ adapter });
      const tabs = await twoTabs();
      expect(await tellLateStory(site, tabs, { userId: 'alice' })).toEqual(all(200));
      expect(timesHandled(site, 'alice')).toEqual(all(1));
      // Otherwise no request was late.
      expect(site.told('alice', 'stale').length).toBeGreaterThan(10);
      expect(site.told('alice', 'theft')).toEqual([]);
      for (const tab of tabs) expect(await visits(tab, site.url)).toBe(200);
    });

    it('keep method and body, and are handled once', async () => {
      const site = await start({ adapter });
      const tabs = await twoTabs();
      const init = `(i) => ({
        method: 'POST',
        headers: { 'content-type': 'application/json' },
        body: JSON.stringify({ load: load(50_000) }),
      })`;
      expect(await tellLateStory(site, tabs, { userId: 'bob', init })).toEqual(all(200));
      expect(timesHandled(site, 'bob')).toEqual(all(1));
      const load = { userId: 'bob', method: 'POST', digest: digestOfLoad(50_000) };
      expect(site.work.handled).toEqual(all(expect.objectContaining(load)));
      expect(site.told('bob', 'stale').length).toBeGreaterThan(10);
      expect(site.told('bob', 'theft')).toEqual([]);
      for (const tab of tabs) expect(await visits(tab, site.url)).toBe(200);
    });

    it('leave newer tokens alone when it is their answers that are late', async () => {
      const site = await start({ adapter, options: { accessToken: { ttl: '3s' } } });
      const [tab] = await twoTabs();
      const { expiresAt } = await signIn(tab, site.url, 'gina');
      await until(expiresAt);
      const answer = tab.evaluate(`fetch('/slow?id=gina').then(({ status }) => status)`);
      const hindrance = site.work.hindrance('gina');
      await untilTrue(() => hindrance.waiting === 1);
      // After two more refreshes, the tokens that it got have been replaced.
      for (let times = 0; times < 2; times++) await moveOn(site, 'gina', () => tab.evaluate(`fetch('/me')`));
      hindrance.end.give();
      expect(await answer).toBe(200);
      expect(await visits(tab, site.url)).toBe(200);
      expect(site.told('gina', 'stale')).toEqual([]);
      expect(site.told('gina', 'theft')).toEqual([]);
    });

    it('are taken for a thief’s where nobody looks again', async () => {
      const site = await start({ adapter, options: { lookAgain: false } });
      const tabs = await twoTabs();
      const statuses = await tellLateStory(site, tabs, { userId: 'carol' });
      expect(statuses.filter((status) => status === 401).length).toBeGreaterThan(10);
      expect(site.told('carol', 'theft')).toHaveLength(1);
      expect(await visits(tabs[1], site.url)).toBe(401);
    });
  });

  it.concurrent('do no harm when the network fails under them, and the page sends them again', async () => {
    const site = await start({});
    const proxy = await startHoldingProxy(() => site.port);
    closes.push(() => proxy.close());
    const [first, second] = await twoTabs();
    const { expiresAt } = await signIn(first, proxy.url, 'erin');
    await second.goto(`${proxy.url}/`);
    const network = await first.context().newCDPSession(first);
    const set = async (offline: boolean) =>
      network.send('Network.emulateNetworkConditions', {
        offline,
        latency: 0,
        downloadThroughput: -1,
        uploadThroughput: -1,
      });
    await network.send('Network.enable');
    await until(expiresAt);
    const ids = ['a', 'b', 'c', 'd', 'e'].map((name) => `erin-${name}`);
    const held = ids.map((id) => proxy.hold(`id=${id}`));
    const urls = JSON.stringify(ids.map((id) => `/late?id=${id}`));
    const answers = first.evaluate(`Promise.all(${urls}.map(sendPatiently))`);
    await Promise.all(held.map(({ arrives }) => arrives));

    await set(true);
    for (const { cut } of held) cut();
    await moveOn(site, 'erin', () => visits(second, proxy.url));
    // They reach the server when no client is there to look again.
    for (const { release } of held) release();
    await untilTrue(() => site.told('erin', 'stale').length === ids.length);
    await set(false);
    const results = (await answers) as [hasFailed: boolean, status: number][];
    expect(results.map(([, status]) => status)).toEqual(ids.map(() => 200));
    // Chromium itself repeats requests that were lost on a reused connection.
    expect(results.map(([hasFailed]) => hasFailed)).toContain(true);
    expect(site.told('erin', 'theft')).toEqual([]);
    for (const tab of [first, second]) expect(await visits(tab, proxy.url)).toBe(200);
  });

  it.concurrent('are answered by the refresh route, where pages call that', async () => {
    const site = await start({ options: { refresh: 'endpoint', refreshPath: '/refresh' } });
    const proxy = await startHoldingProxy(() => site.port);
    closes.push(() => proxy.close());
    const [tab] = await twoTabs();
    const { expiresAt } = await signIn(tab, proxy.url, 'frank');
    await until(expiresAt);
    const held = proxy.hold('/refresh');
    const refresh = `fetch('/refresh', { method: 'POST' }).then(({ status }) => status)`;
    const answer = tab.evaluate(refresh);
    await held.arrives;
    // A page in endpoint mode must refresh by itself.
    const visit = `(async () => {
      const { status } = await fetch('/me');
      return status === 401 && (await ${refresh}) === 204 ? (await fetch('/me')).status : status;
    })()`;
    await moveOn(site, 'frank', () => tab.evaluate(visit));
    held.release();
    expect(await answer).toBe(204);
    expect(
      proxy
        .passed('/refresh')
        .map(({ status }) => status)
        .slice(-2),
    ).toEqual([307, 204]);
    expect(await tab.evaluate(visit)).toBe(200);
    expect(site.told('frank', 'theft')).toEqual([]);
  });

  it.concurrent('are all answered on a host of plain http, which browsers tell less', async () => {
    const site = await start({ options: { cookies: { secure: false } } });
    const tabs = await twoTabs();
    const url = `http://app.test:${site.port}`;
    expect(await tellLateStory(site, tabs, { userId: 'dave', url })).toEqual(all(200));
    expect(new Set(site.work.handled.map(({ fetchSite }) => fetchSite))).toEqual(new Set([undefined]));
    expect(site.told('dave', 'stale').length).toBeGreaterThan(10);
    expect(site.told('dave', 'theft')).toEqual([]);
    for (const tab of tabs) expect(await visits(tab, url)).toBe(200);
  });
});
