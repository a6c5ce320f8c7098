import type { Browser, Page } from 'playwright-core';
import { afterAll, afterEach, beforeAll, describe, expect, it } from 'vitest';
import { StreamsController } from '../connections/streams.controller.js';
import { adapters } from '../support/app.js';
import { launchChromium } from './support/chromium.js';
import { signIn, until, untilTrue } from './support/people.js';
import { chromiumPath } from './support/programs.js';
import { type Site, startSite } from './support/site.js';

/** Follows events, and notes what the page sees. */
const FOLLOW = `
  window.seen = { messages: 0, opens: 0, errors: 0 };
  window.source = new EventSource('/streams/sse', { withCredentials: true });
  source.addEventListener('open', () => seen.opens++);
  source.addEventListener('error', () => seen.errors++);
  source.addEventListener('message', () => seen.messages++);
`;

/** Reads a body to its end. */
const READ = `
  window.body = { length: 0, end: '' };
  fetch('/streams/file').then(async ({ body: stream }) => {
    const reader = stream.getReader();
    for (;;) {
      const { done, value } = await reader.read();
      if (done) return 'complete';
      body.length += value.length;
    }
  }).then((end) => (body.end = end), (error) => (body.end = error.name));
  // Nobody waits for it here.
  undefined;
`;

const read = async (page: Page, expression: string) => page.evaluate(expression) as Promise<never>;

describe.skipIf(!chromiumPath)('streams, in Chromium', { timeout: 60_000 }, () => {
  let chromium: Browser;
  let site: Site | undefined;
  beforeAll(async () => {
    chromium = await launchChromium();
  });
  afterEach(() => site?.close());
  afterAll(() => chromium?.close());

  it.each(adapters)(
    'go on over refreshes, end with the session, and an EventSource stops at the 401: %s',
    async (adapter) => {
      const options = { accessToken: { ttl: '3s', jitter: 0 }, reuseWindow: '1s', revocationInterval: 0.2 };
      site = await startSite({ adapter, options, controllers: [StreamsController] });
      const page = await (await chromium.newContext()).newPage();
      const statuses: number[] = [];
      page.on('response', (response) => {
        // It may be told to look again before that (307).
        if (response.url().endsWith('/streams/sse') && response.status() !== 307)
          statuses.push(response.status());
      });
      const { expiresAt } = await signIn(page, site.url, 'alice');
      await until(expiresAt);
      // It begins with a refresh.
      await page.evaluate(FOLLOW);
      await page.evaluate(READ);
      await untilTrue(
        async () => (await read(page, 'seen.messages')) > 5 && (await read(page, 'body.length')) > 0,
      );
      await until(Date.now() + 3_500);
      const before: number = await read(page, 'seen.messages');
      await untilTrue(async () => (await read(page, 'seen.messages')) > before);
      expect(await read(page, 'seen')).toMatchObject({ opens: 1, errors: 0 });
      expect(await read(page, 'body.end')).toBe('');

      await site.sessions.revokeAllForUser('alice');
      await untilTrue(async () => (await read(page, 'source.readyState')) === 2);
      expect(await read(page, 'seen.opens')).toBe(1);
      await untilTrue(async () => (await read(page, 'body.end')) !== '');
      expect(await read(page, 'body.end')).toBe('TypeError');
      expect(statuses).toEqual([200, 401]);
    },
  );
});
