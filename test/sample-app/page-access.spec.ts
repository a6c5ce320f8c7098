import { mkdir } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import type { Page } from 'playwright-core';
import { describe, expect, it } from 'vitest';
import { Browser } from '../support/browser.js';
import { chromiumPath } from '../browsers/support/programs.js';
import { PATIENTLY, press, sees, signIn, SLOW, TIMEOUT, useChromium } from './chromium.js';

const SCREENSHOTS = join(tmpdir(), 'session-tokens-screenshots');
const OTHER = '#devices > li:not(.current)';
const CHROME =
  'Mozilla/5.0 (X11; Linux x86_64) AppleWebKit/537.36 (KHTML, like Gecko) Chrome/140.0.0.0 Safari/537.36';

/** Signs alice in on another device. @returns its client */
async function another(url: string, label?: string, address = '192.0.2.1'): Promise<Browser> {
  const browser = new Browser(url.replace('localhost', '127.0.0.1'));
  const headers = { 'user-agent': CHROME, 'x-forwarded-for': address };
  const { body } = await browser.post('/login', { username: 'alice', password: 'wonderland' }, { headers });
  const { sessionId } = body as { sessionId: string };
  if (label !== undefined) await browser.request('PATCH', `/sessions/${sessionId}`, { body: { label } });
  return browser;
}

const focus = async (page: Page) =>
  page.evaluate('document.activeElement.id || document.activeElement.outerHTML');

