import type { Page, Route } from 'playwright-core';
import { describe, expect, it } from 'vitest';
import { Browser } from '../support/browser.js';
import { chromiumPath } from '../browsers/support/programs.js';
import { PATIENTLY, signIn, SLOW, TIMEOUT, useChromium } from './chromium.js';

/** What the page knows after a failure: nothing was done, or nobody knows. */
type Knowledge = 'refused' | 'unsure';

const json =
  (status: number, code: string, headers = {}) =>
  async (route: Route) =>
    route.fulfill({ status, headers, json: { statusCode: status, code, message: `Text of ${code}` } });
const UNREACHABLE = 'No answer came from the server.';
const AGAIN = 'Try again.';
const HANGS = 'no answer in time';

/** Every way to fail. `isLost` does what was asked for, and loses the answer. */
const FAILURES: {
  readonly failure: string;
  readonly answer: (route: Route) => Promise<void>;
  readonly message: string;
  readonly knowledge: Knowledge;
  readonly offer: string;
}[] = [
  {
    failure: 'no network',
    answer: async (route) => route.abort('internetdisconnected'),
    message: UNREACHABLE,
    knowledge: 'unsure',
    offer: AGAIN,
  },
  {
    failure: 'an aborted request',
    answer: async (route) => route.abort('aborted'),
    message: UNREACHABLE,
    knowledge: 'unsure',
    offer: AGAIN,
  },
  {
    failure: HANGS,
    answer: async () => {},
    message: UNREACHABLE,
    knowledge: 'unsure',
    offer: AGAIN,
  },
  {
    failure: '503 with Retry-After',
    answer: json(503, 'storage_unavailable', { 'retry-after': '7' }),
    message: 'The server cannot do this at the moment.',
    knowledge: 'unsure',
    offer: 'Try again in 7 seconds.',
  },
  {
    failure: '503 of a proxy',
    answer: async (route) => route.fulfill({ status: 503, contentType: 'text/html', body: '<h1>503</h1>' }),
    message: 'The server cannot do this at the moment.',
    knowledge: 'unsure',
    offer: AGAIN,
  },
  {
    failure: '500',
    answer: json(500, 'oops'),
    message: 'The server had a problem (500).',
    knowledge: 'unsure',
    offer: AGAIN,
  },
  {
    failure: '429',
    answer: json(429, 'slow_down', { 'retry-after': '1' }),
    message: 'The server has had too many requests.',
    knowledge: 'refused',
    offer: 'Try again in 1 second.',
  },
  {
    failure: '403',
    answer: json(403, 'csrf_failed'),
    message:
      'The server refused this, because it could not tell that it came from this page. Reload the page.',
    knowledge: 'refused',
    offer: '',
  },
  {
    failure: 'the sign-in page of a network',
    answer: async (route) => route.fulfill({ contentType: 'text/html', body: '<h1>Hotel</h1>' }),
    message: 'Something else than the server answered. Does your network want you to sign in?',
    knowledge: 'unsure',
    offer: AGAIN,
  },
];

interface Action {
  readonly action: string;
  /** The request that fails: method and path. */
  readonly request: [method: string, path: RegExp];
  /** The element beside the button that says what came of it. */
  readonly place: string;
  readonly button: string;
  /** Goes before {@link button}. */
  readonly prepare?: (page: Page) => Promise<void>;
  readonly refused: string;
  readonly unsure: string;
  /** What is on display, before and after each failure. */
  readonly shows: string;
  /** What comes when it is tried again without a failure: a text that is on display. */
  readonly done: string | RegExp;
}

const OTHER = '#devices > li:not(.current)';
const THIS = '#devices > li.current';
const OLD_LIST = 'The list may be out of date.';
const OLD_DATA = 'What the field shows may not be what is kept.';
const IN = '#me-title';

