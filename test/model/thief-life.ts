import type { RotationState, RotationTimes } from '../../lib/protocol/rotation.js';
import { type Exploration, explore, type Model } from './explore.js';
import {
  type AccessToken,
  answer,
  firstJar,
  type Jar,
  nameOf,
  type RefreshToken,
  TICK,
  newTokenId,
} from './server.js';

/**
 * The longest time for which a thief who copies the jar once stays undetected, over everything that he can do.
 *
 * Assumptions about the owner: he is always active. He sends one request in each tick, with the jar of that moment. It
 * is answered in the same tick, and the answer is in his jar before anything else happens. When he is told to look
 * again, he does so at once; at that moment the split is detected. He never calls the refresh route without
 * need. He is never killed, and never loses a response. If the owner is away, the thief's life is longer by that time.
 *
 * What the thief may do: he copies the jar once, at any moment of the owner's first generations. In each tick he makes any
 * number of requests, before and after the owner's: with any access token that he has got, or at the refresh route with
 * any refresh token that he keeps. He keeps at most `hoard` refresh tokens, and chooses which to forget. He does not look
 * again, because that ends the session.
 *
 * His life is the time from the copy to his last accepted request before the split is detected, in whole ticks.
 */
export interface LifeLimits {
  /** Lifetime of an access token, in ticks. */
  readonly ttl: number;
  /** Reuse window, in ticks. */
  readonly window: number;
  /** The largest number of refresh tokens that the thief keeps. */
  readonly hoard: number;
  /** The latest time of the copy, in ticks after the sign-in. */
  readonly copiedBy: number;
  /** The end of the exploration, in ticks after the copy. */
  readonly horizon: number;
}

interface Loot {
  readonly refresh: RefreshToken;
  /** The longest-lived unproven access token of its generation. */
  readonly access: AccessToken | undefined;
}

interface Theft {
  readonly copiedAt: number;
  readonly hoard: readonly Loot[];
  /** The expiry of his longest-lived proven access token. The server does not read the row for such tokens. */
  readonly provenUntil: number;
}

interface World {
  readonly now: number;
  readonly tokens: number;
  readonly row: RotationState;
  readonly jar: Jar;
  /** Whether the owner's request of this tick has been served. */
  readonly isServed: boolean;
  readonly theft: Theft | undefined;
  /** Whether the last event is a request of the thief that was accepted. */
  readonly isAccepted: boolean;
  /** Whether the split has been detected. */
  readonly isNoticed: boolean;
}

type Event = [event: string, next: World];

export interface Life extends Exploration {
  /** The longest life so far, in ticks. */
  readonly life: number;
}

/**
 * @param bound a longer life ends the exploration and becomes its story
 * @param max the largest number of states
 */
export function longestLife(limits: LifeLimits, bound: number, max: number): Life {
  const model = new ThiefLife(limits, bound);
  const exploration = explore(model, max);
  return { ...exploration, life: model.longest };
}

class ThiefLife implements Model<World> {
  readonly start: World;
  /** The longest life so far. */
  longest = 0;
  private readonly times: RotationTimes;

  constructor(
    private readonly limits: LifeLimits,
    private readonly bound: number,
  ) {
    const { ttl, window } = limits;
    const delay = (window * TICK) / 9;
    this.times = { reuseWindow: window * TICK, ttl: ttl * TICK, jitter: 0, delay };
    this.start = {
      now: 0,
      tokens: 1,
      row: { generation: 0, redeemedBy: null },
      jar: firstJar(newTokenId(0, 'longest'), 0, 0, this.times),
      isServed: false,
      theft: undefined,
      isAccepted: false,
      isNoticed: false,
    };
  }

  violation(world: World): string | undefined {
    if (!world.isAccepted) return undefined;
    const life = lifeIn(world);
    this.longest = Math.max(this.longest, life);
    return life > this.bound ? `THE THIEF HAS LIVED FOR ${life} TICKS.` : undefined;
  }

  isCaught({ isNoticed }: World): boolean {
    return isNoticed;
  }

  successors(world: World): Event[] {
    const events = [this.serveOwner(world), ...this.steal(world)];
    return events
      .filter(([, { theft, now }]) =>
        theft ? now <= theft.copiedAt + this.limits.horizon * TICK : now <= this.limits.copiedBy * TICK,
      )
      .map(([event, next]) => [`t=${next.now / TICK} ${event}`, next]);
  }

  private ask(world: World, jar: Jar, isExplicit: boolean) {
    const server = { times: this.times, again: true, nextId: newTokenId(world.tokens, 'longest') };
    return answer(world.row, { jar, isExplicit }, world.now, server);
  }

