import { Logger } from '@nestjs/common';
import { afterEach, beforeEach, describe, expect, test, vi } from 'vitest';
import { SessionMaintenance } from './session-maintenance.js';
import { SYSTEM_CLOCK } from '../util/clock.js';

const HOUR = 3_600_000;

/** The behaviour of the next runs: they fail, or last until a promise is resolved. */
interface RunState {
  failure?: Error;
  until?: Promise<void>;
}

/** Blocks a run. @returns a function that lets it end */
function holdRun(state: RunState): () => void {
  let end: (() => void) | undefined;
  state.until = new Promise((resolve) => {
    end = resolve;
  });
  return () => end!();
}

/** The parts that maintenance calls. */
function setUp(interval = HOUR) {
  const calls = { sessions: 0, signingKeys: 0, refreshKeys: 0 };
  const state: RunState = {};
  const core = {
    manager: {
      async removeExpired() {
        calls.sessions++;
        await state.until;
        if (state.failure) throw state.failure;
        return 1;
      },
    },
    signingKeys: {
      async removeRetired() {
        calls.signingKeys++;
      },
    },
    refreshTokens: {
      async removeRetiredKeys() {
        calls.refreshKeys++;
      },
    },
    clock: SYSTEM_CLOCK,
  } as unknown as ConstructorParameters<typeof SessionMaintenance>[0];
  return { calls, state, maintenance: new SessionMaintenance(core, { interval, batchSize: 10 }) };
}

describe('maintenance', () => {
  beforeEach(() => {
    vi.useFakeTimers({ toFake: ['Date', 'setTimeout', 'clearTimeout'] });
    vi.spyOn(Logger.prototype, 'debug').mockReturnValue();
  });
  afterEach(() => {
    vi.useRealTimers();
    vi.restoreAllMocks();
  });

  test('runs about once per interval: sessions and both kinds of keys', async () => {
    const { calls, maintenance } = setUp();
    maintenance.start();
    await vi.advanceTimersByTimeAsync(0.9 * HOUR - 1);
    expect(calls.sessions).toBe(0);
    await vi.advanceTimersByTimeAsync(0.2 * HOUR + 1);
    expect(calls).toEqual({ sessions: 1, signingKeys: 1, refreshKeys: 1 });
    await vi.advanceTimersByTimeAsync(22 * HOUR);
    expect(calls.sessions).toBeGreaterThanOrEqual(20);
    expect(calls.sessions).toBeLessThanOrEqual(26);
    await maintenance.stop();
  });

  test('survives a database that fails, says so once, tries again, and says when it works', async () => {
    const logged = vi.spyOn(Logger.prototype, 'error').mockReturnValue();
    const { calls, state, maintenance } = setUp();
    state.failure = new Error('down');
    maintenance.start();
    await vi.advanceTimersByTimeAsync(5 * HOUR);
    expect(calls.sessions).toBeGreaterThanOrEqual(4);
    expect(logged).toHaveBeenCalledOnce();
    const recovered = vi.spyOn(Logger.prototype, 'log').mockReturnValue();
    delete state.failure;
    await vi.advanceTimersByTimeAsync(2 * HOUR);
    expect(calls.signingKeys).toBeGreaterThanOrEqual(1);
    expect(recovered).toHaveBeenCalledOnce();
    await maintenance.stop();
  });

  test('begins no run while one is under way', async () => {
    const { calls, state, maintenance } = setUp();
    const end = holdRun(state);
    maintenance.start();
    await vi.advanceTimersByTimeAsync(10 * HOUR);
    expect(calls.sessions).toBe(1);
    end();
    await vi.advanceTimersByTimeAsync(2 * HOUR);
    expect(calls.sessions).toBeGreaterThan(1);
    await maintenance.stop();
  });

  test('stops: waits for the run that is under way, and begins no other', async () => {
    const { calls, state, maintenance } = setUp();
    const end = holdRun(state);
    maintenance.start();
    await vi.advanceTimersByTimeAsync(2 * HOUR);
    let isStopped = false;
    const stopping = maintenance.stop().then(() => {
      isStopped = true;
    });
    await vi.advanceTimersByTimeAsync(0);
    expect(isStopped).toBe(false);
    end();
    await stopping;
    expect(calls.refreshKeys).toBe(1);
    await vi.advanceTimersByTimeAsync(10 * HOUR);
    expect(calls.sessions).toBe(1);
  });

  test('stops before its first run', async () => {
    const { calls, maintenance } = setUp();
    maintenance.start();
    await maintenance.stop();
    await vi.advanceTimersByTimeAsync(10 * HOUR);
    expect(calls.sessions).toBe(0);
    expect(vi.getTimerCount()).toBe(0);
  });

  test('with the longest interval that is allowed does not run all the time', async () => {
    vi.spyOn(Math, 'random').mockReturnValue(0.999);
    const { calls, maintenance } = setUp(2 ** 31 - 1);
    maintenance.start();
    await vi.advanceTimersByTimeAsync(1_000);
    expect(calls.sessions).toBe(0);
    await maintenance.stop();
  });

  test('that is switched off does nothing', async () => {
    const maintenance = new SessionMaintenance(undefined as never, false);
    maintenance.start();
    expect(vi.getTimerCount()).toBe(0);
    await maintenance.stop();
  });
});
