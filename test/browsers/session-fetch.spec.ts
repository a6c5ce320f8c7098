import { fileURLToPath } from 'node:url';
import { Controller, Get, Header, type Type } from '@nestjs/common';
import { SkipSession } from 'nestjs-session-tokens';
import type { Browser, Page } from 'playwright-core';
import { build } from 'vite';
import { afterAll, beforeAll, describe, expect, it } from 'vitest';
import { adapters } from '../support/app.js';
import { launchChromium } from './support/chromium.js';
import { signIn, until } from './support/people.js';
import { chromiumPath } from './support/programs.js';
import { type Site, startSite } from './support/site.js';

const REFRESH_PATH = '/auth/refresh';

/** The client as a page gets it from a bundler. */
async function bundle(): Promise<string> {
  const input = fileURLToPath(new URL('../../lib/client/index.ts', import.meta.url));
  const result = (await build({
    configFile: false,
    logLevel: 'silent',
    build: { write: false, minify: true, rolldownOptions: { input, preserveEntrySignatures: 'strict' } },
  })) as { output: { code: string }[] };
  return result.output[0]!.code;
}

function scriptController(code: string): Type {
  @Controller()
  class ScriptController {
    @SkipSession()
    @Get('client.js')
    @Header('content-type', 'text/javascript')
    script(): string {
      return code;
    }
  }
  return ScriptController;
}

/** Has a page use the client as `sessionFetch`, and note in `ends` what it is told. */
async function install(tab: Page, options: object = {}): Promise<void> {
  await tab.evaluate(`import('/client.js').then(({ createSessionFetch }) => {
    globalThis.ends = [];
    globalThis.sessionFetch = createSessionFetch({
      refreshPath: '${REFRESH_PATH}',
      onSessionEnd: (end) => ends.push(end),
      ...${JSON.stringify(options)},
    });
  })`);
}

/** Sends many requests at once. @returns their statuses */
const burst = async (tab: Page, count = 20): Promise<number[]> =>
  tab.evaluate(
    `Promise.all(Array.from({ length: ${count} }, (_, i) => sessionFetch('/me?' + i).then(({ status }) => status)))`,
  );

const all = (count: number, status: number): number[] => Array.from({ length: count }, () => status);

describe.skipIf(!chromiumPath)('the browser client, in Chromium', { timeout: 60_000 }, () => {
  let chromium: Browser;
  let code: string;

  beforeAll(async () => {
    [chromium, code] = await Promise.all([launchChromium(), bundle()]);
  }, 60_000);
  afterAll(() => chromium?.close());

  describe.each(adapters)('over %s', (adapter) => {
    let site: Site;
    let refreshes: number;

    beforeAll(async () => {
      site = await startSite({
        adapter,
        options: {
          refresh: 'endpoint',
          refreshPath: REFRESH_PATH,
          accessToken: { ttl: '4s' },
          reuseWindow: '1s',
          cookies: { indicatorName: 'session_until' },
        },
        controllers: [scriptController(code)],
      });
    });
    afterAll(() => site?.close());

    /** Two tabs of one browser, in which somebody has signed in. */
    async function twoTabs(
      userId: string,
      options?: object,
    ): Promise<{ tabs: [Page, Page]; expiresAt: number }> {
      const context = await chromium.newContext();
      const tabs: [Page, Page] = [await context.newPage(), await context.newPage()];
      refreshes = 0;
      context.on('request', (request) => {
        if (new URL(request.url()).pathname === REFRESH_PATH) refreshes++;
      });
      const { expiresAt } = await signIn(tabs[0], site.url, userId);
      await tabs[1].goto(`${site.url}/`);
      for (const tab of tabs) await install(tab, options);
      return { tabs, expiresAt };
    }

    it.each<[what: string, userId: string, options: object]>([
      ['with the indicator cookie', 'alice', { indicatorName: 'session_until' }],
      ['without it', 'bob', {}],
    ])('refreshes once for many requests of two tabs, %s', async (_, userId, options) => {
      const { tabs, expiresAt } = await twoTabs(userId, options);
      await until(expiresAt);
      expect(await Promise.all(tabs.map(async (tab) => burst(tab)))).toEqual([all(20, 200), all(20, 200)]);
      // Without the cookie, a tab cannot know that the other one has just finished.
      expect(refreshes).toBeGreaterThanOrEqual(1);
      expect(refreshes).toBeLessThanOrEqual('indicatorName' in options ? 1 : 2);
      expect(site.told(userId, 'theft')).toEqual([]);
      expect(await tabs[0].evaluate('ends')).toEqual([]);
    });

    it('waits for a tab that refreshes, and does not refresh itself', async () => {
      const { tabs, expiresAt } = await twoTabs('carol', {});
      let release!: () => void;
      const held = new Promise<void>((resolve) => {
        release = resolve;
      });
      await tabs[0].route(`**${REFRESH_PATH}`, async (route) => {
        await held;
        await route.continue();
      });
      await until(expiresAt);
      const asked = tabs[0].waitForRequest(`**${REFRESH_PATH}`);
      const first = burst(tabs[0], 3);
      await asked;
      const second = burst(tabs[1], 3);
      const waiting = async () =>
        tabs[1].evaluate('navigator.locks.query().then((all) => all.pending.length)');
      await expect.poll(waiting).toBe(1);
      release();
      expect(await Promise.all([first, second])).toEqual([all(3, 200), all(3, 200)]);
      expect(refreshes).toBe(1);
    });

    it('sends the body of a request again', async () => {
      const { tabs, expiresAt } = await twoTabs('dave');
      await until(expiresAt);
      const body = `JSON.stringify({ load: load(50_000) })`;
      const headers = `{ 'content-type': 'application/json' }`;
      const send = `sessionFetch('/late?id=dave', { method: 'POST', headers: ${headers}, body: ${body} })`;
      const form = `(() => { const body = new FormData(); body.append('load', file(50_000)); return sessionFetch('/me', { body, method: 'POST' }); })()`;
      expect(await tabs[0].evaluate(`${send}.then((answer) => answer.text())`)).toBe('did dave');
      expect(site.work.handled.filter(({ id }) => id === 'dave')).toMatchObject([{ method: 'POST' }]);
      expect(await tabs[0].evaluate(`${form}.then(({ status }) => status)`)).toBe(404);
    });

    it('tells both tabs once when and why the session has ended', async () => {
      const { tabs, expiresAt } = await twoTabs('erin', { indicatorName: 'session_until' });
      await site.sessions.revokeAllForUser('erin', { reason: 'password_change' });
      await until(expiresAt);
      await burst(tabs[0], 5);
      const told = `new Promise((resolve) => { const look = () => ends.length > 0 ? resolve() : setTimeout(look, 20); look(); })`;
      for (const tab of tabs) await tab.evaluate(told);
      expect(await tabs[0].evaluate('ends')).toEqual([{ code: 'session_over', reason: 'password_change' }]);
      // It has sent nothing: its cookie is gone.
      expect(await tabs[1].evaluate('[ends, sessionFetch.isSignedIn()]')).toEqual([
        [{ code: 'signed_out' }],
        false,
      ]);
    });
  });
});