describe.skipIf(!chromiumPath)('the page for everybody, in Chromium', { timeout: 2 * TIMEOUT }, () => {
  const { start, visit } = useChromium();

  it('never leaves the focus nowhere', async () => {
    const url = await start(SLOW);
    await another(url, 'Phone');
    await another(url, 'Tablet');
    const page = await visit(url);
    await page.getByLabel('Name').fill('alice');
    await page.getByLabel('Password').fill('wonderland');
    await page.keyboard.press('Enter');
    await page.locator(OTHER).nth(1).waitFor();
    expect(await focus(page)).toBe('me-title');

    // Each action by keyboard: what to press, what tells that it is done, what then has the focus.
    const steps: [pressed: string, done: string, focused: RegExp][] = [
      ['#request-now', 'GET /me answered 200', /^request-now$/],
      ['#devices-reload', 'The list is up to date.', /^devices-reload$/],
      ['#burst-start', '20 of 20 answered 200', /^burst-start$/],
      ['#data-save', 'Saved at', /^data-save$/],
      ['#data-load', 'Loaded.', /^data-load$/],
      ['[aria-label="Rename Phone"]', 'Cancel', /^<input/],
      [`${OTHER} button:text("Cancel")`, 'Phone', /^<button.*aria-label="Rename Phone"/],
      ['[aria-label="Rename Phone"]', 'Cancel', /^<input/],
      [
        `${OTHER} button:text("Save")`,
        'The device is called “Phone” now.',
        /^<button.*aria-label="Rename Phone"/,
      ],
      ['[aria-label="Sign out Phone"]', 'You signed out Phone.', /^<li.*class="gone".*You signed out Phone/],
    ];
    for (const [pressed, done, focused] of steps) {
      await page.locator(pressed).focus();
      await page.keyboard.press('Enter');
      await sees(page, done);
      await page.waitForTimeout(50);
      expect([pressed, await focus(page)]).toEqual([pressed, expect.stringMatching(focused)]);
    }

    // The row that had the focus goes with the next list, and the button has nothing more to do.
    await page.evaluate("document.dispatchEvent(new Event('visibilitychange'))");
    await expect.poll(() => focus(page), PATIENTLY).toBe('devices-title');
    await page.locator('#sign-out-others').focus();
    await page.keyboard.press('Enter');
    await sees(page, 'You signed out 1 other device.');
    await expect.poll(() => focus(page), PATIENTLY).toBe('devices-title');

    await page.locator('#sign-out').focus();
    await page.keyboard.press('Enter');
    await sees(page, 'You signed out.');
    expect(await focus(page)).toBe('sign-in-title');
  });

  it('moves the focus to the sign-in when the session ends while somebody types', async () => {
    const url = await start({ ...SLOW, REVOCATION: 'database' });
    const page = await visit(url);
    await signIn(page);
    await page.locator('#data').focus();
    const phone = await another(url);
    await phone.request('DELETE', '/sessions');
    await page.evaluate("document.dispatchEvent(new Event('visibilitychange'))");
    await sees(page, 'This session is over');
    expect(await focus(page)).toBe('sign-in-title');
  });

  it('offers to sign all others out only where there are others', async () => {
    const url = await start(SLOW);
    const page = await visit(url);
    await signIn(page);
    const button = page.locator('#sign-out-others');
    await sees(page, 'active now');
    expect(await button.isDisabled()).toBe(true);
    await another(url, 'Phone');
    await press(page, 'Refresh');
    await page.locator(OTHER).waitFor();
    expect(await button.isEnabled()).toBe(true);
    await press(page, 'Sign out Phone');
    await sees(page, 'You signed out Phone.');
    expect(await button.isDisabled()).toBe(true);
    await another(url, 'Tablet');
    await press(page, 'Refresh');
    await press(page, 'Sign out all others');
    await sees(page, 'You signed out 1 other device.');
    expect(await button.isDisabled()).toBe(true);
  });

  it.each([
    [
      'by their addresses',
      ['192.0.2.1', '192.0.2.2'],
      [/^Chrome on Linux \(192\.0\.2\.2\)$/, /^Chrome on Linux \(192\.0\.2\.1\)$/],
    ],
    [
      'by the time of their sign-in',
      ['192.0.2.1', '192.0.2.1'],
      [/^Chrome on Linux \(signed in .+\)$/, /^Chrome on Linux \(signed in .+\)$/],
    ],
  ])('tells browsers of one kind apart %s', async (_, addresses, names) => {
    const url = await start({ ...SLOW, TRUST_PROXY: '1' });
    const page = await visit(url);
    await signIn(page);
    for (const address of addresses) {
      await another(url, undefined, address);
      await page.waitForTimeout(1_100); // people do not sign in twice within a second
    }
    await press(page, 'Refresh');
    await page.locator(OTHER).nth(1).waitFor();
    const shown = await page.locator(`${OTHER} bdi`).allTextContents();
    expect(shown).toEqual(names.map((name) => expect.stringMatching(name)));
    expect(new Set(shown).size).toBe(2);
    expect(await page.locator('#devices > li.current .badge').textContent()).toBe('this device');
    for (const name of shown)
      expect(await page.getByRole('button', { name: `Sign out ${name}`, exact: true }).count()).toBe(1);
  });

  it('says times in words that stay right', async () => {
    const url = await start(SLOW);
    await another(url, 'Phone');
    const page = await visit(url);
    await page.clock.install();
    await signIn(page);
    const seen = page.locator(`${OTHER} time`).first();
    expect(await seen.textContent()).toBe('just now');
    expect(Date.now() - Date.parse((await seen.getAttribute('datetime'))!)).toBeLessThan(TIMEOUT);
    expect(await seen.getAttribute('title')).toMatch(/\d{4}.*\d:\d\d:\d\d/);
    await page.route('**/sessions', async (route) => route.abort()); // the words change without the server
    for (const [minutes, words] of [
      [2, '2 minutes ago'],
      [58, '1 hour ago'],
      [60 * 48, '2 days ago'],
    ] as const) {
      await page.clock.fastForward(minutes * 60_000);
      await expect.poll(() => seen.textContent(), PATIENTLY).toBe(words);
    }
  });

  const LONG = 'W'.repeat(64);
  const HEBREW = 'הטלפון של עליזה (ישן)';

  describe.each(['light', 'dark'] as const)('in a %s scheme', (colorScheme) => {
    it.each([
      ['a text size of 200 %', 1280, 200],
      ['a text size of 200 % on a phone', 390, 200],
      ['a width of 320 pixels', 320, 100],
    ])('cuts nothing off at %s', async (_, width, percent) => {
      await mkdir(SCREENSHOTS, { recursive: true });
      const url = await start({ ...SLOW, SIGN_IN_ATTEMPTS: '1' });
      await another(url, LONG);
      await another(url, HEBREW);
      await another(url);
      const page = await visit(url, { viewport: { width, height: 800 }, colorScheme });
      const check = async (name: string) => {
        await page.addStyleTag({ url: `/page/style.css` });
        await page.evaluate(`document.documentElement.style.fontSize = '${percent}%'`);
        await page.evaluate('scrollTo(0, 0)');
        await page.screenshot({
          path: join(SCREENSHOTS, `${name}-${width}-${percent}-${colorScheme}.png`),
          fullPage: true,
        });
        expect([name, Number(await page.evaluate('document.documentElement.scrollWidth')) <= width]).toEqual([
          name,
          true,
        ]);
        expect([name, await page.evaluate(CUT_OFF)]).toEqual([name, []]);
        expect([name, await page.evaluate(OVERLAPPING)]).toEqual([name, []]);
      };
      await check('access-out');
      await page.getByLabel('Name').fill('mallory');
      await page.getByLabel('Password').fill('x');
      await press(page, 'Sign in');
      await sees(page, 'The name or the password is wrong.');
      await press(page, 'Sign in');
      await sees(page, 'Too many attempts');
      await check('access-refused');
      await signIn(page);
      await press(page, 'Send 20 requests at once');
      await sees(page, '20 of 20 answered 200');
      await page.getByRole('button', { name: 'Copy my cookies' }).click();
      await page.getByRole('button', { name: `Rename ${HEBREW}` }).click();
      await page.route('**/logout', async (route) => route.abort());
      await press(page, 'Sign out');
      await sees(page, 'You may still be signed in.');
      await check('access-in');
    });
  });
});