/** Every button that sends a request, while somebody is signed in on this device and on one called “Phone”. */
const ACTIONS: Action[] = [
  {
    action: 'sign out',
    request: ['POST', /\/logout$/],
    place: '#account-result',
    button: '#sign-out',
    refused: 'You are still signed in.',
    unsure: 'You may still be signed in.',
    shows: IN,
    done: 'You signed out.',
  },
  {
    action: 'make a request',
    request: ['GET', /\/me$/],
    place: '#request-result',
    button: '#request-now',
    refused: '',
    unsure: '',
    shows: IN,
    done: 'GET /me answered 200',
  },
  {
    action: 'refresh the list',
    request: ['GET', /\/sessions$/],
    place: '#devices-result',
    button: '#devices-reload',
    refused: OLD_LIST,
    unsure: OLD_LIST,
    shows: OTHER,
    done: 'The list is up to date.',
  },
  {
    action: 'show more devices',
    request: ['GET', /\/sessions\?after=/],
    place: '#more-result',
    button: '#devices-more',
    prepare: pretendMore,
    refused: 'There are more devices than the list shows.',
    unsure: 'There are more devices than the list shows.',
    shows: OTHER,
    done: 'Phone',
  },
  {
    action: 'sign another device out',
    request: ['DELETE', /\/sessions\/.+/],
    place: '#devices > li:last-child .result',
    button: `${OTHER} button:text("Sign out")`,
    refused: 'Phone is still signed in.',
    unsure: 'Phone may still be signed in.',
    shows: `${OTHER}:has-text("seen just now")`,
    done: 'You signed out Phone.',
  },
  {
    action: 'sign this device out in the list',
    request: ['DELETE', /\/sessions\/.+/],
    place: `${THIS} .result`,
    button: `${THIS} button:text("Sign out")`,
    refused: 'You are still signed in.',
    unsure: 'You may still be signed in.',
    shows: IN,
    done: 'You signed this device out.',
  },
  {
    action: 'rename a device',
    request: ['PATCH', /\/sessions\/.+/],
    place: `#devices > li:last-child .result`,
    button: `${OTHER} button:text("Save")`,
    prepare: async (page) => {
      await page.click(`${OTHER} button:text("Rename")`);
      await page.fill(`${OTHER} input`, 'Tablet');
    },
    refused: 'The name has not changed.',
    unsure: 'The name may not have changed.',
    shows: `${OTHER} input`,
    done: 'The device is called “Tablet” now.',
  },
  {
    action: 'sign all others out',
    request: ['DELETE', /\/sessions$/],
    place: '#others-result',
    button: '#sign-out-others',
    refused: 'The other devices are still signed in.',
    unsure: 'The other devices may still be signed in.',
    shows: OTHER,
    done: 'You signed out 1 other device.',
  },
  {
    action: 'prepare 20 requests',
    request: ['POST', /owner-refresh$/],
    place: '#burst-result',
    button: '#burst-start',
    refused: '',
    unsure: '',
    shows: IN,
    done: '20 of 20 answered 200',
  },
  {
    action: 'save the data',
    request: ['PUT', /\/data$/],
    place: '#data-result',
    button: '#data-save',
    prepare: async (page) => page.fill('#data', '{"a":1}'),
    refused: 'Nothing was saved.',
    unsure: 'It may not have been saved.',
    shows: IN,
    done: 'Saved at',
  },
  {
    action: 'load the data',
    request: ['GET', /\/data$/],
    place: '#data-result',
    button: '#data-load',
    refused: OLD_DATA,
    unsure: OLD_DATA,
    shows: IN,
    done: 'Loaded.',
  },
  {
    action: 'have the cookies copied',
    request: ['POST', /theft\/copy$/],
    place: '#theft-steps > .current .outcome',
    button: '#theft-steps > .current button',
    refused: 'This step was not done.',
    unsure: 'This step may not have been done.',
    shows: '#theft-steps > .current:first-child',
    done: 'The thief now holds your access token',
  },
  {
    action: 'let the thief act',
    request: ['POST', /theft\/act$/],
    place: '#theft-steps > .current .outcome',
    button: '#theft-steps > .current button',
    prepare: async (page) => {
      await page.click('#theft-steps > .current button');
      await page.locator('#theft-steps > .current:nth-child(2)').waitFor();
    },
    refused: 'This step was not done.',
    unsure: 'This step may not have been done.',
    shows: '#theft-steps > .current:nth-child(2)',
    done: 'It works: to the server the thief is alice.',
  },
];

const SIGN_IN: Pick<Action, 'place' | 'button' | 'refused' | 'unsure' | 'shows' | 'done'> = {
  place: '#sign-in-message',
  button: '#sign-in [type=submit]',
  refused: '',
  unsure: 'It is not certain whether you are signed in.',
  shows: '#password',
  done: 'user id alice',
};
const fillIn = async (page: Page) => page.getByRole('button', { name: 'alice ' }).click();

/** Those of somebody who is not signed in. */
const ARRIVALS: Action[] = [
  { action: 'sign in', request: ['POST', /\/login$/], prepare: fillIn, ...SIGN_IN },
  { action: 'see who has signed in', request: ['GET', /\/me$/], prepare: fillIn, ...SIGN_IN },
];

const UNKNOWN = 'So this page does not know whether you are signed in.';

