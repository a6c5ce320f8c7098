import { setTimeout as sleep } from 'node:timers/promises';
import type { Site } from './site.js';

/** A tab of a browser, with either driver. */
export interface Tab {
  goto(url: string): Promise<{ status(): number } | null>;
  evaluate(expression: string): Promise<unknown>;
}

/** Signs somebody in on the page at `url`. */
export async function signIn(tab: Tab, url: string, userId: string): Promise<{ expiresAt: number }> {
  await tab.goto(`${url}/`);
  return (await tab.evaluate(`signIn(${JSON.stringify(userId)})`)) as { expiresAt: number };
}

/** Waits until an access token has expired. */
export async function until(time: number): Promise<void> {
  await sleep(Math.max(0, time - Date.now()) + 10);
}

/** Waits until a condition is true. */
export async function untilTrue(holds: () => boolean | Promise<boolean>): Promise<void> {
  while (!(await holds())) await sleep(20);
}

/**
 * A user goes on using the site. So the browser gets new tokens, and uses them when they have settled. This proves their
 * generation.
 *
 * @param visit a request to a guarded page
 */
export async function moveOn(site: Site, userId: string, visit: () => Promise<unknown>): Promise<void> {
  const { generation } = await site.row(userId);
  await untilTrue(async () => {
    await visit();
    await sleep(250);
    return (await site.row(userId)).generation > generation;
  });
}

/** Whether the browser is signed in: the status of a guarded page. */
export async function visits(tab: Tab, url: string): Promise<number | undefined> {
  return (await tab.goto(`${url}/home`))?.status();
}
