import { mkdir } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import type { Page } from 'playwright-core';
import { beforeAll, describe, expect, it } from 'vitest';
import { chromiumPath } from '../browsers/support/programs.js';
import { isNo401, PATIENTLY, press, sees, signIn, SLOW, TIMEOUT, useChromium } from './chromium.js';
import type { Environment } from './sample.js';

const SCREENSHOTS = join(tmpdir(), 'session-tokens-screenshots');

/** The tests use real time, so times are short. Each wait is for something to appear on the page. */
const FAST: Environment = { ACCESS_TOKEN_TTL: '3s', REUSE_WINDOW: '400ms' };
/** Tokens expire during a story, but not during a sign-in. */
const STORY: Environment = { ACCESS_TOKEN_TTL: '5s', REUSE_WINDOW: '2s' };

describe.skipIf(!chromiumPath)('the page, in Chromium', { timeout: TIMEOUT }, () => {
  const { problems, start, visit } = useChromium();
  beforeAll(async () => {
    await mkdir(SCREENSHOTS, { recursive: true });
  });

  it('signs in and shows who that is', async () => {
    const page = await visit(await start(SLOW));
    await signIn(page);
    await sees(page, '"role": "admin"');
    await sees(page, 'Chrome on Linux');
    await page.reload();
    await sees(page, 'user id alice');
    await press(page, 'Sign out Chrome on Linux, this device');
    await page.getByLabel('Password').waitFor();
    await signIn(page, 'bob');
    await sees(page, '"role": "editor"');
    // A request that was in progress when alice signed out may be refused.
    expect(problems.filter(isNo401)).toEqual([]);
  });

  it('says so when the password is wrong', async () => {
    const page = await visit(await start(SLOW));
    await page.getByLabel('Name').fill('alice');
    await page.getByLabel('Password').fill('builder');
    await page.getByLabel('Password').press('Enter');
    await expect
      .poll(() => page.getByRole('alert').textContent(), PATIENTLY)
      .toBe('The name or the password is wrong.');
  });

  it('counts the access token down and shows how it is renewed, again and again', async () => {
    const page = await visit(await start(FAST));
    await signIn(page);
    const left = page.locator('#token-left');
    const seen = new Set<string | null>();
    await expect.poll(async () => seen.add(await left.textContent()).size, PATIENTLY).toBeGreaterThan(2);
    await expect.poll(() => page.locator('#renewals').textContent(), PATIENTLY).toBe('2');
    await sees(page, 'The access token was renewed.');
    await sees(page, 'user id alice');
    expect(problems).toEqual([]);
  });

  it.each([
    ['whose access token has run out', true],
    ['whose access token is good', false],
  ])('answers 20 requests at once of a browser %s', async (_, isExpired) => {
    const page = await visit(await start(SLOW));
    await signIn(page);
    await page.getByLabel('The access token has just run out').setChecked(isExpired);
    await press(page, 'Send 20 requests at once');
    await sees(page, '20 of 20 answered 200');
    expect(await page.locator('#burst li.good').count()).toBe(20);
    expect(problems).toEqual([]);
  });

  it('shows the devices and signs one out from another', async () => {
    const url = await start(FAST);
    const laptop = await visit(url);
    const phone = await visit(url, {
      userAgent:
        'Mozilla/5.0 (iPhone; CPU iPhone OS 18_0 like Mac OS X) AppleWebKit/605.1.15 (KHTML, like Gecko) Version/18.0 Mobile/15E148 Safari/604.1',
    });
    await signIn(laptop, 'bob');
    await signIn(phone, 'bob');
    await press(laptop, 'Refresh');
    await press(laptop, 'Sign out Safari on iOS');
    await sees(laptop, 'You signed out Safari on iOS.');
    expect(problems).toEqual([]);

    await sees(phone, 'This session is over: it was signed out from another device');
    await phone.getByLabel('Password').waitFor();
    await signIn(phone, 'bob');
    await press(laptop, 'Refresh');
    await press(laptop, 'Sign out all others');
    await sees(laptop, 'You signed out 1 other device.');
  });

  it('tells two browsers of one kind apart by the names that their user gives them', async () => {
    const url = await start(FAST);
    const [first, second] = [await visit(url), await visit(url)];
    await signIn(first, 'bob');
    await signIn(second, 'bob');
    await press(second, 'Rename Chrome on Linux, this device');
    const name = second.getByLabel('Name of the device');
    await name.fill('<b>Büro</b> 🖥️');
    // The list is loaded again with each new access token. That does not take away what is being typed.
    await expect.poll(() => second.locator('#renewals').textContent(), PATIENTLY).toBe('1');
    await name.press('Enter');
    await second.getByRole('button', { name: 'Sign out <b>Büro</b> 🖥️, this device' }).waitFor();
    await press(first, 'Refresh');
    await sees(first, '<b>Büro</b> 🖥️');
    await sees(first, /^Chrome on Linux · 127\.0\.0\.1 · seen (just now|\d+ minutes? ago) · signed in /);
    await press(first, 'Rename <b>Büro</b> 🖥️');
    await first.getByLabel('Name of the device').press('Escape');
    await press(first, 'Rename <b>Büro</b> 🖥️');
    await first.getByLabel('Name of the device').fill('');
    await first.getByLabel('Name of the device').press('Enter');
    await first.getByRole('button', { name: 'Sign out Chrome on Linux', exact: true }).waitFor();
    expect(problems).toEqual([]);
  });

  it('edits the session’s data', async () => {
    const page = await visit(await start(SLOW));
    await signIn(page);
    const editor = page.getByLabel('Session data as JSON');
    await editor.fill('{"theme": dark}');
    await press(page, 'Save');
    await sees(page, 'That is not JSON yet');
    await editor.fill('{"theme": "<b>dark</b>"}');
    await press(page, 'Save');
    await sees(page, /^Saved at/);
    await editor.fill('');
    await press(page, 'Load again');
    await expect.poll(() => editor.inputValue(), PATIENTLY).toBe('{\n  "theme": "<b>dark</b>"\n}');
    expect(problems).toEqual([]);
  });

  it('signs out', async () => {
    const page = await visit(await start(SLOW));
    await signIn(page);
    await press(page, 'Sign out');
    await sees(page, 'You signed out.');
    expect(await page.context().cookies()).toEqual([]);
    expect(await page.getByText('user id alice').isVisible()).toBe(false);
    expect(problems.filter(isNo401)).toEqual([]);
  });

  it('notices that another tab has signed out', async () => {
    const page = await visit(await start(SLOW));
    await signIn(page);
    const other = await page.context().newPage();
    await other.goto(page.url());
    await press(other, 'Sign out');
    await page.bringToFront();
    await expect.poll(() => page.getByLabel('Password').isVisible(), PATIENTLY).toBe(true);
  });

  it('explains what to do where the browser keeps no secure cookies', async () => {
    const url = (await start(SLOW)).replace('localhost', 'app.test');
    const page = await visit(url);
    await page.getByRole('button', { name: 'alice ' }).click();
    await press(page, 'Sign in');
    await sees(page, 'COOKIE_SECURE=false');
    expect(await page.getByLabel('Password').isVisible()).toBe(true);

    const plain = await visit(
      (await start({ ...SLOW, COOKIE_SECURE: 'false' })).replace('localhost', 'app.test'),
    );
    await signIn(plain);
  });

  describe.each<Environment>([
    {},
    { HTTP_ADAPTER: 'fastify' },
    { REFRESH_MODE: 'endpoint', CSRF: 'token' },
    { REFRESH_MODE: 'endpoint', CSRF: 'header', HTTP_ADAPTER: 'fastify' },
  ])('with %j', (env) => {
    it('renews, survives 20 requests at once and a reload, and signs out', async () => {
      const page = await visit(await start({ ...FAST, ...env }));
      await signIn(page);
      await expect.poll(() => page.locator('#renewals').textContent(), PATIENTLY).toBe('1');
      await press(page, 'Send 20 requests at once');
      await sees(page, '20 of 20 answered 200');
      await page.reload();
      await sees(page, 'user id alice');
      await press(page, 'Save');
      await sees(page, /^Saved at/);
      await press(page, 'Sign out');
      await sees(page, 'You signed out.');
      expect(problems.filter(isNo401)).toEqual([]); // in endpoint mode they say "try refresh"
    });
  });

  // The thief's story does not depend on the CSRF mode.
  describe.each<Environment>([{}, { REFRESH_MODE: 'endpoint', CSRF: 'token', HTTP_ADAPTER: 'fastify' }])(
    'with %j',
    (env) => {
      it('catches a thief who renews first when the owner carries on', async () => {
        const page = await visit(await start({ ...STORY, ...env }));
        await signIn(page);
        await play(page, 1, 2);
        await sees(page, 'It works: to the server the thief is alice.');
        await sees(page, /Wait \d+ s,/);
        await play(page, 3);
        await sees(page, 'You have not noticed.');
        await play(page, 4);
        await sees(page, 'Caught. Your browser presented its refresh token in good faith');
        await page.getByLabel('Password').waitFor();
        await play(page, 5);
        await sees(page, 'Refused. The thief’s tokens');
        await press(page, 'Go to sign-in');
        expect(await page.evaluate('document.activeElement.id')).toBe('username');
        await signIn(page);
        await page.getByRole('button', { name: 'Copy my cookies' }).waitFor();
        expect(problems.filter(isNo401)).toEqual([]);
      });

      it('catches a thief at once who renews after the owner', async () => {
        const page = await visit(await start({ ...STORY, ...env }));
        await signIn(page);
        await page.getByLabel('You do').check();
        await play(page, 1, 2, 3, 4);
        await sees(page, 'Caught. The thief presented a refresh token that you had exchanged already');
        await sees(page, 'user id alice'); // who has not noticed yet
        await play(page, 5);
        await sees(page, 'You are signed out as well.');
        await page.getByLabel('Password').waitFor();
        expect(problems.filter(isNo401)).toEqual([]);
      });
    },
  );

  describe.each(['light', 'dark'] as const)('in a %s scheme', (colorScheme) => {
    it.each([390, 1280])('fits a screen of %i pixels', async (width) => {
      const page = await visit(await start(STORY), { viewport: { width, height: 844 }, colorScheme });
      const shoot = async (name: string) => {
        await page.evaluate('scrollTo(0, 0)');
        await page.screenshot({
          path: join(SCREENSHOTS, `${name}-${width}-${colorScheme}.png`),
          fullPage: true,
        });
        expect(await page.evaluate('document.documentElement.scrollWidth')).toBeLessThanOrEqual(width);
      };
      await shoot('sign-in');
      await signIn(page);
      await press(page, 'Send 20 requests at once');
      await sees(page, '20 of 20 answered 200');
      await play(page, 1, 2);
      await sees(page, /Wait \d+ s,/);
      await shoot('signed-in');
      await play(page, 3, 4, 5);
      await sees(page, 'A sign-in begins a new chain');
      await shoot('caught');
    });
  });
});

/** Presses the buttons of the steps of the theft one after the other, each as soon as it is enabled. */
async function play(page: Page, ...steps: number[]): Promise<void> {
  for (const step of steps) {
    await page.locator(`#theft-steps > .current:nth-child(${step}) button:enabled`).click();
  }
}
