import { request as httpRequest } from 'node:http';
import { once } from 'node:events';
import type { Browser, Page } from 'playwright-core';
import { afterAll, beforeAll, describe, expect, it, vi } from 'vitest';
import { launchChromium } from './support/chromium.js';
import { moveOn, signIn, until, visits } from './support/people.js';
import { chromiumPath } from './support/programs.js';
import { type Site, startSite } from './support/site.js';

const TTL = 5_000;
const WINDOW = 1_000;

describe.skipIf(!chromiumPath)('a thief with a copy of the cookies, in Chromium', { timeout: 60_000 }, () => {
  // These tests wait most of the time, so they can run concurrently.
  vi.setConfig({ maxConcurrency: 6 });

  let chromium: Browser;
  let site: Site;

  beforeAll(async () => {
    chromium = await launchChromium();
    site = await startSite({ options: { accessToken: { ttl: TTL / 1_000 }, reuseWindow: WINDOW / 1_000 } });
  }, 30_000);
  afterAll(async () => {
    await chromium?.close();
    await site?.close();
  }, 30_000);

  /** Two browsers with the same cookies, whose access token has just expired. */
  async function split(userId: string): Promise<[owner: Page, thief: Page]> {
    const context = await chromium.newContext();
    const owner = await context.newPage();
    const { expiresAt } = await signIn(owner, site.url, userId);
    const copy = await chromium.newContext();
    await copy.addCookies(await context.cookies());
    const thief = await copy.newPage();
    await thief.goto(`${site.url}/`);
    await until(expiresAt);
    return [owner, thief];
  }

  const goesOn = (userId: string, page: Page) => moveOn(site, userId, () => visits(page, site.url));

  /** Both are signed out. Their cookies are cleared later, because the client may just have signed in again. */
  async function expectRevoked(userId: string, ...pages: Page[]): Promise<void> {
    for (const page of pages) {
      expect(await visits(page, site.url)).toBe(401);
      while ((await sessionCookies(page)).length > 0) expect(await visits(page, site.url)).toBe(401);
      await page.context().close();
    }
    expect(site.told(userId, 'theft')).toHaveLength(1);
    expect((await site.row(userId)).revokedAt).not.toBeNull();
  }

  async function expectSignedIn(userId: string, owner: Page): Promise<void> {
    await goesOn(userId, owner);
    expect(await visits(owner, site.url)).toBe(200);
    expect(site.told(userId, 'theft')).toEqual([]);
  }

  it.concurrent('who comes when the owner has moved on is caught', async () => {
    const [owner, thief] = await split('alice');
    await goesOn('alice', owner);
    expect(await visits(thief, site.url)).toBe(401);
    expect(site.told('alice', 'theft')).toMatchObject([{ kind: 'superseded', behind: 1 }]);
    await expectRevoked('alice', thief, owner);
  });

  it.concurrent('who goes first is caught when the owner comes behind', async () => {
    const [owner, thief] = await split('bob');
    await goesOn('bob', thief);
    expect(site.told('bob', 'theft')).toEqual([]);
    expect(await visits(owner, site.url)).toBe(401);
    expect(site.told('bob', 'theft')).toMatchObject([{ kind: 'superseded', behind: 1 }]);
    await expectRevoked('bob', owner, thief);
  });

  it.concurrent('who keeps step with the owner is caught at the second refresh', async () => {
    const [owner, thief] = await split('carol');
    const both = async () => Promise.all([owner, thief].map((page) => visits(page, site.url)));
    // Then each of them has its own tokens.
    await Promise.all([owner, thief].map((page) => untilItHasNewTokens(page, site.url)));
    // In any order of their requests, one of them is refused before both have refreshed twice.
    let statuses: (number | undefined)[] = [];
    for (let pauses = 0; pauses < 6 && !statuses.includes(401); pauses++) {
      await until(Date.now() + WINDOW);
      statuses = await both();
    }
    expect(statuses).toContain(401);
    await expectRevoked('carol', owner, thief);
  });

  it.concurrent('who does not look again gets nothing, and is caught at the next attempt', async () => {
    const [owner, thief] = await split('dave');
    await goesOn('dave', owner);
    const attempt = `fetch('/late?id=dave', { redirect: 'manual' }).then(({ status, type }) => [status, type])`;
    expect(await thief.evaluate(attempt)).toEqual([0, 'opaqueredirect']);
    await expectSignedIn('dave', owner);
    expect(await thief.evaluate(attempt)).toEqual([401, 'basic']);
    await expectRevoked('dave', thief, owner);
  });

  it.concurrent('who never shows that he has been told gets nothing, ever', async () => {
    const [owner, thief] = await split('erin');
    await goesOn('erin', owner);
    const attempt = `fetch('/late?id=erin', { redirect: 'manual' }).then(({ status, type }) => [status, type])`;
    for (let times = 0; times < 3; times++) {
      expect(await thief.evaluate(attempt)).toEqual([0, 'opaqueredirect']);
      expect(await sessionCookies(thief)).toContain('__Host-Http-session_look_again');
      await thief.context().clearCookies({ name: '__Host-Http-session_look_again' });
    }
    expect(site.work.handled.filter(({ userId }) => userId === 'erin')).toEqual([]);
    expect(site.told('erin', 'stale')).toHaveLength(3);
    await expectSignedIn('erin', owner);
  });

  it.concurrent('who uses no browser gets nothing, ever', async () => {
    const [owner, thief] = await split('frank');
    const cookies = await thief.context().cookies();
    await goesOn('frank', owner);
    const cookie = cookies.map(({ name, value }) => `${name}=${value}`).join('; ');
    for (const [headers, status] of [
      [{}, 401],
      [{ 'user-agent': 'Mozilla/5.0' }, 307],
      [{ 'sec-fetch-site': 'same-origin' }, 307],
      [{ 'sec-fetch-site': 'same-origin', upgrade: 'websocket' }, 401],
    ] as const) {
      const outgoing = httpRequest(`${site.url}/late?id=frank`, { headers: { ...headers, cookie } }).end();
      const [answer] = await once(outgoing, 'response');
      answer.resume();
      expect([headers, answer.statusCode]).toEqual([headers, status]);
    }
    expect(site.work.handled.filter(({ userId }) => userId === 'frank')).toEqual([]);
    await expectSignedIn('frank', owner);
  });
});

async function sessionCookies(page: Page): Promise<string[]> {
  return (await page.context().cookies()).map(({ name }) => name);
}

/** Sends requests until the browser has new tokens. A late response has no tokens; then the next one has them. */
async function untilItHasNewTokens(page: Page, url: string): Promise<void> {
  const token = async (): Promise<string | undefined> =>
    (await page.context().cookies()).find(({ name }) => name.endsWith('session_refresh'))?.value;
  const old = await token();
  while ((await token()) === old) expect(await visits(page, url)).toBe(200);
}
