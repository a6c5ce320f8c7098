import { AsyncLocalStorage } from 'node:async_hooks';
import * as fc from 'fast-check';
import type { DataSource } from 'typeorm';
import { afterAll, afterEach, beforeAll, describe, expect, it, vi } from 'vitest';
import {
  LookAgainError,
  SessionEntity,
  SessionError,
  type SessionEvent,
  type SessionModuleOptions,
} from 'nestjs-session-tokens';
import type { SessionCore } from '../../lib/module/session.core.js';
import { connect, databases, type TestDatabase } from '../support/databases.js';
import { startCore } from '../support/core.js';
import { pass, stopClock } from '../support/time.js';
import { Client, serve } from './client.js';
import { scheduled, type Timing } from './scheduled-data-source.js';
import { type Answer, type Delays, type Instance, type Send, Traffic } from './traffic.js';

/**
 * The whole service on a real database, in several instances, each with its own connection. fast-check chooses what the
 * clients do. Its scheduler chooses the order in which statements run and responses arrive.
 *
 * The seed is fixed, so that a run can be repeated. INTERLEAVINGS and INTERLEAVINGS_SEED change length and seed.
 */
const runs = Number(process.env['INTERLEAVINGS'] ?? 40);
const seed = Number(process.env['INTERLEAVINGS_SEED'] ?? 20_261_123);

const WINDOW = 4_500;
/** 10 W, as by default. So a request can be so late that its generation is over. */
const TTL = 10 * WINDOW;
/** D = W / 9. */
const DELAY = WINDOW / 9;

/** How far the clock of each process is ahead of the first one's: less than D. */
const CLOCKS = [0, DELAY / 2, DELAY - 1];

/** As long as the protocol allows. If a response leaves later, its tokens are removed. */
const delays: Delays = {
  request: TTL / 2 - 2.5 * DELAY,
  server: DELAY,
  leaving: DELAY,
  response: DELAY,
  lastRequest: 2 * DELAY,
};
/** The upper limit of the span of cookie changes that a killed browser loses. */
const LOST = (4 * WINDOW) / 9;

const options: SessionModuleOptions = {
  accessToken: { ttl: TTL / 1_000 },
  refreshToken: { ttl: '1h' },
  reuseWindow: WINDOW / 1_000,
  // Several rotations in every history.
  signingKeys: { rotation: 60 },
  revocation: 'database',
  cleanup: false,
};

/** What happens to the client or the database between two rounds. Fractions are shares of what may be lost. */
type Accident =
  | { readonly what: 'nothing' }
  | { readonly what: 'the client is killed'; readonly lost: number; readonly arrives: boolean }
  | { readonly what: 'the row goes back'; readonly back: number };

/** Some time passes, then these requests are sent at once. Earlier requests may still be in flight. */
interface Round {
  readonly wait: number;
  readonly accident: Accident;
  readonly sends: readonly Send[];
}

const rarely = (weight: number) =>
  fc.oneof({ weight, arbitrary: fc.constant(false) }, { weight: 1, arbitrary: fc.constant(true) });
const fraction = fc.double({ min: 0, max: 1, noNaN: true });
const instance = fc.nat(CLOCKS.length - 1);
const send: fc.Arbitrary<Send> = fc.record({
  instance,
  isExplicit: rarely(4),
  lateness: fc.oneof(fc.constant(0), fc.constant(0), fc.constantFrom(1, 0.99, 0.5), fraction),
  isLost: rarely(6),
  looksAgain: fc.constantFrom('at once', 'at once', 'later'),
});
const sends = fc.array(send, { minLength: 1, maxLength: 4 });
/** Times at which something changes: within a burst, when a generation settles, when tokens expire. */
const SHORT = [0, 1, DELAY, 2 * DELAY];
const SETTLING = [WINDOW - DELAY, WINDOW, WINDOW + DELAY, 2 * WINDOW];
const EXPIRING = [TTL - DELAY, TTL, TTL + WINDOW];
const ANY = [...SHORT, ...SETTLING, ...EXPIRING, delays.request, TTL - WINDOW];

const nothing = fc.constant<Accident>({ what: 'nothing' });
const killed: fc.Arbitrary<Accident> = fc.record({
  what: fc.constant('the client is killed'),
  lost: fc.oneof(fraction, fc.constant(1)),
  arrives: fc.boolean(),
});
const backwards: fc.Arbitrary<Accident> = fc.record({
  what: fc.constant('the row goes back'),
  back: fraction,
});
const accident = fc.oneof(
  { weight: 6, arbitrary: nothing },
  { weight: 3, arbitrary: killed },
  { weight: 1, arbitrary: backwards },
);

/**
 * Anything at any time, or the usual order: requests that refresh, more when the responses arrive, and some that prove.
 *
 * @param after makes a round some time after the previous one
 */
function historyOf<T>(
  after: (...times: number[]) => fc.Arbitrary<T>,
  ...more: fc.Arbitrary<T[]>[]
): fc.Arbitrary<T[]> {
  const anything = fc.tuple(after(...ANY));
  const visit = fc.tuple(after(...EXPIRING), after(...SHORT), after(...SETTLING));
  const parts = fc.oneof<fc.Arbitrary<T[]>[]>(anything, visit, ...more);
  return fc.array(parts, { minLength: 1, maxLength: 6 }).map((each) => each.flat());
}

