import { setTimeout as delay } from 'node:timers/promises';
import { Logger } from '@nestjs/common';
import { afterEach, describe, expect, test, vi } from 'vitest';
import { type IssuedSession, SessionModule, SessionOverError } from 'nestjs-session-tokens';
import { NestFactory } from '@nestjs/core';
import { asModule } from '../support/as-module.js';
import { databases } from '../support/databases.js';
import { pass, SECOND, SETTLED, TTL } from '../support/time.js';
import { insist, type Instance, useWorld, type World } from '../support/world.js';

/** LISTEN and NOTIFY are PostgreSQL's. */
const postgres = databases.filter(({ name }) => name === 'postgres');

const verify = async ({ service }: Instance, { accessToken }: Pick<IssuedSession, 'accessToken'>) =>
  service.tokens.verify(accessToken.token);

/** The connections on which processes listen. */
async function listenersOf({ dataSource }: World): Promise<{ pid: number }[]> {
  return dataSource.query(
    "SELECT pid FROM pg_stat_activity WHERE datname = current_database() AND query LIKE 'LISTEN %'",
  );
}

/** Waits for a process to refuse a token, by the real clock. The clock of the sessions stands still, so nothing is due. */
async function refused(instance: Instance, issued: Pick<IssuedSession, 'accessToken'>): Promise<number> {
  const begin = performance.now();
  await vi.waitFor(async () => expect(verify(instance, issued)).rejects.toThrow(SessionOverError), {
    timeout: 5_000,
    interval: 5,
  });
  return performance.now() - begin;
}

