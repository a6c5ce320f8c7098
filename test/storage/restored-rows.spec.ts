import { describe, expect, test } from 'vitest';
import {
  type IssuedSession,
  SessionEntity,
  type SessionEvent,
  SessionOverError,
  TryRefreshError,
} from 'nestjs-session-tokens';
import { databases } from '../support/databases.js';
import { pass, SECOND, SETTLED, TTL } from '../support/time.js';
import { useWorld, insist, type Instance } from '../support/world.js';

/** The tokens of a client. */
interface Jar {
  access: string;
  refresh: string;
}

/**
 * A failover that lost transactions, or a restored backup: the rows are in an earlier state, and the clients are ahead of
 * them.
 */
describe.each(databases)('rows that have gone back on $name', (kind) => {
  const world = useWorld(kind);

  const setUp = async () => {
    const [one, two] = (await world.start(2)) as [Instance, Instance];
    const events: SessionEvent[] = [];
    for (const each of [one, two]) each.events.stream.subscribe((event) => events.push(event));
    const rows = one.dataSource.getRepository(SessionEntity);
    return {
      one,
      two,
      events,
      copy: async () => rows.find(),
      restore: async (copies: SessionEntity[]) => {
        await rows.clear();
        await rows.insert(copies);
      },
    };
  };

  /** The last action of each of the five clients before the row went back. */
  const lastSteps: [string, (one: Instance, jar: Jar) => Promise<void>][] = [
    [
      'has proven the newest generation',
      async (one, jar) => {
        await exchange(one, jar);
        pass(SETTLED);
        await use(one, jar);
        pass(-SETTLED);
      },
    ],
    ['has just been given the newest generation', exchange],
    ['has not come back yet', async () => undefined],
    [
      'has lost the response to its last refresh',
      async ({ service }, jar) => void (await service.tokens.refresh(jar.refresh)),
    ],
    [
      'has sent several requests at once, and kept the first answer',
      async (one, jar) => {
        const before = jar.refresh;
        await exchange(one, jar);
        await one.service.tokens.refresh(before);
      },
    ],
  ];

  test.each([1, 2, 3])(
    'by %i refreshes: all five clients go on, and nobody is called a thief',
    async (lost) => {
      const { one, two, events, copy, restore } = await setUp();
      const jars: Jar[] = [];
      for (const [n] of lastSteps.entries()) jars.push(jarOf(await one.service.tokens.issue({ userId: n })));
      const comeBack = async (process: Instance) => {
        pass(TTL);
        for (const jar of jars) await visit(process, jar);
        pass(SETTLED);
        for (const jar of jars) await visit(process, jar);
      };
      await comeBack(one);
      const copies = await copy();
      for (let n = 1; n < lost; n++) await comeBack(one);
      pass(TTL);
      for (const [n, [, step]] of lastSteps.entries()) await step(one, jars[n]!);
      await restore(copies);

      for (const [n, jar] of jars.entries())
        await expect(visit(two, jar), `who ${lastSteps[n]![0]}`).resolves.toBeUndefined();
      for (const process of [two, one, two]) await comeBack(process);
      expect(events.filter(({ type }) => type === 'stale' || type === 'theft')).toEqual([]);
      const rows = await copy();
      expect(rows.map(({ revokedAt }) => revokedAt)).toEqual(jars.map(() => null));
    },
  );

  test('by some refreshes: a copied token is caught, as late as those many refreshes more', async () => {
    const { one, two, events, copy, restore } = await setUp();
    const owner = jarOf(await one.service.tokens.issue({ userId: 1 }));
    const copies = await copy();
    for (let round = 0; round < 2; round++) {
      pass(TTL);
      await exchange(one, owner);
      pass(SETTLED);
      await use(one, owner);
    }
    const thief = { ...owner };
    await restore(copies);
    pass(TTL);
    await exchange(one, owner);
    await exchange(two, thief);
    pass(TTL);
    await exchange(two, thief);
    const { refresh } = owner;
    await expect(insist(one.service, refresh)).rejects.toMatchObject({ code: 'token_theft' });
    expect(events.at(-1)).toMatchObject({ type: 'theft', kind: 'sibling' });
    pass(SECOND);
    await expect(two.service.tokens.verify(thief.access)).rejects.toThrow(SessionOverError);
  });

  test('to before a sign-in: that session is over, and a revoked one lives again where nobody remembers', async () => {
    const { one, two, events, copy, restore } = await setUp();
    const revoked = await one.service.tokens.issue({ userId: 1 });
    const copies = await copy();
    await one.service.revoke(revoked.session.id);
    const lost = await one.service.tokens.issue({ userId: 2 });
    pass(TTL);
    await restore(copies);
    await expect(insist(one.service, lost.refreshToken.token)).rejects.toThrow(SessionOverError);
    await expect(one.service.tokens.refresh(revoked.refreshToken.token)).rejects.toThrow(SessionOverError);
    // What the operator of a restored backup has to know.
    const again = await two.service.tokens.refresh(revoked.refreshToken.token);
    expect(again.session.id).toBe(revoked.session.id);
    pass(1);
    expect(await two.service.revokeAll({ before: new Date() })).toBe(1);
    await expect(two.service.tokens.verify(again.accessToken.token)).rejects.toThrow(SessionOverError);
    expect(events.filter(({ type }) => type === 'theft')).toEqual([]);
  });

  test('to before a revocation: who remembers it refuses the first use of a token, too', async () => {
    const { one, two, copy, restore } = await setUp();
    const jar = jarOf(await one.service.tokens.issue({ userId: 1 }));
    pass(TTL);
    await exchange(one, jar);
    const copies = await copy();
    await one.service.revoke(copies[0]!.id, { reason: 'admin' });
    await restore(copies);
    pass(SETTLED);
    await expect(use(one, jar)).rejects.toMatchObject({ code: 'session_over', reason: 'admin' });
    await expect(use(two, jar)).resolves.toBeUndefined();
  });
});

function jarOf({ accessToken, refreshToken }: IssuedSession): Jar {
  return { access: accessToken.token, refresh: refreshToken.token };
}

async function exchange({ service }: Instance, jar: Jar): Promise<void> {
  const { accessToken, refreshToken } = await service.tokens.refresh(jar.refresh);
  jar.access = accessToken.token;
  jar.refresh = refreshToken?.token ?? jar.refresh;
}

async function use({ service }: Instance, jar: Jar): Promise<void> {
  const { newAccessToken } = await service.tokens.verify(jar.access);
  jar.access = newAccessToken?.token ?? jar.access;
}

/** Does the same as the guard. */
async function visit(process: Instance, jar: Jar): Promise<void> {
  try {
    await use(process, jar);
  } catch (error) {
    if (!(error instanceof TryRefreshError)) throw error;
    await exchange(process, jar);
  }
}