const roundWith =
  (befalls: fc.Arbitrary<Accident>) =>
  (...times: number[]): fc.Arbitrary<Round> =>
    fc.record({ wait: fc.constantFrom(...times), accident: befalls, sends });

const rounds = historyOf(roundWith(nothing));
/** Also kills a browser that has just got tokens and has used them. */
const roundsWithAccidents = historyOf(
  roundWith(accident),
  fc.tuple(
    roundWith(nothing)(...EXPIRING),
    roundWith(nothing)(DELAY, 2 * DELAY),
    roundWith(killed)(1, DELAY, 2 * DELAY),
  ),
);

describe.each(databases)('$name', { timeout: 600_000 }, (kind) => {
  let database: TestDatabase;
  const connections: DataSource[] = [];
  const cores: SessionCore[] = [];
  const instances: Instance[] = [];
  const timing: Timing = { scheduler: undefined };
  /** Thefts that were reported. */
  const thefts: Extract<SessionEvent, { type: 'theft' }>[] = [];

  beforeAll(async () => {
    stopClock();
    const clock = new AsyncLocalStorage<number>();
    const now = Date.now.bind(Date);
    Date.now = () => now() + (clock.getStore() ?? 0);
    database = await kind.create();
    for (const ahead of CLOCKS) {
      const connection = await connect(database);
      connections.push(connection);
      const core = await startCore(scheduled(connection, timing), options);
      core.events.stream.subscribe((event) => {
        if (event.type === 'theft') thefts.push(event);
      });
      cores.push(core);
      instances.push({ service: core.service, run: (action) => clock.run(ahead, action) });
    }
  });

  afterEach(() => thefts.splice(0));

  afterAll(async () => {
    vi.useRealTimers();
    for (const connection of connections) await connection.destroy();
    await database.remove();
  });

  /** A signed-in client. The scheduler does not control the sign-in. */
  async function signIn(): Promise<{ client: Client; id: string }> {
    thefts.splice(0);
    const client = new Client();
    let id = '';
    const { error, leave } = await serve(cores[0]!.service, client.request(), async (response) => {
      ({ id } = await cores[0]!.service.create(client.request(), response, { userId: 'alice' }));
    });
    if (error !== undefined) throw error as Error;
    client.receive(leave());
    // The sign-in is not among what a browser that is killed may have lost.
    pass(LOST);
    return { client, id };
  }

  /** One request of a client that has no other request in progress. */
  async function ask(client: Client, index = 0): Promise<unknown> {
    const { error, leave } = await serve(cores[index]!.service, client.request());
    client.receive(leave());
    return error;
  }

  async function isServed(client: Client): Promise<boolean> {
    const error = await ask(client);
    if (error !== undefined && !(error instanceof SessionError)) throw error as Error;
    return error === undefined;
  }

  const sessions = () => connections[0]!.getRepository(SessionEntity);

  function trafficUnder(scheduler: fc.Scheduler, answered: (answer: Answer) => void): Traffic {
    return new Traffic(scheduler, instances, delays, answered);
  }

  async function play(
    traffic: Traffic,
    { client, id }: { client: Client; id: string },
    history: readonly Round[],
  ): Promise<void> {
    /** Earlier states of the row. */
    const copies: SessionEntity[] = [];
    for (const { wait, accident: befalls, sends: requests } of history) {
      await traffic.wait(wait);
      copies.push(await sessions().findOneByOrFail({ id }));
      if (befalls.what === 'the client is killed') traffic.kill(client, befalls.lost * LOST, befalls.arrives);
      if (befalls.what === 'the row goes back') {
        const copy = copies[Math.floor(befalls.back * (copies.length - 1))]!;
        const { generation, redeemedBy, lastSeenAt, expiresAt } = copy;
        await sessions().update(id, { generation, redeemedBy, lastSeenAt, expiresAt });
      }
      for (const each of requests) traffic.send(client, each);
    }
  }

  /** The scheduler controls everything in `action`, but not what is around it (sign-in, checks at the end). */
  async function under(scheduler: fc.Scheduler, action: () => Promise<void>): Promise<void> {
    timing.scheduler = scheduler;
    try {
      await action();
    } finally {
      timing.scheduler = undefined;
    }
  }

  const parameters = { numRuns: runs, seed, endOnFailure: false } as const;

  it('never signs an honest browser out, whatever it sends, however late, whatever befalls it, and however statements and responses interleave', async () => {
    let looks = 0;
    await fc.assert(
      fc.asyncProperty(fc.scheduler(), roundsWithAccidents, async (scheduler, history) => {
        const alice = await signIn();
        const answers: Answer[] = [];
        await under(scheduler, async () => {
          const traffic = trafficUnder(scheduler, (answer) => answers.push(answer));
          await play(traffic, alice, history);
          await traffic.arrive();
        });
        const errors = answers.map(({ error }) => error).filter((error) => error !== undefined);
        expect(errors.filter((error) => !(error instanceof LookAgainError))).toEqual([]);
        if (errors.length > 0) looks++;
        const lines = answers.flatMap(({ setCookies }) => setCookies);
        expect(lines.filter((line) => /^[^=]*session_(access|refresh)=;/.test(line))).toEqual([]);
        expect(thefts).toEqual([]);
        // The session goes on.
        for (const wait of [0, TTL, WINDOW, TTL]) {
          pass(wait);
          expect(await ask(alice.client)).toBeUndefined();
        }
        // One row per session, and it is live.
        const rows = await sessions().findBy({ id: alice.id });
        expect(rows.map(({ revokedAt }) => revokedAt)).toEqual([null]);
      }),
      parameters,
    );
    // Some of them were told to look again.
    expect(looks).toBeGreaterThan(runs / 20);
  });

  it('never lets a revoked session answer again, whatever was on its way', async () => {
    await fc.assert(
      fc.asyncProperty(fc.scheduler(), rounds, rounds, instance, async (scheduler, before, after, index) => {
        const alice = await signIn();
        const { client, id } = alice;
        let wasRevoked = false;
        await under(scheduler, async () => {
          const traffic = trafficUnder(scheduler, () => undefined);
          await play(traffic, alice, before);
          // The revocation runs while requests are in progress.
          const revocation = cores[index]!.service.revoke(id);
          await scheduler.waitFor(Promise.all([revocation, traffic.arrive()]));
          wasRevoked = await revocation;
        });
        expect(wasRevoked).toBe(true);

        const answers: unknown[] = [];
        await under(scheduler, async () => {
          const traffic = trafficUnder(scheduler, ({ error }) => answers.push(error));
          await play(traffic, alice, after);
          await traffic.arrive();
        });
        // Told to look again and, having done so, that the session is over; after that, it has no cookies. Until then they
        // are left alone for a while: the response to another sign-in may be on its way.
        pass(3 * DELAY);
        answers.push(await ask(client), await ask(client), await ask(client));
        expect(client.isSignedIn).toBe(false);
        expect(answers.filter((error) => !(error instanceof SessionError))).toEqual([]);
        for (const core of cores) expect(await core.service.find(id)).toBeNull();
        const rows = await sessions().findBy({ id });
        expect(rows.map(({ revokedAt }) => revokedAt)).toEqual([expect.any(Number)]);
        expect(thefts).toEqual([]);
      }),
      parameters,
    );
  });

  it('lets owner or thief refresh a second time, but not both, even in lock step: the other one is refused', async () => {
    // In each round the owner, the thief, or both at once send something.
    const move = fc.record({
      party: fc.constantFrom(0, 1),
      send,
      thiefLooksAgain: fc.constantFrom('never', 'never', 'at once', 'later'),
    });
    const moves = historyOf((...times) =>
      fc.record({
        wait: fc.constantFrom(...times),
        sends: fc.array(move, { minLength: 1, maxLength: 4 }),
      }),
    );
    let caught = 0;
    await fc.assert(
      fc.asyncProperty(fc.scheduler(), rounds, moves, async (scheduler, history, split) => {
        const alice = await signIn();
        const { client: owner, id } = alice;
        let thief = owner;
        await under(scheduler, async () => {
          const traffic = trafficUnder(scheduler, () => undefined);
          await play(traffic, alice, history);
          await traffic.arrive();
          thief = owner.copy();
          owner.refreshed = 0;
          for (const { wait, sends: requests } of split) {
            await traffic.wait(wait);
            for (const { party, send: each, thiefLooksAgain } of requests) {
              if (party === 0) traffic.send(owner, each);
              else traffic.send(thief, { ...each, looksAgain: thiefLooksAgain });
            }
            expect(Math.min(owner.refreshed, thief.refreshed)).toBeLessThan(2);
          }
          await traffic.arrive();
          // Both send requests at the same moments, for as long as they can.
          for (let round = 0; round < 3; round++) {
            await traffic.wait(TTL + WINDOW);
            const both = { isExplicit: false, lateness: 0, isLost: false } as const;
            traffic.send(owner, { ...both, instance: round % CLOCKS.length, looksAgain: 'at once' });
            traffic.send(thief, { ...both, instance: (round + 1) % CLOCKS.length, looksAgain: 'never' });
            await traffic.arrive();
            expect(Math.min(owner.refreshed, thief.refreshed)).toBeLessThan(2);
          }
        });

        if (thefts.length > 0) caught++;
        const outcome = {
          thief: await isServed(thief.copy()),
          owner: await isServed(owner.copy()),
          thefts: thefts.map((event) => event.sessionId),
          lives: (await cores[0]!.service.find(id)) !== null,
        };
        expect([
          { thief: false, owner: false, thefts: [id], lives: false },
          // The thief was refused and did not look again. The owner does not notice anything.
          { thief: false, owner: true, thefts: [], lives: true },
        ]).toContainEqual(outcome);
      }),
      parameters,
    );
    expect(caught).toBeGreaterThan(runs / 10);
    expect(caught).toBeLessThan(runs);
  });
});
