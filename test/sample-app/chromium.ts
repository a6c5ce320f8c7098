import type { Browser, BrowserContextOptions, Page } from 'playwright-core';
import { afterAll, afterEach, beforeAll } from 'vitest';
import { launchChromium } from '../browsers/support/chromium.js';
import { databases, type TestDatabase } from '../support/databases.js';
import { type Environment, type Sample, startSample } from './sample.js';

export const TIMEOUT = 60_000;
export const PATIENTLY = { timeout: 20_000 };
/** Tokens do not expire during a test. */
export const SLOW: Environment = { ACCESS_TOKEN_TTL: '1h', REUSE_WINDOW: '400ms' };

/** Chromium, and samples for it, for the tests of one `describe`. */
export interface Chromium {
  /** What the browser reports: errors and warnings. */
  readonly problems: string[];
  /** Starts the sample. @returns its URL */
  readonly start: (env: Environment) => Promise<string>;
  /** The page on a separate device. */
  readonly visit: (url: string, options?: BrowserContextOptions) => Promise<Page>;
}

/** Call within a `describe`: it starts Chromium before its tests, and closes everything after them. */
export function useChromium(): Chromium {
  let chrome: Browser;
  const used: TestDatabase[] = [];
  const samples: Sample[] = [];
  const problems: string[] = [];

  beforeAll(async () => {
    chrome = await launchChromium();
  }, TIMEOUT);
  afterAll(async () => {
    await chrome?.close();
    for (const sample of samples) await sample.close();
    for (const database of used) await database.remove();
  }, TIMEOUT);
  afterEach(async () => {
    for (const context of chrome.contexts()) await context.close();
    problems.length = 0;
  });

  return {
    problems,
    async start(env) {
      const database = await databases[0]!.create();
      used.push(database);
      const sample = await startSample(database, env);
      samples.push(sample);
      // Browsers treat this host as secure, so it may have secure cookies.
      return sample.url.replace('127.0.0.1', 'localhost');
    },
    async visit(url, options = {}) {
      const context = await chrome.newContext({ viewport: { width: 1280, height: 900 }, ...options });
      const page = await context.newPage();
      page.on('console', (message) => {
        if (['error', 'warning'].includes(message.type())) problems.push(message.text());
      });
      page.on('pageerror', (error) => problems.push(String(error)));
      await page.goto(url);
      return page;
    },
  };
}

export async function signIn(page: Page, name = 'alice'): Promise<void> {
  await page.getByRole('button', { name: `${name} ` }).click();
  await page.getByRole('button', { name: 'Sign in', exact: true }).click();
  await page.getByText(`user id ${name}`).waitFor();
}

export async function sees(page: Page, text: string | RegExp): Promise<void> {
  await page.getByText(text).first().waitFor();
}

export async function press(page: Page, name: string): Promise<void> {
  await page.getByRole('button', { name, exact: true }).click();
}

/** Chromium reports each refused request. Expected refusals are not problems. */
export function isNo401(problem: string): boolean {
  return !problem.includes('status of 401');
}
