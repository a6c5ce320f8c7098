import { afterAll, afterEach, beforeAll, beforeEach, describe, expect, it, vi } from 'vitest';
import { readSettings } from '../../sample-app/settings.js';
import { SignInLimiter } from '../../sample-app/sign-in-limiter.js';
import { adapters } from '../support/app.js';
import { type Answer, Browser } from '../support/browser.js';
import { databases, type TestDatabase } from '../support/databases.js';
import { pass, stopClock } from '../support/time.js';
import { withCheapPasswords } from './cheap-users.js';
import { type Environment, type Sample, startSample } from './sample.js';

vi.mock('../../sample-app/users/demo-users.js', async (original) => {
  const { DEMO_USERS } = await original<typeof import('../../sample-app/users/demo-users.js')>();
  return { DEMO_USERS: withCheapPasswords(DEMO_USERS) };
});

const PASSWORDS: Readonly<Record<string, string>> = { alice: 'wonderland', bob: 'builder' };
const LIMITS: Environment = {
  SIGN_IN_ATTEMPTS: '3',
  SIGN_IN_ATTEMPTS_PER_ADDRESS: '5',
  SIGN_IN_WINDOW: '10m',
};

/** Attempts, one after the other. Each is a name with `!` for the right password, after `@` an address, or a time to wait. */
const RULES: [rule: string, attempts: string, statuses: number[]][] = [
  ['refuses a name after three failures', 'alice alice alice alice', [401, 401, 401, 429]],
  ['refuses the right password then, too', 'alice alice alice alice!', [401, 401, 401, 429]],
  ['counts an unknown name like a known one', 'nobody nobody nobody nobody', [401, 401, 401, 429]],
  ['does not count across names', 'alice alice alice bob!', [401, 401, 401, 200]],
  ['takes names as they are', 'alice alice alice ALICE', [401, 401, 401, 401]],
  ['begins anew after a success', 'alice alice alice! alice alice alice!', [401, 401, 200, 401, 401, 200]],
  ['does not count successes', 'bob! bob! bob! bob! bob! bob! bob! bob!', Array(8).fill(200)],
  ['does not count what it refuses', 'alice alice alice alice 10m alice', [401, 401, 401, 429, 401]],
  ['forgets after the time', 'alice alice alice 10m alice!', [401, 401, 401, 200]],
  ['does not forget before', 'alice alice alice 9m alice!', [401, 401, 401, 429]],
  [
    'refuses an address after five failures with any names',
    'alice alice alice bob bob bob!',
    [401, 401, 401, 401, 401, 429],
  ],
  [
    'lets no success make up for failures with other names',
    'alice alice bob bob! alice bob bob!',
    [401, 401, 401, 200, 401, 401, 429],
  ],
  [
    'knows one network of IPv6',
    'alice@2001:db8::1 alice@2001:db8::2 alice@2001:DB8:0:0:9::3 alice@2001:db8:0:0::4',
    [401, 401, 401, 429],
  ],
  [
    'tells networks of IPv6 apart',
    'alice@2001:db8::1 alice@2001:db8::2 alice@2001:db8::3 alice@2001:db8:0:1::1',
    [401, 401, 401, 401],
  ],
  [
    'takes an IPv4 address in IPv6 for what it is',
    'alice@::ffff:192.0.2.1 alice@192.0.2.1 alice@::ffff:192.0.2.1 alice@192.0.2.1',
    [401, 401, 401, 429],
  ],
  [
    'tells addresses apart',
    'alice@192.0.2.1 alice@192.0.2.1 alice@192.0.2.1 alice!@192.0.2.2',
    [401, 401, 401, 200],
  ],
];

async function attempt(browser: Browser, text: string): Promise<Answer> {
  const [who = '', address = '198.51.100.7'] = text.split('@');
  const username = who.replace('!', '');
  const password = who.endsWith('!') ? PASSWORDS[username] : 'wrong';
  return browser.post('/login', { username, password }, { headers: { 'x-forwarded-for': address } });
}

