import { mkdtemp, rm } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { setTimeout as sleep } from 'node:timers/promises';
import type { Page } from 'playwright-core';
import { afterAll, describe, expect, it } from 'vitest';
import { adapters } from '../support/app.js';
import { launchOwnChromium, type OwnChromium } from './support/chromium.js';
import { tellLateStory, timesHandled, TIMES } from './support/late-story.js';
import { signIn, until, visits } from './support/people.js';
import { chromiumPath } from './support/programs.js';
import { type HoldingProxy, startHoldingProxy } from './support/proxy.js';
import { type Site, type SiteSettings, startSite } from './support/site.js';

describe.skipIf(!chromiumPath).concurrent('a Chromium', { timeout: 60_000 }, () => {
  const cleanups: (() => Promise<unknown>)[] = [];
  afterAll(async () => {
    for (const cleanup of cleanups.toReversed()) await cleanup();
  }, 30_000);

  async function start(settings: SiteSettings): Promise<[Site, HoldingProxy]> {
    const site = await startSite(settings);
    const proxy = await startHoldingProxy(() => site.port);
    cleanups.push(
      () => site.close(),
      () => proxy.close(),
    );
    return [site, proxy];
  }

  async function makeProfile(): Promise<string> {
    const profile = await mkdtemp(join(tmpdir(), 'session-tokens-profile-'));
    cleanups.push(() => rm(profile, { recursive: true, force: true, maxRetries: 5 }));
    return profile;
  }

  async function open(profile: string): Promise<[OwnChromium, Page]> {
    const chromium = await launchOwnChromium(profile);
    cleanups.push(() => chromium.kill());
    return [chromium, await chromium.context.newPage()];
  }

  /**
   * A user signs in and closes the browser, which writes its cookies to disk. The browser is opened again, gets new tokens,
   * uses them, and is killed before it has written them to disk. It comes back with the previous tokens.
   *
   * @returns the tab, and the status of the first page in it
   */
  async function tellStory(
    { url, passed }: HoldingProxy,
    userId: string,
  ): Promise<[Page, number | undefined]> {
    const profile = await makeProfile();
    let [chromium, tab] = await open(profile);
    const { expiresAt } = await signIn(tab, url, userId);
    const before = await refreshToken(chromium);
    await chromium.quit();

    [chromium, tab] = await open(profile);
    await until(expiresAt);
    // A late response leaves without tokens. Then the next response has them.
    while ((await refreshToken(chromium)) === before) expect(await visits(tab, url)).toBe(200);
    const after = await refreshToken(chromium);
    await sleep(500);
    expect(await visits(tab, url)).toBe(200);
    await chromium.kill();

    [chromium, tab] = await open(profile);
    const status = await visits(tab, url);
    // The condition of this test: the browser must have lost its newest tokens.
    const sent = passed('/home').map(({ headers }) => headers.cookie ?? '');
    const last = sent.findLastIndex((cookie) => cookie.includes(after));
    expect(last).toBeGreaterThan(0);
    expect(sent[last + 1]).toContain(before);
    return [tab, status];
  }

  it.each(adapters)('that is killed comes back signed in, over %s', async (adapter) => {
    const [site, proxy] = await start({
      adapter,
      options: { accessToken: { ttl: '8s' }, reuseWindow: '4s' },
    });
    const [tab, status] = await tellStory(proxy, 'alice');
    expect(status).toBe(200);
    expect(await visits(tab, proxy.url)).toBe(200);
    expect(site.told('alice', 'stale')).toEqual([]);
    expect(site.told('alice', 'theft')).toEqual([]);
  });

  it('that is killed is taken for a thief’s without a reuse window', async () => {
    const [site, proxy] = await start({ options: { accessToken: { ttl: '4s' }, reuseWindow: 0 } });
    const [, status] = await tellStory(proxy, 'bob');
    expect(status).toBe(401);
    expect(site.told('bob', 'theft')).toHaveLength(1);
  });

  it('that sleeps for longer than the reuse window with requests under way loses none of them', async () => {
    const [site] = await start({ options: TIMES });
    const [chromium, tab] = await open(await makeProfile());
    const tabs = [tab, await chromium.context.newPage()] as const;
    const statuses = await tellLateStory(site, tabs, {
      userId: 'carol',
      async meanwhile() {
        // New tokens are in the jar, and have settled when it wakes.
        expect(await visits(tabs[1], site.url)).toBe(200);
        chromium.signal('SIGSTOP');
        await sleep(1_500);
        chromium.signal('SIGCONT');
      },
    });
    expect(statuses).toEqual(Array.from({ length: 40 }, () => 200));
    expect(timesHandled(site, 'carol')).toEqual(Array.from({ length: 40 }, () => 1));
    expect(site.told('carol', 'stale').length).toBeGreaterThan(10);
    expect(site.told('carol', 'theft')).toEqual([]);
    for (const each of tabs) expect(await visits(each, site.url)).toBe(200);
  });
});

async function refreshToken({ context }: OwnChromium): Promise<string> {
  const cookie = (await context.cookies()).find(({ name }) => name.endsWith('session_refresh'));
  expect(cookie).toBeDefined();
  return cookie!.value;
}
