import { describe, expect, test } from 'vitest';
import { Reloader } from './reloader.js';

const MAX_AGE = 1_000;
const COOLDOWN = 100;

function setUp() {
  const state = { loads: 0, failure: undefined as Error | undefined };
  const reloader = new Reloader(
    async () => {
      state.loads++;
      await Promise.resolve();
      if (state.failure) throw state.failure;
    },
    MAX_AGE,
    COOLDOWN,
  );
  return { state, reloader };
}

describe('ensureFresh', () => {
  test('loads what has never been loaded, and again when it is older than the maximum', async () => {
    const { state, reloader } = setUp();
    await reloader.ensureFresh(5_000);
    expect(state.loads).toBe(1);
    await reloader.ensureFresh(5_000 + MAX_AGE);
    expect(state.loads).toBe(1);
    await reloader.ensureFresh(5_001 + MAX_AGE);
    expect(state.loads).toBe(2);
  });

  test('loads when the clock was set back by more than the maximum', async () => {
    const { state, reloader } = setUp();
    await reloader.ensureFresh(5_000);
    await reloader.ensureFresh(5_000 - MAX_AGE);
    expect(state.loads).toBe(1);
    await reloader.ensureFresh(4_999 - MAX_AGE);
    expect(state.loads).toBe(2);
  });
});

describe('reload', () => {
  test('is one for all that ask at the same time, and another one afterwards', async () => {
    const { state, reloader } = setUp();
    await Promise.all([reloader.reload(1), reloader.reload(1), reloader.ensureFresh(1)]);
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