describe.each(adapters)('the limit for sign-ins, on %s', (HTTP_ADAPTER) => {
  let database: TestDatabase;
  const samples: Sample[] = [];

  beforeAll(async () => {
    database = await databases[0]!.create();
  });
  afterAll(async () => {
    for (const each of samples) await each.close();
    await database.remove();
  });
  beforeEach(() => {
    stopClock(Date.now());
  });
  afterEach(() => {
    vi.useRealTimers();
  });

  async function start(env: Environment = {}): Promise<Browser> {
    const sample = await startSample(database, { HTTP_ADAPTER, TRUST_PROXY: '1', ...LIMITS, ...env });
    samples.push(sample);
    return new Browser(sample.url);
  }

  it.each(RULES)('%s', async (_, attempts, statuses) => {
    const browser = await start();
    const answers: number[] = [];
    for (const each of attempts.split(' ')) {
      if (/^\d+m$/.test(each)) pass(each);
      else answers.push((await attempt(browser, each)).status);
    }
    expect(answers).toEqual(statuses);
  });

  it('says what it is, and when to try again, alike for names that exist and that do not', async () => {
    const browser = await start();
    const answers: Answer[] = [];
    for (const name of ['alice', 'nobody']) {
      for (let i = 0; i < 2; i++) await attempt(browser, name);
      pass('90s');
      await attempt(browser, name);
      answers.push(await attempt(browser, name));
      pass('20m');
    }
    for (const { status, headers, body, setCookies } of answers) {
      expect({ status, body, setCookies }).toEqual({
        status: 429,
        body: {
          statusCode: 429,
          code: 'too_many_attempts',
          message: 'Too many attempts to sign in have failed. Wait, and try again.',
        },
        setCookies: [],
      });
      expect(headers.get('retry-after')).toBe('510'); // of ten minutes, 90 s are over
    }
  });

  it('keeps the session of a browser that it refuses', async () => {
    const browser = await start();
    await attempt(browser, 'alice!');
    for (let i = 0; i < 4; i++) await attempt(browser, 'alice');
    expect(await browser.get('/me')).toMatchObject({ status: 200 });
  });

  it.each([
    ['1', 401],
    ['false', 429],
  ])('with TRUST_PROXY=%s answers another forwarded address with %i', async (TRUST_PROXY, status) => {
    const browser = await start({ TRUST_PROXY });
    for (let i = 0; i < 3; i++) await attempt(browser, 'alice@203.0.113.1');
    expect(await attempt(browser, 'alice@203.0.113.2')).toMatchObject({ status });
  });

  it('answers fifty guesses at once as it would one after the other', async () => {
    const browser = await start({ SIGN_IN_ATTEMPTS_PER_ADDRESS: '100' });
    const answers = await Promise.all(Array.from({ length: 50 }, () => attempt(browser, 'alice')));
    expect(answers.filter(({ status }) => status === 401)).toHaveLength(3);
    expect(answers.filter(({ status }) => status === 429)).toHaveLength(47);
  });

  it('lets fifty honest people in at once', async () => {
    const browser = await start();
    const answers = await Promise.all(
      Array.from({ length: 50 }, () => attempt(new Browser(browser.url), 'bob!')),
    );
    expect(answers.filter(({ status }) => status === 200)).toHaveLength(50);
  });
});

it('does not say that a password is right which comes with more wrong ones than allowed', async () => {
  const limiter = new SignInLimiter(readSettings(LIMITS));
  let verifyRight!: () => void;
  const turn = new Promise<void>((resolve) => (verifyRight = resolve));
  const guess = async (user?: string) =>
    limiter.limit('alice', '192.0.2.1', async () => {
      if (user) await turn; // the right one is verified last
      return user;
    });
  const right = guess('Alice');
  const wrong = await Promise.allSettled(Array.from({ length: 4 }, async () => guess()));
  verifyRight();
  await expect(right).rejects.toMatchObject({ response: { code: 'too_many_attempts' } });
  expect(wrong.map(({ status }) => status)).toEqual(['fulfilled', 'fulfilled', 'fulfilled', 'rejected']);
});