/** What the page asks for by itself when it begins. */
const STARTS: { readonly first: string; readonly path: RegExp }[] = [
  { first: 'the settings', path: /settings\.json$/ },
  { first: 'who is signed in', path: /\/me$/ },
];

async function failAll(
  page: Page,
  { request: [method, path], place, button, refused, unsure, shows, done, prepare }: Action,
) {
  await prepare?.(page);
  for (const { failure, answer, message, knowledge, offer } of FAILURES) {
    await page.locator(shows).waitFor();
    let failed = 0;
    const fail = async (route: Route) => {
      if (route.request().method() !== method) return route.fallback();
      failed += 1;
      return answer(route);
    };
    await page.route(path, fail);
    await setImpatient(page, failure === HANGS);
    await page.locator(button).click();
    const text = [message, knowledge === 'refused' ? refused : unsure, offer].filter(Boolean).join(' ');
    await expect.poll(() => page.locator(place).textContent(), { ...PATIENTLY, message: failure }).toBe(text);
    expect([failure, failed > 0]).toEqual([failure, true]);
    expect([failure, await page.locator(shows).isVisible()]).toEqual([failure, true]);
    expect([failure, await isBeside(page, place, button)]).toEqual([failure, true]);
    await setImpatient(page, false);
    await page.unroute(path, fail);
  }
  // Playwright waits until the button is enabled again.
  await page.locator(button).click();
  await page.getByText(done).first().waitFor();
}

const lose = async (route: Route) => {
  // Not by the browser, which would keep the cookies of the answer.
  const { cookie = '' } = await route.request().allHeaders();
  await fetch(route.request().url().replace('localhost', '127.0.0.1'), {
    method: 'POST',
    headers: { cookie },
  });
  await route.abort();
};

