import libsql from 'libsql';
import { setFlagsFromString } from 'node:v8';
import { runInNewContext } from 'node:vm';
import { DataSource } from 'typeorm';
import { afterEach, beforeEach, describe, expect, test } from 'vitest';
import { KeyStore } from '../storage/key.store.js';
import { SESSION_ENTITIES } from '../storage/schema.js';
import { KeyRing } from './key-ring.js';

const NOW = Date.UTC(2026, 0, 15);
const HOUR = 3_600_000;
const DAY = 24 * HOUR;
const LIFETIME = 15 * 60_000;

describe('a ring of keys', () => {
  let dataSource: DataSource;
  let store: KeyStore;
  let made = 0;

  beforeEach(async () => {
    dataSource = await new DataSource({
      type: 'better-sqlite3',
      driver: libsql,
      database: ':memory:',
      entities: [...SESSION_ENTITIES],
      synchronize: true,
    }).initialize();
    store = new KeyStore(dataSource);
    made = 0;
  });
  afterEach(() => dataSource.destroy());

  const ring = (rotation: number, purpose: 'access' | 'refresh' = 'access') =>
    new KeyRing<string>(store, {
      purpose,
      rotation,
      lifetime: LIFETIME,
      nameOf: ({ kid }) => kid,
      generate: async () => ({ kid: `${purpose}-${++made}`, algorithm: 'HS256', material: '{}' }),
      load: async ({ kid }) => ({ key: kid.toUpperCase(), resealed: undefined }),
    });

  test.each([
    ['a day', DAY, { publishAhead: HOUR, maxAge: 5 * 60_000, cooldown: 10_000 }],
    ['an hour', HOUR, { publishAhead: HOUR / 4, maxAge: HOUR / 16, cooldown: 10_000 }],
    ['ten seconds', 10_000, { publishAhead: 2_500, maxAge: 625, cooldown: 2_500 }],
  ])('that rotates after %s leaves every process time to see the next key', (_, rotation, times) => {
    expect(ring(rotation)).toMatchObject(times);
  });

  test.each([
    { by: 'this process', change: (keys: KeyRing<string>) => keys.rotate(NOW, 'current') },
    {
      by: 'another process',
      change: async () => {
        const other = ring(DAY);
        await other.start(NOW);
        await other.rotate(NOW, 'access-1');
      },
    },
  ])('knows that a key was dropped by $by, and that others were not', async ({ change }) => {
    const keys = ring(DAY);
    await keys.start(NOW);
    await change(keys);
    await keys.freshen(NOW + HOUR);
    expect(keys.find('access-1')).toBeUndefined();
    const names = ['access-1', 'access-2', 'unknown'];
    expect(names.map((kid) => keys.isDropped(kid))).toEqual([true, false, false]);
    // It stays so, however often the ring changes.
    await keys.rotate(NOW + HOUR);
    await keys.current(NOW + 3 * DAY);
    expect(keys.isDropped('access-1')).toBe(true);
  });

  test.each([
    { by: 'this process', ahead: 0 },
    { by: 'another process, whose clock is ahead', ahead: 30_000 },
  ])('does not take a key for dropped that was retired by $by', async ({ by, ahead }) => {
    const keys = ring(DAY);
    const remover = by === 'this process' ? keys : ring(DAY);
    await keys.start(NOW);
    await keys.current(NOW + DAY - HOUR);
    if (remover !== keys) await remover.start(NOW + DAY - HOUR);
    await keys.current(NOW + DAY);
    // When its last token has expired, and those that a process has signed whose view was old.
    const end = NOW + DAY + LIFETIME + 2 * 5 * 60_000;
    await remover.removeRetired(end + 1);
    await keys.freshen(end - ahead);
    await keys.freshen(end + HOUR);
    expect(keys.find('access-1')).toBeUndefined();
    expect(keys.isDropped('access-1')).toBe(false);
  });

  test('signs with the newest key whose time has come', async () => {
    const keys = ring(DAY);
    expect(await keys.current(NOW)).toBe('ACCESS-1');
    expect(await keys.current(NOW + DAY - HOUR)).toBe('ACCESS-1');
    expect(keys.all()).toEqual(['ACCESS-1', 'ACCESS-2']);
    expect(await keys.current(NOW + DAY - 1)).toBe('ACCESS-1');
    expect(await keys.current(NOW + DAY)).toBe('ACCESS-2');
    expect(keys.find('access-1')).toBe('ACCESS-1');
  });

  test('after a long pause publishes the next key ahead all the same', async () => {
    const keys = ring(DAY);
    await keys.current(NOW);
    expect(await keys.current(NOW + 9 * DAY)).toBe('ACCESS-1');
    expect(await keys.current(NOW + 9 * DAY + HOUR - 1)).toBe('ACCESS-1');
    expect(await keys.current(NOW + 9 * DAY + HOUR)).toBe('ACCESS-2');
  });

  test('makes no key of another purpose, and removes none', async () => {
    const [access, refresh] = [ring(DAY), ring(DAY, 'refresh')];
    await access.current(NOW);
    await refresh.current(NOW);
    for (let day = 1; day < 5; day++) await access.current(NOW + day * DAY);
    await access.removeRetired(NOW + 9 * DAY);
    expect(await store.findAll('refresh')).toHaveLength(1);
    expect(await store.findAll('access')).toHaveLength(1);
  });

  test('keeps a retired key as long as what it signed can live, and clocks can differ', async () => {
    const keys = ring(DAY);
    await keys.current(NOW);
    await keys.current(NOW + DAY - HOUR);
    await keys.removeRetired(NOW + DAY + LIFETIME + 60_000);
    expect(await store.findAll('access')).toMatchObject([{ kid: 'access-1' }, { kid: 'access-2' }]);
    await keys.removeRetired(NOW + DAY + LIFETIME + HOUR);
    expect(await store.findAll('access')).toMatchObject([{ kid: 'access-2' }]);
  });

  test('does not grow with the unknown names it is asked for', async () => {
    const keys = ring(DAY);
    await keys.current(NOW);
    setFlagsFromString('--expose-gc');
    const gc = runInNewContext('gc') as () => void;
    const ask = async (count: number) => {
      for (let n = 0; n < count; n++) {
        await keys.findAfterReload(`${n}-${Math.random()}`.padEnd(2_000, 'x'), NOW + n);
      }
      gc();
      return process.memoryUsage().heapUsed;
    };
    const before = await ask(1_000);
    const after = await ask(15_000);
    expect(after - before).toBeLessThan(5_000_000);
    expect(keys.all()).toHaveLength(1);
  });

  test('tells a name that is unknown from one that it may not look up yet', async () => {
    const [one, two] = [ring(DAY), ring(DAY)];
    await one.current(NOW);
    await two.current(NOW + DAY - HOUR);
    await two.current(NOW + DAY);
    expect(await one.findAfterReload('nobody', NOW + 9_999)).toBe('unchecked');
    expect(await one.findAfterReload('nobody', NOW + 10_000)).toBe('unknown');
    expect(await one.findAfterReload('access-2', NOW + 20_000)).toBe('ACCESS-2');
  });
});
