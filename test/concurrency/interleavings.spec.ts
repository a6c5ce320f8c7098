import * as fc from 'fast-check';
import type { DataSource } from 'typeorm';
import { afterAll, beforeAll, describe, expect, it, vi } from 'vitest';
import { SessionEntity, SessionError, type SessionModuleOptions } from 'nestjs-session-tokens';
import type { SessionCore } from '../../lib/session.core.js';
import { connect, databases, type TestDatabase } from '../support/databases.js';
import { startCore } from '../support/services.js';
import { Client, serve, type Served } from './client.js';
import { scheduled, type Timing } from './scheduled-data-source.js';

/**
 * The whole service on a real database, in several instances with connections of their own. fast-check chooses what the
 * clients do, and its scheduler the order in which statements run and responses arrive.
 *
 * The seed is fixed, so that a run can be repeated; INTERLEAVINGS and INTERLEAVINGS_SEED give longer and other runs.
 */
const runs = Number(process.env['INTERLEAVINGS'] ?? 40);
const seed = Number(process.env['INTERLEAVINGS_SEED'] ?? 20_261_123);
const INSTANCES = 3;

const WINDOW = 2_000;
const TTL = 5_000;
/** A message is on its way for less than half the window. */
const MAX_DELAY = WINDOW / 2 - 1;

const options: SessionModuleOptions = {
  accessToken: { ttl: TTL / 1_000 },
  refreshToken: { ttl: '1h' },
  reuseWindow: WINDOW / 1_000,
  // Several rotations in every history.
  signingKeys: { rotation: 8 },
  revocation: 'database',
  cleanup: false,
};

interface Send {
  readonly instance: number;
  readonly isExplicit: boolean;
  readonly isLost: boolean;
}

/** Some time passes, then these requests are sent at once; those before them may still be on their way. */
interface Round {
  readonly wait: number;
  readonly sends: readonly Send[];
}

const rarely = (weight: number) =>
  fc.oneof({ weight, arbitrary: fc.constant(false) }, { weight: 1, arbitrary: fc.constant(true) });
const instance = fc.nat(INSTANCES - 1);
const sends = fc.array(fc.record({ instance, isExplicit: rarely(4), isLost: rarely(6) }), {
  minLength: 1,
  maxLength: 4,
});
/** Times at which something changes: within a burst, when tokens stop being recent, when they expire. */
const waits = fc.constantFrom(0, 1, MAX_DELAY / 3, MAX_DELAY, WINDOW, 2 * WINDOW, TTL, TTL, TTL + WINDOW);
const rounds = fc.array(fc.record({ wait: waits, sends }), { minLength: 2, maxLength: 12 });

