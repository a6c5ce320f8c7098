import { randomBytes } from 'node:crypto';
import { type SessionEvent } from 'nestjs-session-tokens';
import { describe, expect, it } from 'vitest';
import { adapters } from '../support/app.js';
import type { Browser } from '../support/browser.js';
import { pass } from '../support/time.js';
import {
  type AccountApp,
  accountApps,
  clearsCookies,
  cookieOf,
  ACCESS,
  MARKER,
  moveOn,
  refusal,
  REFRESH,
  tokenIdOf,
} from './account-app.js';

/** Lets a browser prove its next generation. @returns its refresh token of before, which looks old now */
async function spend(browser: Browser): Promise<string> {
  const { value } = cookieOf(browser, 'session_refresh');
  await moveOn(browser);
  return value;
}

/** What has the form of a refresh token. */
function wellFormed(): string {
  const bytes = randomBytes(71);
  bytes[0] = 1;
  return bytes.toString('base64url');
}

const cookies = (tokens: readonly string[]) => tokens.map((token) => `${REFRESH}=${token}`);

/** Cookies that somebody with a sibling subdomain sets for the parent domain. The browser sends them beside the client's own. */
const plants: [string, (app: AccountApp) => Promise<string[]>][] = [
  [
    'a good token',
    async (app) => cookies([cookieOf(await app.signIn({ userId: 'mallory' }), 'session_refresh').value]),
  ],
  ['a spent token', async (app) => cookies([await spend(await app.signIn({ userId: 'mallory' }))])],
  [
    'a spent token, and the marker that makes it a theft',
    async (app) => {
      const spent = await spend(await app.signIn({ userId: 'mallory' }));
      return [...cookies([spent]), `${MARKER}=${tokenIdOf(spent)}`];
    },
  ],
  [
    'several spent tokens with their markers',
    async (app) => {
      const tokens = [];
      for (const userId of ['mallory', 'trudy', 'eve'])
        tokens.push(await spend(await app.signIn({ userId })));
      return [...cookies(tokens), `${MARKER}=${tokens.map(tokenIdOf).join('.')}`];
    },
  ],
  [
    'the token of a session that has ended long ago, and its marker',
    async (app) => {
      const mallory = await app.signIn({ userId: 'mallory' });
      const { value } = cookieOf(mallory, 'session_refresh');
      await app.sessions.revokeAllForUser('mallory');
      pass('1h');
      return [...cookies([value]), `${MARKER}=${tokenIdOf(value)}`];
    },
  ],
  ['a lot of junk', async () => cookies(Array.from({ length: 250 }, (_, n) => `j${n}`))],
  ['a few forged tokens', async () => cookies(Array.from({ length: 12 }, wellFormed))],
];

describe.each(adapters)('beside the client’s own refresh cookie over %s,', (adapter) => {
  const start = accountApps(adapter);

  const setUp = async (plant: (app: AccountApp) => Promise<string[]>) => {
    const app = await start();
    const planted = await plant(app);
    const browser = await app.signIn();
    const victim: SessionEvent[] = [];
    app.sessions.events.subscribe((event) => {
      if ('userId' in event && event.userId === 'alice') victim.push(event);
    });
    /** Both orders occur: browsers send the cookie with the longer path first, and then the older one. */
    const headers = (own: string) => [
      { cookie: [...planted, own].join('; ') },
      { cookie: [own, ...planted].join('; ') },
    ];
    return { app, browser, headers, victim };
  };

  it.each(plants)('%s neither signs it out nor keeps it from going on', async (_, plant) => {
    const { browser, headers, victim } = await setUp(plant);
    const own = browser
      .cookieHeader('/')
      .split('; ')
      .find((each) => each.startsWith(REFRESH))!;
    pass('16m');
    for (const each of headers(own)) {
      const answer = await browser.get('/me', { headers: each, follows: false });
      expect(answer.status).toBe(200);
      expect(clearsCookies(answer)).toBe(false);
    }
    expect(victim.map(({ type }) => type)).not.toContain('theft');
  });

  // A good token of the attacker is a session: only a "__Host-" name keeps a browser from sending it.
  it.each(plants.slice(1))('%s does not sign it out when its own looks old', async (_, plant) => {
    const { browser, headers } = await setUp(plant);
    const late = browser.cookieHeader('/');
    await spend(browser);
    for (const each of headers(late)) {
      const answer = await browser.get('/me', { headers: each, follows: false });
      expect(answer).toMatchObject(refusal(307, 'look_again'));
      expect(clearsCookies(answer)).toBe(false);
    }
    expect(await browser.get('/me')).toMatchObject({ status: 200, body: { userId: 'alice' } });
  });

  it.each(plants.slice(1))('%s does not clear the cookies of a sign-in in another tab', async (_, plant) => {
    const { browser, headers } = await setUp(plant);
    const late = browser.cookieHeader('/');
    await browser.post('/login', { userId: 'alice' });
    for (const each of headers(late)) {
      const answer = await browser.get('/me', { headers: each, follows: false });
      expect(clearsCookies(answer)).toBe(false);
    }
    expect(await browser.get('/me')).toMatchObject({ status: 200, body: { userId: 'alice' } });
  });

  it.each([
    ['junk', () => randomBytes(6).toString('hex')],
    [
      'tokens with a forged signature',
      () => `eyJhbGciOiJIUzI1NiJ9.e30.${randomBytes(8).toString('base64url')}`,
    ],
  ])('any number of access cookies with %s do not keep it from going on', async (_, make) => {
    const { browser } = await setUp(async () => []);
    const planted = Array.from({ length: 150 }, () => `${ACCESS}=${make()}`).join('; ');
    for (const cookie of [
      `${planted}; ${browser.cookieHeader('/')}`,
      `${browser.cookieHeader('/')}; ${planted}`,
    ]) {
      const answer = await browser.get('/me', { headers: { cookie }, follows: false });
      expect(answer).toMatchObject({ status: 200, body: { userId: 'alice' } });
    }
  });

  it('forged tokens beside one whose key cannot be looked up yet clear nothing', async () => {
    const { browser } = await setUp(async () => []);
    const unknown = wellFormed();
    const forged = Buffer.from(wellFormed(), 'base64url');
    forged.writeUInt32BE(1, 1);
    const tokens = cookies([unknown, forged.toString('base64url')]);
    // It causes the look-up; the next ones come before the cooldown is over.
    await browser.get('/me', { headers: { cookie: cookies([unknown]).join('; ') } });
    for (const each of [tokens, tokens.toReversed()]) {
      const answer = await browser.get('/me', { headers: { cookie: each.join('; ') } });
      expect(answer).toMatchObject(refusal(401, 'session_over'));
      expect(clearsCookies(answer)).toBe(false);
    }
  });

  it('more forged tokens than are looked at clear nothing', async () => {
    const { browser, headers } = await setUp(async () => cookies(Array.from({ length: 100 }, wellFormed)));
    const own = browser
      .cookieHeader('/')
      .split('; ')
      .find((each) => each.startsWith(REFRESH))!;
    pass('16m');
    const [last, first] = headers(own);
    const hidden = await browser.get('/me', { headers: last!, follows: false });
    expect(hidden).toMatchObject(refusal(401, 'session_over'));
    expect(clearsCookies(hidden)).toBe(false);
    expect((await browser.get('/me', { headers: first!, follows: false })).status).toBe(200);
  });
});
