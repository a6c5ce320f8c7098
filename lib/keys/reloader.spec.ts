import { describe, expect, test } from 'vitest';
import { Reloader } from './reloader.js';

const INTERVAL = 1_000;
const MAX_AGE = 5_000;
const COOLDOWN = 100;

function setUp() {
  const state = { loads: 0, reported: 0, recovered: 0, failure: undefined as Error | undefined };
  const reloader = new Reloader(
    async () => {
      state.loads++;
      await Promise.resolve();
      if (state.failure) throw state.failure;
    },
    { interval: INTERVAL, maxAge: MAX_AGE, cooldown: COOLDOWN, patience: 1_000 },
    { failed: () => state.reported++, worked: () => state.recovered++ },
  );
  return { state, reloader };
}

describe('freshen', () => {
  test('loads what has never been loaded, and again when it is as old as the interval', async () => {
    const { state, reloader } = setUp();
    await reloader.freshen(5_000);
    expect(state.loads).toBe(1);
    expect(reloader.freshen(4_999 + INTERVAL)).toBeUndefined();
    await reloader.freshen(5_000 + INTERVAL);
    expect(state.loads).toBe(2);
  });

  test('loads when the clock was set back by the interval', async () => {
    const { state, reloader } = setUp();
    await reloader.freshen(5_000);
    expect(reloader.freshen(5_001 - INTERVAL)).toBeUndefined();
    await reloader.freshen(5_000 - INTERVAL);
    expect(state.loads).toBe(2);
  });

  test('reports a failure, throws nothing, and tries again after the cooldown', async () => {
    const { state, reloader } = setUp();
    await reloader.freshen(0);
    state.failure = new Error('down');
    await reloader.freshen(INTERVAL);
    expect(state).toMatchObject({ loads: 2, reported: 1 });
    expect(reloader.freshen(INTERVAL + COOLDOWN - 1)).toBeUndefined();
    await reloader.freshen(INTERVAL + COOLDOWN);
    expect(state).toMatchObject({ loads: 3, reported: 2 });
    state.failure = undefined;
    await reloader.freshen(2 * INTERVAL);
    expect(state).toMatchObject({ loads: 4, reported: 2, recovered: 2 });
    expect(reloader.counts).toEqual({ succeeded: 2, failed: 2 });
  });
});

describe('ensureUsable', () => {
  test('bears a failure until what is loaded is too old', async () => {
    const { state, reloader } = setUp();
    await reloader.ensureUsable(0);
    state.failure = new Error('down');
    await reloader.ensureUsable(MAX_AGE);
    await expect(reloader.ensureUsable(MAX_AGE + 1)).rejects.toThrow('down');
    expect(state.loads).toBe(3);
    state.failure = undefined;
    await reloader.ensureUsable(MAX_AGE + 1);
    expect(state.loads).toBe(4);
  });

  test('throws where nothing could ever be loaded', async () => {
    const { state, reloader } = setUp();
    state.failure = new Error('down');
    await expect(reloader.ensureUsable(0)).rejects.toThrow('down');
    await expect(reloader.ensureUsable(1)).rejects.toThrow('down');
    expect(state.loads).toBe(2);
  });
});

describe('reloadAnew', () => {
  test('does not take a load for its own that had begun before', async () => {
    const { state, reloader } = setUp();
    await Promise.all([reloader.reload(1), reloader.reloadAnew(1)]);
    expect(state.loads).toBe(2);
  });
});

describe('reload', () => {
  test('is one for all that ask at the same time, and another one afterwards', async () => {
    const { state, reloader } = setUp();
    await Promise.all([reloader.reload(1), reloader.reload(1), reloader.freshen(1)]);
    expect(state.loads).toBe(1);
    await reloader.reload(1);
    expect(state.loads).toBe(2);
  });

  test('fails for all that asked, and can succeed afterwards', async () => {
    const { state, reloader } = setUp();
    state.failure = new Error('down');
    const results = await Promise.allSettled([reloader.reload(1), reloader.reload(1)]);
    expect(results.map(({ status }) => status)).toEqual(['rejected', 'rejected']);
    expect(state.loads).toBe(1);
    state.failure = undefined;
    await expect(reloader.reload(1)).resolves.toBeUndefined();
  });
});

describe('reloadOnDoubt', () => {
  test('loads once per cooldown, and says when it did not', async () => {
    const { state, reloader } = setUp();
    await reloader.reload(0);
    expect(await reloader.reloadOnDoubt(COOLDOWN - 1)).toBe(false);
    expect(state.loads).toBe(1);
    expect(await reloader.reloadOnDoubt(COOLDOWN)).toBe(true);
    expect(state.loads).toBe(2);
    expect(await reloader.reloadOnDoubt(COOLDOWN)).toBe(false);
    expect(state.loads).toBe(2);
  });

  test('shares a load that is under way', async () => {
    const { state, reloader } = setUp();
    await reloader.reload(0);
    const answers = await Promise.all(Array.from({ length: 100 }, () => reloader.reloadOnDoubt(COOLDOWN)));
    expect(answers.every(Boolean)).toBe(true);
    expect(state.loads).toBe(2);
  });

  test('throws what the load threw, for the whole cooldown without another try', async () => {
    const { state, reloader } = setUp();
    await reloader.reload(0);
    state.failure = new Error('down');
    await expect(reloader.reloadOnDoubt(COOLDOWN)).rejects.toThrow('down');
    await expect(reloader.reloadOnDoubt(2 * COOLDOWN - 1)).rejects.toThrow('down');
    expect(state.loads).toBe(2);
    state.failure = undefined;
    expect(await reloader.reloadOnDoubt(2 * COOLDOWN)).toBe(true);
    expect(state.loads).toBe(3);
  });

  test('trusts a load that succeeded after the failure', async () => {
    const { state, reloader } = setUp();
    state.failure = new Error('down');
    await expect(reloader.reloadOnDoubt(0)).rejects.toThrow('down');
    state.failure = undefined;
    await reloader.reload(1);
    expect(await reloader.reloadOnDoubt(2)).toBe(false);
  });
});