/** Visible elements whose content is wider than they are, or that reach beyond the window. */
const CUT_OFF = `[...document.querySelectorAll('body *')]
  .filter((each) => each.checkVisibility() && !each.closest('.visually-hidden, svg, .bar'))
  .filter((each) => {
    const { left, right, width } = each.getBoundingClientRect();
    const isScrollable = ['INPUT', 'TEXTAREA'].includes(each.tagName);
    if (width === 0) return false;
    return right > innerWidth + 1 || left < -1 || (!isScrollable && each.scrollWidth > each.clientWidth + 1 && each.clientWidth > 0);
  })
  .map((each) => each.outerHTML.slice(0, 120))`;

/** Controls and texts that lie upon each other, though none is within the other. */
const OVERLAPPING = `(() => {
  const all = [...document.querySelectorAll('button, input, textarea, h1, h2, .result, .hint, .notice, dt, dd, legend, bdi, .badge, .brand, .outcome')]
    .filter((each) => each.checkVisibility({ opacityProperty: true }) && !each.closest('.visually-hidden'))
    .map((each) => ({ each, box: each.getBoundingClientRect() }))
    .filter(({ box }) => box.width > 0 && box.height > 0);
  return all.flatMap((a, index) => all.slice(index + 1).filter((b) =>
    !a.each.contains(b.each) && !b.each.contains(a.each) &&
    Math.min(a.box.right, b.box.right) - Math.max(a.box.left, b.box.left) > 2 &&
    Math.min(a.box.bottom, b.box.bottom) - Math.max(a.box.top, b.box.top) > 2)
    .map((b) => a.each.outerHTML.slice(0, 80) + ' | ' + b.each.outerHTML.slice(0, 80)));
})()`;