  /** The owner's request of this tick; if it was served, the next tick. */
  private serveOwner(world: World): Event {
    const before: World = { ...world, isAccepted: false };
    if (world.isServed) return ['a tick passes', { ...before, isServed: false, now: world.now + TICK }];
    let given = this.ask(world, world.jar, false);
    if (given.kind === 'again') {
      given = this.ask(world, { ...world.jar, again: given.tokenId }, false);
    }
    const event = `a request of the owner is served: ${given.story}`;
    if (given.kind !== 'accepted') return [event, { ...before, isNoticed: true }];
    const { row, tokens } = given;
    const jar: Jar = { ...world.jar, ...tokens };
    return [event, { ...before, row, jar, tokens: world.tokens + 1, isServed: true }];
  }

  private steal(world: World): Event[] {
    const { theft, jar, now } = world;
    if (!theft) {
      const { refresh, access } = jar;
      const next: Theft = {
        copiedAt: now,
        hoard: [{ refresh, access: access.isUnproven ? access : undefined }],
        provenUntil: access.isUnproven ? 0 : access.expiresAt,
      };
      return [['a thief copies the cookies', { ...world, theft: next }]];
    }
    const events: Event[] = [];
    if (now < theft.provenUntil) {
      events.push([
        'a request of the thief is served: a proven access token',
        { ...world, isAccepted: true },
      ]);
    }
    for (const [index, loot] of theft.hoard.entries()) {
      for (const isExplicit of [false, true])
        events.push(...this.tryLoot(world, theft, loot, index, isExplicit));
    }
    return events;
  }

  private tryLoot(world: World, theft: Theft, loot: Loot, index: number, isExplicit: boolean): Event[] {
    const { refresh, access } = loot;
    if (!access && !isExplicit) return [];
    const jar: Jar = { refresh, access: access ?? world.jar.access, again: undefined };
    const given = this.ask(world, jar, isExplicit);
    if (given.kind !== 'accepted') return [];
    const { row, tokens } = given;
    const event = `a request of the thief is served: ${given.story}`;
    const next: World = { ...world, row, isAccepted: true };
    if (tokens.refresh) {
      const won: Loot = { refresh: tokens.refresh, access: tokens.access };
      const { hoard } = theft;
      const hoards: (readonly Loot[])[] =
        hoard.length < this.limits.hoard ? [[...hoard, won]] : hoard.map((_, slot) => hoard.with(slot, won));
      return hoards.map((each) => [
        event,
        { ...next, tokens: world.tokens + 1, theft: { ...theft, hoard: each } },
      ]);
    }
    if (!tokens.access) return [[event, next]];
    const { isUnproven, expiresAt } = tokens.access;
    if (!isUnproven) {
      const provenUntil = Math.max(theft.provenUntil, expiresAt);
      return [[event, { ...next, theft: { ...theft, provenUntil } }]];
    }
    const better: Loot = {
      refresh,
      access: access && access.expiresAt >= expiresAt ? access : tokens.access,
    };
    return [[event, { ...next, theft: { ...theft, hoard: theft.hoard.with(index, better) } }]];
  }

  canonical(world: World): string {
    const { now, row, jar, theft } = world;
    const oldest = (Math.max(this.limits.ttl, this.limits.window) + 1) * TICK;
    const age = (time: number) => Math.min(now - time, oldest) / TICK;
    const accessOf = (t: AccessToken | undefined) => {
      if (!t || now >= t.expiresAt) return 'x';
      const left = (t.expiresAt - now) / TICK;
      return t.isUnproven ? `${t.generation - row.generation},${age(t.issuedAt)},${left}` : `p${left}`;
    };
    const refreshOf = ({ generation, issuedAt, tokenId: id }: RefreshToken) =>
      `${Math.max(generation - row.generation, -3)},${age(issuedAt)}${id === row.redeemedBy ? 'r' : ''}${id === jar.refresh.tokenId ? 'o' : ''}`;
    const parts = [
      row.redeemedBy === null ? '-' : nameOf(row.redeemedBy) === nameOf(jar.refresh.tokenId) ? 'o' : 't',
      `${refreshOf(jar.refresh)}/${accessOf(jar.access)}`,
      `${world.isServed ? 1 : 0}${world.isAccepted ? 1 : 0}${world.isNoticed ? 1 : 0}`,
      theft ? (now - theft.copiedAt) / TICK : `c${now / TICK}`,
    ];
    if (theft) {
      const loot = theft.hoard.map(({ refresh, access }) => `${refreshOf(refresh)}/${accessOf(access)}`);
      parts.push(loot.toSorted().join('|'), String(Math.max(0, theft.provenUntil - now) / TICK));
    }
    return parts.join(';');
  }
}

function lifeIn({ now, theft }: World): number {
  return theft ? (now - theft.copiedAt) / TICK : 0;
}