describe.each(databases)('$name', { timeout: 600_000 }, (kind) => {
  let database: TestDatabase;
  const connections: DataSource[] = [];
  const cores: SessionCore[] = [];
  const timing: Timing = { scheduler: undefined };

  beforeAll(async () => {
    vi.useFakeTimers({ toFake: ['Date'] });
    database = await kind.create();
    for (let index = 0; index < INSTANCES; index++) {
      const connection = await connect(database);
      connections.push(connection);
      cores.push(await startCore(scheduled(connection, timing), options));
    }
  });

  afterAll(async () => {
    vi.useRealTimers();
    for (const connection of connections) await connection.destroy();
    await database.remove();
  });

  /** A signed-in client, outside the scheduler's reach. */
  async function signIn(): Promise<{ client: Client; id: string }> {
    const client = new Client();
    let id = '';
    const { setCookies, error } = await serve(cores[0]!.service, client.request(), async (response) => {
      ({ id } = await cores[0]!.service.create(client.request(), response, { userId: 'alice' }));
    });
    if (error !== undefined) throw error as Error;
    client.receive(setCookies);
    return { client, id };
  }

  /** A client's requests on their way; lets time pass only as far as the slowest of them allows. */
  class Traffic {
    private readonly underWay = new Map<Promise<void>, number>();

    constructor(
      private readonly scheduler: fc.Scheduler,
      private readonly answered: (served: Served) => void,
    ) {}

    send(client: Client, { instance: index, isExplicit, isLost }: Send): void {
      const request = client.request();
      const { service } = cores[index]!;
      const journey = async (): Promise<void> => {
        await this.scheduler.schedule(Promise.resolve(), 'request');
        const served = await (isExplicit
          ? serve(service, request, (response) => service.refreshRequest(request, response))
          : serve(service, request));
        this.answered(served);
        await this.scheduler.schedule(Promise.resolve(), 'response');
        if (!isLost) client.receive(served.setCookies);
      };
      const promise = journey().finally(() => this.underWay.delete(promise));
      this.underWay.set(promise, Date.now());
    }

    async wait(ms: number): Promise<void> {
      // Request and response take less than the allowed delay each.
      const oldest = Math.min(Date.now(), ...this.underWay.values());
      if (Date.now() + ms - oldest > MAX_DELAY) await this.arrive();
      vi.setSystemTime(Date.now() + ms);
    }

    async arrive(): Promise<void> {
      await this.scheduler.waitFor(Promise.all(this.underWay.keys()));
    }
  }

  async function play(traffic: Traffic, client: Client, history: readonly Round[]): Promise<void> {
    for (const round of history) {
      await traffic.wait(round.wait);
      for (const each of round.sends) traffic.send(client, each);
    }
  }

  /** Everything in `action` runs under the scheduler; what is around it (sign-in, looking at the end) does not. */
  async function under(scheduler: fc.Scheduler, action: () => Promise<void>): Promise<void> {
    timing.scheduler = scheduler;
    try {
      await action();
    } finally {
      timing.scheduler = undefined;
    }
  }

  const parameters = { numRuns: runs, seed, endOnFailure: false } as const;

  it('never signs an honest browser out, whatever it sends and however statements and responses interleave', async () => {
    await fc.assert(
      fc.asyncProperty(fc.scheduler(), rounds, async (scheduler, history) => {
        const { client, id } = await signIn();
        const errors: unknown[] = [];
        await under(scheduler, async () => {
          const traffic = new Traffic(scheduler, ({ error }) => error !== undefined && errors.push(error));
          await play(traffic, client, history);
          await traffic.arrive();
        });
        expect(errors).toEqual([]);
        expect(client.isSignedIn).toBe(true);
        // One row per session, and it lives.
        const rows = await connections[0]!.getRepository(SessionEntity).findBy({ id });
        expect(rows.map(({ revokedAt }) => revokedAt)).toEqual([null]);
      }),
      parameters,
    );
  });

  it('never lets a revoked session answer again, whatever was on its way', async () => {
    await fc.assert(
      fc.asyncProperty(fc.scheduler(), rounds, rounds, instance, async (scheduler, before, after, index) => {
        const { client, id } = await signIn();
        let wasRevoked = false;
        await under(scheduler, async () => {
          const traffic = new Traffic(scheduler, () => undefined);
          await play(traffic, client, before);
          // The revocation runs among the requests that are under way.
          const revocation = cores[index]!.service.revoke(id);
          await scheduler.waitFor(Promise.all([revocation, traffic.arrive()]));
          wasRevoked = await revocation;
        });
        expect(wasRevoked).toBe(true);

        const answers: unknown[] = [];
        await under(scheduler, async () => {
          const traffic = new Traffic(scheduler, ({ error }) => answers.push(error));
          await play(traffic, client, after);
          await traffic.arrive();
        });
        expect(answers.filter((error) => !(error instanceof SessionError))).toEqual([]);
        for (const core of cores) expect(await core.service.find(id)).toBeNull();
        const rows = await connections[0]!.getRepository(SessionEntity).findBy({ id });
        expect(rows.map(({ revokedAt }) => revokedAt)).toEqual([expect.any(Number)]);
      }),
      parameters,
    );
  });

  it('catches a thief at the latest when both parties have refreshed twice, even in lock step', async () => {
    // In each round the owner, the thief, or both at once send something.
    const moves = fc.array(
      fc.record({ parties: fc.constantFrom([0], [1], [0, 1], [0, 1]), instance, wait: waits }),
      { minLength: 4, maxLength: 16 },
    );
    await fc.assert(
      fc.asyncProperty(fc.scheduler(), rounds, moves, async (scheduler, history, split) => {
        const { client: owner, id } = await signIn();
        const parties = [owner];
        const refreshed = [0, 0];
        let isCaught = false;
        const send = async (party: number, index: number): Promise<void> => {
          const { setCookies, error } = await serve(cores[index]!.service, parties[party]!.request());
          if (error instanceof SessionError) isCaught = true;
          if (setCookies.some((line) => /session_refresh=./.test(line))) refreshed[party]!++;
          parties[party]!.receive(setCookies);
        };
        await under(scheduler, async () => {
          const traffic = new Traffic(scheduler, () => undefined);
          await play(traffic, owner, history);
          await traffic.arrive();
          parties.push(owner.copy());
          for (const { parties: who, instance: index, wait } of split) {
            vi.setSystemTime(Date.now() + wait);
            const requests = who.map((party) => send(party, (index + party) % INSTANCES));
            await scheduler.waitFor(Promise.all(requests));
            if (isCaught) break;
            expect(Math.min(...refreshed)).toBeLessThan(2);
          }
        });
        if (!isCaught) return;
        expect(await cores[0]!.service.find(id)).toBeNull();
        for (const party of parties) {
          expect((await serve(cores[1]!.service, party.request())).error).toBeInstanceOf(SessionError);
        }
      }),
      parameters,
    );
  });
});