describe.skipIf(!chromiumPath)(
  'what the page says when something fails, in Chromium',
  { timeout: 3 * TIMEOUT },
  () => {
    const { problems, start, visit } = useChromium();

    /** The page of alice, who is also signed in on a device called “Phone”. */
    async function arrive(): Promise<{ page: Page; phone: Browser }> {
      const url = await start(SLOW);
      const phone = new Browser(url.replace('localhost', '127.0.0.1'));
      const { body } = await phone.post('/login', { username: 'alice', password: 'wonderland' });
      const { sessionId } = body as { sessionId: string };
      await phone.request('PATCH', `/sessions/${sessionId}`, { body: { label: 'Phone' } });
      const page = await visit(url);
      await signIn(page);
      await page.locator(OTHER).waitFor();
      await expect.poll(() => page.locator('#data').inputValue(), PATIENTLY).toBe('{}');
      return { page, phone };
    }

    it.each(ACTIONS)('says what is true, and lets the user try again: $action', async (action) => {
      const { page } = await arrive();
      await failAll(page, action);
      expect(problems.filter(isUnexpected)).toEqual([]);
    });

    it.each(ARRIVALS)('says what is true, and lets the user try again: $action', async (action) => {
      await failAll(await visit(await start(SLOW)), action);
      expect(problems.filter(isUnexpected)).toEqual([]);
    });

    it.each(STARTS)(
      'shows nobody as signed in or out before the server has said $first',
      async ({ path }) => {
        const { page } = await arrive();
        // The page cannot be made impatient before it begins.
        for (const { failure, answer, message, offer } of FAILURES.filter((each) => each.failure !== HANGS)) {
          await page.route(path, answer);
          await page.reload();
          const text = [message, UNKNOWN, offer].filter(Boolean).join(' ');
          await expect
            .poll(() => page.locator('#start-result').textContent(), { ...PATIENTLY, message: failure })
            .toBe(text);
          expect([failure, await page.locator('#password').isVisible()]).toEqual([failure, false]);
          expect([failure, await page.locator(IN).isVisible()]).toEqual([failure, false]);
          await page.unroute(path);
        }
        await page.locator('#start-again').click();
        await page.getByText('user id alice').waitFor();
        expect(await page.evaluate('document.activeElement.id')).toBe('me-title');
      },
    );

    it.each(ACTIONS)(
      'shows the sign-in when the session has ended elsewhere: $action',
      async ({ prepare, button }) => {
        const { page, phone } = await arrive();
        await prepare?.(page);
        expect(await phone.request('DELETE', '/sessions')).toMatchObject({
          status: 200,
          body: { revoked: 1 },
        });
        await page.locator(button).click();
        if (button.startsWith('#theft') && prepare) {
          // The thief's request needs no session of the owner's. It says that the thief is out.
          await page.getByText('The thief is locked out').first().waitFor();
          await page.locator('#request-now').click();
        }
        await expect
          .poll(() => page.locator('#sign-in-message').textContent(), PATIENTLY)
          .toMatch(
            /^This (session is over: it was signed out from another device, or has expired\.|session was used by two parties)/,
          );
        expect(await page.locator('#password').isVisible()).toBe(true);
        expect(await page.locator(IN).isVisible()).toBe(false);
        expect(problems.filter(isUnexpected)).toEqual([]);
      },
    );

    it('learns at the second try that a sign-out was done whose answer was lost', async () => {
      const { page } = await arrive();
      await page.route(/\/logout$/, lose);
      await page.locator('#sign-out').click();
      await expect
        .poll(() => page.locator('#account-result').textContent(), PATIENTLY)
        .toContain('You may still be signed in.');
      await page.unroute(/\/logout$/, lose);
      await page.locator('#sign-out').click();
      await expect
        .poll(() => page.locator('#sign-in-message').textContent(), PATIENTLY)
        .toBe('This session is over: it was signed out.');
    });

    it('says how many of 20 requests were answered', async () => {
      const { page } = await arrive();
      await page.locator('#burst-expired').uncheck();
      let count = 0;
      await page.route(/\/me$/, async (route) => (count++ % 4 === 0 ? route.abort() : route.fallback()));
      await page.locator('#burst-start').click();
      await expect
        .poll(() => page.locator('#burst-result').textContent(), PATIENTLY)
        .toMatch(
          /^15 of 20 answered 200, in \d+ ms altogether\. No answer came from the server\. Try again\.$/,
        );
    });

    it('explains the limit of sign-ins, counts down, and lets the user try again', async () => {
      const page = await visit(await start({ ...SLOW, SIGN_IN_ATTEMPTS: '2', SIGN_IN_WINDOW: '8s' }));
      const attempt = async (password: string, name = 'alice') => {
        await page.getByLabel('Name').fill(name);
        await page.getByLabel('Password').fill(password);
        await page.getByLabel('Password').press('Enter');
      };
      const message = page.getByRole('alert');
      for (const password of ['wrong', 'still wrong']) {
        await attempt(password);
        await expect.poll(() => message.textContent(), PATIENTLY).toBe('The name or the password is wrong.');
        await page.locator('#sign-in [type=submit]:not([aria-disabled])').waitFor();
      }
      await attempt('wonderland');
      await expect
        .poll(() => message.textContent(), PATIENTLY)
        .toMatch(/^Too many attempts to sign in have failed\. Try again in \d seconds?\.$/);
      expect(await page.locator('#sign-in [type=submit]').getAttribute('aria-disabled')).toBe('true');
      expect(await page.getByText(/^0:0\d left$/).isVisible()).toBe(true);
      await expect.poll(() => message.textContent(), PATIENTLY).toBe('You can try again now.');
      await page.getByLabel('Password').press('Enter');
      await page.getByText('user id alice').waitFor();
    });
  },
);

/** Makes the page give up soon on requests that nobody answers, or wait as long as it does otherwise. */
async function setImpatient(page: Page, isImpatient: boolean): Promise<void> {
  await page.evaluate(
    `globalThis.patient ??= AbortSignal.timeout.bind(AbortSignal);
    AbortSignal.timeout = (ms) => globalThis.patient(${isImpatient} ? 3000 : ms);`,
  );
}

/** Makes the list say that there are more devices. */
async function pretendMore(page: Page): Promise<void> {
  await page.route(/\/sessions$/, async (route) => {
    if (route.request().method() !== 'GET') return route.fallback();
    const response = await route.fetch();
    if (!response.ok()) return route.fulfill({ response });
    const list = (await response.json()) as { sessions: { id: string }[]; next: string | null };
    return route.fulfill({ response, json: { ...list, next: list.sessions.at(-1)!.id } });
  });
  await page.locator('#devices-reload').click();
  await page.locator('#devices-more').waitFor();
}

/** Whether a result is on the screen where its button is: no further away than a hand's breadth. */
async function isBeside(page: Page, place: string, button: string): Promise<boolean> {
  const [a, b] = [await page.locator(place).boundingBox(), await page.locator(button).boundingBox()];
  if (!a || !b) return false;
  return Math.max(a.y - (b.y + b.height), b.y - (a.y + a.height)) < 150;
}

/** Chromium reports each failed request; these tests make them fail. */
function isUnexpected(problem: string): boolean {
  return !problem.startsWith('Failed to load resource');
}