describe.each(postgres)('processes on $name that tell each other of revocations', (kind) => {
  const world = useWorld(kind);
  const open: Instance[] = [];
  afterEach(async () => {
    for (const { push } of open.splice(0)) await push!.stop();
    vi.restoreAllMocks();
  });

  const start = async (count = 3) => {
    const instances = await world.start(count, { revocationPush: true });
    open.push(...instances);
    await Promise.all(instances.map(async ({ push }) => push!.start()));
    return instances as [Instance, Instance, Instance];
  };
  const listeners = async () => listenersOf(world);
  const issue = async (one: Instance, userId = 'ann') => {
    const issued = await one.service.tokens.issue({ userId });
    for (const each of open) await verify(each, issued);
    return issued;
  };

  const ways: [string, (one: Instance, issued: IssuedSession) => Promise<unknown>][] = [
    ['revoke', async ({ service }, { session }) => service.revoke(session.id)],
    ['revokeMany', async ({ service }, { session }) => service.revokeMany([session.id])],
    ['revokeAllForUser', async ({ service }) => service.revokeAllForUser('ann')],
    ['revokeAll', async ({ service }) => service.revokeAll()],
  ];

  test.each(ways)('hear of %s at once', async (_, revoke) => {
    const [one, two, three] = await start();
    const issued = await issue(one);
    await revoke(one, issued);
    for (const each of [two, three]) expect(await refused(each, issued)).toBeLessThan(5_000);
  });

  test('hear of a theft at once', async () => {
    const [one, two] = await start();
    const { refreshToken } = await issue(one);
    pass(TTL);
    const owner = await one.service.tokens.refresh(refreshToken.token);
    pass(SETTLED);
    const { newAccessToken } = await one.service.tokens.verify(owner.accessToken.token);
    const issued = { accessToken: newAccessToken! };
    await verify(two, issued);
    await expect(insist(one.service, refreshToken.token)).rejects.toMatchObject({ code: 'token_theft' });
    await refused(two, issued);
  });

  test('read few times when much is revoked at once, and ask nothing when nothing is', async () => {
    const [one, two] = await start(2);
    const all: IssuedSession[] = [];
    for (let n = 0; n < 100; n++) all.push(await issue(one, `user ${n}`));
    two.log.take();
    await delay(100);
    expect(two.log.take(/settled_at/)).toEqual([]);
    one.log.take();
    await Promise.all(all.map(async ({ session }) => one.service.revoke(session.id)));
    for (const issued of all) await refused(two, issued);
    expect(two.log.take(/settled_at/).length).toBeLessThan(50);
    expect(one.log.take(/pg_notify/).length).toBeLessThanOrEqual(100);
    await delay(100);
    expect(two.log.take(/settled_at/).length).toBeLessThan(5);
  });

  test('whose connection breaks ask as ever, say so once, and hear at once again when it is back', async () => {
    const warned = vi.spyOn(Logger.prototype, 'error').mockReturnValue();
    const said = vi.spyOn(Logger.prototype, 'log').mockReturnValue();
    const [one, two] = await start(2);
    const [first, second] = [await issue(one), await issue(one, 'bob')];
    for (const { pid } of await listeners()) {
      await world.dataSource.query('SELECT pg_terminate_backend($1)', [pid]);
    }
    await vi.waitFor(() => expect(warned).toHaveBeenCalledTimes(2));
    await one.service.revoke(first.session.id);
    pass(SECOND);
    await expect(verify(two, first)).rejects.toThrow(SessionOverError);
    await vi.waitFor(() => expect(said).toHaveBeenCalledTimes(2), { timeout: 10_000 });
    await one.service.revoke(second.session.id);
    await refused(two, second);
    expect(warned).toHaveBeenCalledTimes(2);
    expect(String(warned.mock.calls[0])).toMatch(/cannot tell each other .* within revocationInterval/);
  });

  test('hear of what was revoked while the connection was broken when it is back', async () => {
    vi.spyOn(Logger.prototype, 'error').mockReturnValue();
    vi.spyOn(Logger.prototype, 'log').mockReturnValue();
    const [one, two] = await start(2);
    const issued = await issue(one);
    for (const { pid } of await listeners()) {
      await world.dataSource.query('SELECT pg_terminate_backend($1)', [pid]);
    }
    await one.service.revoke(issued.session.id);
    expect(await refused(two, issued)).toBeGreaterThan(0);
  });

  test('say so if no notification arrives, as behind a pooler', async () => {
    const warned = vi.spyOn(Logger.prototype, 'error').mockReturnValue();
    const [one] = await world.start(1, { revocationPush: true });
    open.push(one!);
    const pool = (one!.dataSource.driver as unknown as { master: { Client: new () => object } }).master;
    const Hearing = pool.Client;
    class Deaf extends Hearing {
      on(event: string, listener: () => void): unknown {
        const on = Reflect.get(Hearing.prototype, 'on') as (name: string, l: () => void) => unknown;
        return event === 'notification' ? this : on.call(this, event, listener);
      }
    }
    pool.Client = Deaf;
    vi.useFakeTimers({ toFake: ['setTimeout'] });
    await one!.push!.start();
    await vi.advanceTimersByTimeAsync(5_000);
    vi.useRealTimers();
    expect(String(warned.mock.calls)).toMatch(/No notification arrives. Connect without a pooler/);
  });

  test('have one connection more each, until they stop', async () => {
    const [one, two, three] = await start(3);
    expect(await listeners()).toHaveLength(3);
    for (const each of [one, two, three]) await each.push!.stop();
    await vi.waitFor(async () => expect(await listeners()).toEqual([]));
    open.length = 0;
  });
});

describe.each(databases)('an application on $name', (kind) => {
  const world = useWorld(kind);

  const create = async () =>
    NestFactory.create(
      asModule({
        imports: [
          SessionModule.forRoot({ database: world.database.options, revocationPush: true, secret: false }),
        ],
      }),
      { logger: false, abortOnError: false },
    );

  const cases: [string, () => Promise<void>][] =
    kind.name === 'postgres'
      ? [
          [
            'opens the connection when it starts, and closes it when it ends',
            async () => {
              const app = await create();
              await app.init();
              expect(await listenersOf(world)).toHaveLength(1);
              await app.close();
              await vi.waitFor(async () => expect(await listenersOf(world)).toEqual([]));
            },
          ],
        ]
      : [
          [
            'does not start if it asks for this',
            async () => {
              await expect(create()).rejects.toThrow(/"revocationPush": needs PostgreSQL/);
            },
          ],
        ];
  // oxlint-disable-next-line vitest/expect-expect -- the cases expect
  test.each(cases)('%s', async (_, run) => run());
});
