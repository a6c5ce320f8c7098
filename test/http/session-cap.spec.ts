import type { SessionEvent, SessionModuleOptions } from 'nestjs-session-tokens';
import { describe, expect, it, test } from 'vitest';
import { adapters } from '../support/app.js';
import { databases } from '../support/databases.js';
import { HOUR, pass } from '../support/time.js';
import { type Instance, useWorld } from '../support/world.js';
import { accountApps, refusal } from './account-app.js';

type Cap = NonNullable<SessionModuleOptions['maxSessionsPerUser']>;

describe.each(adapters)('the largest number of sessions of a user over %s', (adapter) => {
  const start = accountApps(adapter);

  it.each<Cap>([2, { limit: 2, policy: 'oldest' }])('ends the oldest: %o', async (maxSessionsPerUser) => {
    const app = await start({ maxSessionsPerUser });
    const events: SessionEvent[] = [];
    app.sessions.events.subscribe((event) => void (event.type === 'revoked' && events.push(event)));
    const browsers = [];
    for (let n = 0; n < 4; n++) {
      pass(1);
      browsers.push(await app.signIn());
    }
    pass(1_000);
    const statuses = [];
    for (const browser of browsers) statuses.push(await browser.get('/me'));
    const over = { status: 401, body: { code: 'session_over', reason: 'limit' } };
    expect(statuses).toMatchObject([over, over, { status: 200 }, { status: 200 }]);
    expect(events).toHaveLength(2);
    expect(events).toMatchObject([{ reason: 'limit' }, { reason: 'limit' }]);
    // Other users are none of its business.
    const other = await app.signIn({ userId: 'bob' });
    expect((await other.get('/me')).status).toBe(200);
    expect((await app.sessions.findAllForUser('alice')).sessions).toHaveLength(2);
  });

  it('refuses the next one, and nothing is made', async () => {
    const app = await start({ maxSessionsPerUser: { limit: 2, policy: 'refuse' } });
    const first = await app.signIn();
    const second = await app.signIn();
    const answer = await app.browser().post('/login', { userId: 'alice' });
    expect(answer).toMatchObject(refusal(409, 'too_many_sessions'));
    expect(answer.setCookies).toEqual([]);
    for (const browser of [first, second]) expect((await browser.get('/me')).status).toBe(200);
    // After a sign-out there is room.
    await first.post('/sign-out');
    expect((await app.browser().post('/login', { userId: 'alice' })).status).toBe(200);
    expect((await app.browser().post('/login', { userId: 'alice' })).status).toBe(409);
    expect((await app.browser().post('/login', { userId: 'bob' })).status).toBe(200);
  });

  it.each(['oldest', 'refuse'] as const)(
    'does not count the session that a sign-in replaces, nor those that have expired: %s',
    async (policy) => {
      const app = await start({ maxSessionsPerUser: { limit: 2, policy } });
      const other = await app.signIn();
      const browser = await app.signIn();
      for (let n = 0; n < 3; n++) {
        expect((await browser.post('/login', { userId: 'alice' })).status).toBe(200);
        expect((await other.get('/me')).status).toBe(200);
      }
      pass(31 * 24 * HOUR);
      expect((await app.browser().post('/login', { userId: 'alice' })).status).toBe(200);
    },
  );
});

describe.each(databases)('sign-ins of one user that race in several processes on $name', (kind) => {
  const world = useWorld(kind);
  const LIMIT = 3;

  const race = async (policy: 'oldest' | 'refuse') => {
    const options = { maxSessionsPerUser: { limit: LIMIT, policy } };
    const processes = await world.start(3, options);
    const attempts = Array.from({ length: 12 }, async (_, n) => {
      const { service } = processes[n % 3] as Instance;
      return service.tokens.issue({ userId: 1 });
    });
    const settled = await Promise.allSettled(attempts);
    const live = (await processes[0]!.service.findAllForUser(1)).sessions.map(({ id }) => id);
    return { settled, live, processes };
  };

  test('leave no more than the limit, and one of them is the newest', async () => {
    const { settled, live } = await race('oldest');
    expect(settled.every(({ status }) => status === 'fulfilled')).toBe(true);
    expect(live).toHaveLength(LIMIT);
    const ids = settled.map(
      (each) => (each as PromiseFulfilledResult<{ session: { id: string } }>).value.session.id,
    );
    expect(live).toContain(ids.toSorted().at(-1));
  });

  test('leave no more than the limit, and all others are told so', async () => {
    const { settled, live, processes } = await race('refuse');
    const made = settled.flatMap((each) => (each.status === 'fulfilled' ? [each.value.session.id] : []));
    expect(live.toSorted()).toEqual(made.toSorted());
    expect(live.length).toBeLessThanOrEqual(LIMIT);
    expect(live.length).toBeGreaterThan(0);
    for (const each of settled) {
      expect(each).toMatchObject(
        each.status === 'fulfilled' ? {} : { reason: { code: 'too_many_sessions', limit: LIMIT } },
      );
    }
    // Nothing is left of those that stepped back.
    expect(await world.rows()).toHaveLength(made.length);
    // What is free is given, as soon as nobody races.
    for (let n = live.length; n < LIMIT; n++) await processes[0]!.service.tokens.issue({ userId: 1 });
    await expect(processes[1]!.service.tokens.issue({ userId: 1 })).rejects.toMatchObject({
      code: 'too_many_sessions',
    });
  });
});
