import { mayLeave, type RotationState, type RotationTimes } from '../../lib/protocol/rotation.js';
import { canonical } from './canonical.js';
import type { Model } from './explore.js';
import {
  type AccessToken,
  type Answer,
  answer,
  type Asked,
  firstJar,
  isAccepted,
  type Jar,
  type LifeSpan,
  nameOf,
  type RefreshToken,
  type Server,
  TICK,
  newTokenId,
  type Tokens,
} from './server.js';

/**
 * A small world around the real rotation rules: one browser with its cookie jar, one session row, messages that are late,
 * reordered or lost, a browser that is killed, a database that goes back in time, and a thief who copies the jar once.
 *
 * A count of `Infinity` is no limit, and is not part of a state. If all counts are `Infinity`, the exploration covers
 * histories of any length. Times are in ticks unless stated otherwise.
 */
export interface Limits {
  /** Reuse window; at most half of `ttl`. */
  readonly window: number;
  /** Lifetime of an access token. */
  readonly ttl: number;
  /** Jitter as a share of `ttl`. Each access token has either the longest or the shortest lifetime. */
  readonly jitter: number;
  /** The longest time of a request, from attaching its cookies until the server gets it. */
  readonly request: number;
  /** The longest time of a response, from sending its headers until it arrives. */
  readonly response: number;
  /** How many responses with tokens handlers may hold back at once, for any time. */
  readonly held: number;
  /** The longest span of cookie changes that a killed browser can lose. */
  readonly flush: number;
  /** How long after the kill the requests of a killed browser may arrive. */
  readonly lastWords: number;
  /** How far the clock of the other process is ahead, in milliseconds. */
  readonly skew: number;

  /** The largest number of messages in flight. */
  readonly messages: number;
  /** The total number of requests. */
  readonly sends: number;
  /** How often time passes: by a tick, or, while no message is in flight, by the lifetime of an access token. */
  readonly time: number;
  /** The total number of lost responses. */
  readonly lost: number;
  /** How often the browser is killed. */
  readonly kills: number;
  /** How often the database goes back in time. */
  readonly failovers: number;
  /** The largest number of writes that it then loses. */
  readonly writes: number;
  /** How often the application revokes the session. */
  readonly revocations: number;
  /** How often the owner signs in again. */
  readonly signIns: number;
  /** Whether a response that left before a sign-in was served may arrive after the response to the sign-in. */
  readonly overtaking: boolean;
  /** Whether the owner may be told to look again with an ended session while the response to a sign-in is in flight. */
  readonly hasty: boolean;
  /** Whether a second look with an ended session may be in flight while the owner signs in. */
  readonly lateLooks: boolean;

  /** Whether the browser may also call the refresh route at any time. */
  readonly explicit: boolean;
  /** The largest number of refresh tokens that a thief keeps. 0: no thief. */
  readonly hoard: number;
  /** Whether a client may look again before it is called a thief. */
  readonly again: boolean;
}

/** The delays that the protocol must tolerate (docs/rotation.md, "What is assumed"), for given `ttl` and `window`. */
export function promised(ttl: number, window: number, jitter = 0) {
  const delay = window / 9;
  // D until the response leaves, and D until it arrives. If D < 1 tick, both together are one tick.
  const response = Math.ceil(delay);
  const shortest = Math.ceil(ttl * (1 - jitter));
  return {
    ttl,
    window,
    jitter,
    request: below(shortest / 2 - Math.max(2.5 * delay, response)),
    response,
    flush: below(4 * delay),
    lastWords: Math.floor(2 * delay),
  };
}

const below = (bound: number) => Math.ceil(bound) - 1;

interface Request extends Asked {
  readonly kind: 'request';
  /** Used only for the story. */
  readonly sentAt: number;
  /** The latest time of its arrival. */
  readonly until: number;
  /** The number of kills before the browser sent it. */
  readonly life: number;
  readonly isSignIn: boolean;
}

interface Response {
  readonly kind: 'response';
  readonly until: number;
  readonly tokens: Tokens;
  /** The marker, if the client is told to look again. */
  readonly again: string | undefined;
  readonly isExplicit: boolean;
  readonly clears: boolean;
  readonly isSignIn: boolean;
  /** Whether it left before a sign-in was served whose response is still in flight. */
  readonly isOlder: boolean;
}

/** A response whose headers have not been sent. */
interface Held {
  readonly kind: 'held';
  readonly madeAt: number;
  readonly session: number;
  readonly tokens: Tokens;
}

export type Message = Request | Response | Held;

/** A refresh token of the thief, with the longest-lived access token that he has got for it. */
interface Loot {
  readonly refresh: RefreshToken;
  readonly access: AccessToken;
}

interface Session {
  /** Undefined once the session is over. */
  readonly row: RotationState | undefined;
  /** Earlier states of the row, to which the database may go back. */
  readonly past: readonly RotationState[];
}

export interface World {
  readonly now: number;
  readonly tokens: number;
  readonly sent: number;
  readonly passed: number;
  readonly lost: number;
  readonly killed: number;
  readonly failed: number;
  /** The number of writes that the database has lost. */
  readonly forgotten: number;
  readonly revoked: number;
  readonly sessions: readonly Session[];
  /** Undefined when the jar is empty. */
  readonly jar: Jar | undefined;
  /** Earlier jars with which a killed browser may come back, and the time until which each was in use. */
  readonly earlier: readonly { readonly at: number; readonly jar: Jar }[];
  readonly messages: readonly Message[];
  /** Undefined until the jar is copied. */
  readonly hoard: readonly Loot[] | undefined;
  /** How often owner and thief have refreshed since the copy, each with the token of the previous refresh. */
  readonly refreshed: readonly [owner: number, thief: number];
  /** How a story ends. */
  readonly end: 'theft' | 'cleared' | 'replaced' | 'served' | 'refused' | undefined;
}

type Event = [event: string, next: World];

export function smallWorld(limits: Limits): Model<World> {
  return new SmallWorld(limits);
}

class SmallWorld implements Model<World> {
  readonly start: World;
  private readonly times: RotationTimes;
  private readonly lives: readonly LifeSpan[];

  constructor(private readonly limits: Limits) {
    const { window, ttl, jitter } = limits;
    const delay = (window * TICK) / 9;
    this.times = { reuseWindow: window * TICK, ttl: ttl * TICK, jitter, delay };
    this.lives = jitter > 0 ? ['longest', 'shortest'] : ['longest'];
    this.start = {
      now: 0,
      tokens: 1,
      sent: 0,
      passed: 0,
      lost: 0,
      killed: 0,
      failed: 0,
      forgotten: 0,
      revoked: 0,
      sessions: [{ row: { generation: 0, redeemedBy: null }, past: [] }],
      jar: firstJar(newTokenId(0, 'longest'), 0, 0, this.times),
      earlier: [],
      messages: [],
      hoard: undefined,
      refreshed: [0, 0],
      end: undefined,
    };
  }

  violation({ end, refreshed, forgotten }: World): string | undefined {
    const { hoard } = this.limits;
    if (end === 'theft' && hoard === 0) return 'AN HONEST CLIENT WAS CALLED A THIEF.';
    if (end === 'cleared') return 'THE COOKIES OF ANOTHER SESSION WERE CLEARED.';
    if (end === 'served') return 'ONE HAS REFRESHED TWICE, AND THE OTHER, LEFT BEHIND, STILL GETS TOKENS.';
    if (end === 'refused')
      return 'A LIVING ACCESS TOKEN WAS REFUSED THAT IS NOT OF A GENERATION THAT IS OVER.';
    if (end === 'replaced') return 'THE TOKENS OF A NEWER SESSION WERE REPLACED.';
    // After k lost writes, it may take k refreshes more.
    if (refreshed.every((depth) => depth >= 2 + forgotten)) {
      return 'OWNER AND THIEF HAVE BOTH REFRESHED TWICE, AND NOBODY HAS NOTICED.';
    }
    return undefined;
  }

  isCaught({ end }: World): boolean {
    return end === 'theft' && this.limits.hoard > 0;
  }

  successors(world: World): Event[] {
    if (world.end) return [];
    const events: Event[] = [
      ...this.sends(world),
      ...world.messages.flatMap((message, index) => {
        const rest = { ...world, messages: world.messages.toSpliced(index, 1) };
        if (message.kind === 'request') return this.serve(rest, message);
        return message.kind === 'held' ? this.leave(rest, message) : this.arrive(rest, message);
      }),
      ...this.kill(world),
      ...this.goBack(world),
      ...this.passTime(world),
      ...this.steal(world),
    ];
    if (world.revoked < this.limits.revocations && newest(world).row) {
      const revoked = { ...world, revoked: world.revoked + 1 };
      events.push(['the application revokes the session', endSession(revoked, world.sessions.length - 1)]);
    }
    return events.map(([event, next]) => [`t=${next.now / TICK} ${event}`, next]);
  }

  // ---- the browser ----

  private sends(world: World): Event[] {
    const { limits } = this;
    if (world.sent >= limits.sends || world.messages.length >= limits.messages) return [];
    const events: Event[] = [];
    const isSigningIn = world.messages.some((message) => message.kind !== 'held' && message.isSignIn);
    if (world.jar && (limits.lateLooks || !isSigningIn || !looksAgain(world.jar))) {
      events.push(['the owner sends a request', this.send(world, world.jar, false)]);
      if (limits.explicit) {
        events.push(['the owner calls the refresh route', this.send(world, world.jar, true)]);
      }
    }
    if (world.sessions.length <= limits.signIns && !isSigningIn) {
      // If the browser has no tokens, nothing else matters to the sign-in.
      const jar = world.jar ?? NOTHING;
      events.push(['the owner signs in again', this.send(world, jar, false, true)]);
    }
    return events;
  }

  private send(world: World, jar: Jar, isExplicit: boolean, isSignIn = false): World {
    const request: Request = {
      kind: 'request',
      jar,
      isExplicit,
      isSignIn,
      sentAt: world.now,
      until: world.now + this.limits.request * TICK,
      life: world.killed,
    };
    return { ...world, sent: world.sent + 1, messages: [...world.messages, request] };
  }

  private arrive(rest: World, response: Response): Event[] {
    const events: Event[] = [];
    const responses = rest.messages.filter((message) => message.kind === 'response');
    const overtakes = response.isSignIn && responses.some(({ isOlder }) => isOlder);
    const isHasty = response.again !== undefined && responses.some(({ isSignIn }) => isSignIn);
    if ((this.limits.overtaking || !overtakes) && (this.limits.hasty || !isHasty)) {
      const next = this.deliver(rest, response);
      if (response.again === undefined) {
        events.push([
          response.clears ? 'the owner’s cookies are cleared' : 'a response arrives at the owner',
          next,
        ]);
      } else {
        const followUp =
          next.jar && this.send({ ...next, sent: next.sent - 1 }, next.jar, response.isExplicit);
        if (followUp) events.push(['the owner is told to look again, and does', followUp]);
        events.push(['the owner is told to look again; its client does not', next]);
      }
    }
    if (rest.lost < this.limits.lost) {
      events.push(['a response to the owner is lost', { ...rest, lost: rest.lost + 1 }]);
    }
    return events;
  }

  private deliver(world: World, { tokens, again, clears, isSignIn }: Response): World {
    const { jar, now } = world;
    if (clears) {
      // The newest session is live, but the browser has lost its tokens.
      const isLost = jar && jar.refresh.session === world.sessions.length - 1 && newest(world).row;
      return { ...world, jar: undefined, earlier: [], end: isLost ? 'cleared' : undefined };
    }
    const refresh = tokens.refresh ?? jar?.refresh;
    const access = tokens.access ?? jar?.access;
    if (!refresh || !access) return world;
    // The browser had the tokens of a newer session.
    const isReplaced = jar && refresh.session < jar.refresh.session;
    const next: Jar = { refresh, access, again: isSignIn ? undefined : (again ?? jar?.again) };
    const mayBeKilled = world.killed < this.limits.kills && jar;
    return {
      ...world,
      jar: next,
      earlier: mayBeKilled ? [...world.earlier, { at: now, jar }] : [],
      end: isReplaced ? 'replaced' : undefined,
    };
  }

  private kill(world: World): Event[] {
    if (world.killed >= this.limits.kills) return [];
    const lastWords = world.now + this.limits.lastWords * TICK;
    return world.earlier.map(({ at, jar }) => [
      `the owner's browser is killed; its cookies are those before t=${at / TICK}`,
      {
        ...world,
        killed: world.killed + 1,
        jar,
        earlier: [],
        messages: world.messages.flatMap((message) =>
          message.kind === 'request' ? [{ ...message, until: Math.min(message.until, lastWords) }] : [],
        ),
      },
    ]);
  }

  // ---- the server ----

  private serve(rest: World, request: Request): Event[] {
    const isLookingAgain = rest.messages.some(
      (message) => message.kind === 'request' && looksAgain(message.jar),
    );
    if (request.isSignIn && isLookingAgain && !this.limits.lateLooks) return [];
    const clocks = this.limits.skew > 0 ? [0, this.limits.skew] : [0];
    return clocks.flatMap((ahead) => {
      const events = request.isSignIn ? [this.signIn(rest, request)] : this.decide(rest, request, ahead);
      const clock = ahead > 0 ? ', by another clock' : '';
      const who = `a request of the owner (sent at t=${request.sentAt / TICK}) is served${clock}:`;
      return events.map(([story, next]): Event => [`${who} ${story}`, next]);
    });
  }

  private decide(rest: World, request: Request, ahead: number): Event[] {
    const { session } = request.jar.refresh;
    const now = rest.now + ahead;
    const isGone = request.life !== rest.killed;
    if (this.isRefused(rest, request, now))
      return [['its access token is refused', { ...rest, end: 'refused' }]];
    return this.answers(rest, request, now).flatMap((given): Event[] => {
      const { story } = given;
      const reply = (response: Partial<Response>, world = rest) =>
        isGone ? world : this.respond(world, { isExplicit: request.isExplicit, ...response });
      switch (given.kind) {
        case 'theft':
          return [[story, { ...rest, end: 'theft' }]];
        case 'over':
          return [[story, reply({ clears: true })]];
        case 'again':
          return [[story, reply({ again: given.tokenId })]];
        case 'accepted': {
          const { tokens, row } = given;
          const world = this.advance(rest, session, row, tokens, 0);
          if (!tokens.access) return [[story, world]];
          const events: Event[] = [[story, reply({ tokens }, world)]];
          const held = rest.messages.filter(({ kind }) => kind === 'held').length;
          if (held < this.limits.held && !isGone) {
            const message: Held = { kind: 'held', madeAt: now, session, tokens };
            const holding = { ...world, messages: [...world.messages, message] };
            events.push([`${story}; its handler takes its time`, holding]);
          }
          return events;
        }
      }
    });
  }

  /** Whether an access token is refused although its generation is not over. */
  private isRefused(world: World, { jar, isExplicit }: Request, now: number): boolean {
    const { row } = world.sessions[jar.refresh.session]!;
    const { access } = jar;
    if (!row || isExplicit || now >= access.expiresAt) return false;
    if (access.session !== jar.refresh.session || access.generation < row.generation) return false;
    return !isAccepted(row, access, now, this.times);
  }

  /** The possible answers of the server. They differ in the lifetime of the new access token. */
  private answers(world: World, asked: Asked, now: number): Answer[] {
    const { row } = world.sessions[asked.jar.refresh.session]!;
    const { times } = this;
    const { again } = this.limits;
    const given: Answer[] = [];
    for (const life of this.lives) {
      const server: Server = { times, again, nextId: newTokenId(world.tokens, life) };
      const next = answer(row, asked, now, server);
      if (next.kind === 'accepted' && next.tokens.refresh && this.lives.length > 1) {
        given.push({ ...next, story: `${next.story}, of the ${life} life` });
      } else if (given.length === 0) {
        given.push(next);
      }
    }
    return given;
  }

  private respond(world: World, response: Partial<Response>): World {
    // A late response without tokens does no harm.
    const { request, response: promptly } = this.limits;
    const until = world.now + (response.again === undefined ? promptly : request) * TICK;
    const message: Response = {
      kind: 'response',
      until,
      tokens: {},
      again: undefined,
      isExplicit: false,
      clears: false,
      isSignIn: false,
      isOlder: false,
      ...response,
    };
    return { ...world, messages: [...world.messages, message] };
  }

  /** The row after a request, and how often owner and thief have refreshed. */
  private advance(world: World, session: number, row: RotationState, tokens: Tokens, who: 0 | 1): World {
    const before = world.sessions[session]!;
    const isChanged = before.row?.generation !== row.generation || before.row.redeemedBy !== row.redeemedBy;
    const remembers = isChanged && world.failed < this.limits.failovers && before.row;
    const past = remembers ? [...before.past, before.row].slice(-this.limits.writes) : before.past;
    const refreshed: [number, number] = [...world.refreshed];
    if (tokens.refresh && world.hoard) refreshed[who] = Math.max(refreshed[who], tokens.refresh.depth);
    const used = tokens.access && tokens.access.generation - (tokens.refresh ? 1 : 0);
    const isLeftBehind = used !== undefined && before.row && used < before.row.generation;
    return {
      ...world,
      sessions: isChanged ? world.sessions.with(session, { row, past }) : world.sessions,
      tokens: world.tokens + (tokens.refresh ? 1 : 0),
      refreshed,
      end: isLeftBehind && world.refreshed[1 - who]! >= 2 ? 'served' : undefined,
    };
  }

  /** Sign-in ends the session whose tokens the request carries, even if these tokens look old. */
  private signIn(rest: World, request: Request): Event {
    const session = rest.sessions.length;
    const world = request.jar === NOTHING ? rest : endSession(rest, request.jar.refresh.session);
    const next: World = {
      ...world,
      tokens: world.tokens + 1,
      messages: world.messages.map((message) =>
        message.kind === 'response' ? { ...message, isOlder: true } : message,
      ),
      sessions: [...world.sessions, { row: { generation: 0, redeemedBy: null }, past: [] }],
    };
    const tokens = firstJar(newTokenId(world.tokens, 'longest'), session, world.now, this.times);
    return [
      `another session begins, with refresh token ${world.tokens}`,
      this.respond(next, { tokens, isSignIn: true }),
    ];
  }

  /** The headers of a response leave, with or without the tokens. */
  private leave(rest: World, { madeAt, session, tokens }: Held): Event[] {
    if (mayLeave(madeAt, rest.now, this.times) && rest.sessions[session]!.row) {
      return [['a response leaves', this.respond(rest, { tokens })]];
    }
    return [['a response leaves without its tokens', rest]];
  }

  // ---- the rest of the world ----

  private goBack(world: World): Event[] {
    if (world.failed >= this.limits.failovers) return [];
    const { past } = world.sessions[0]!;
    return past.map((row, index) => [
      `the database goes back: the row is of generation ${row.generation}, of which ${row.redeemedBy === null ? 'none' : nameOf(row.redeemedBy)} was exchanged`,
      {
        ...world,
        failed: world.failed + 1,
        forgotten: world.forgotten + past.length - index,
        sessions: world.sessions.with(0, { row, past: [] }),
      },
    ]);
  }

  private passTime(world: World): Event[] {
    if (world.passed >= this.limits.time) return [];
    const events: Event[] = [];
    const { messages } = world;
    if (messages.every((message) => message.kind === 'held' || message.until > world.now)) {
      events.push(['a tick passes', this.pass(world, 1)]);
    }
    if (messages.every(({ kind }) => kind === 'held')) {
      events.push(['an access token’s life passes', this.pass(world, this.limits.ttl)]);
    }
    return events;
  }

  private pass(world: World, ticks: number): World {
    const now = world.now + ticks * TICK;
    const oldest = now - this.limits.flush * TICK;
    const earlier = world.earlier.filter(({ at }) => at >= oldest);
    return { ...world, now, passed: world.passed + 1, earlier };
  }

  // ---- the thief ----

  /**
   * The thief can use his tokens at any time, so his messages are never in flight. A late request is the same as one that he
   * makes later. A lost response is the same as one that he does not use.
   */
  private steal(world: World): Event[] {
    if (this.limits.hoard === 0) return [];
    const { hoard } = world;
    if (!hoard) return world.jar ? [['a thief copies the cookies', copy(world, world.jar)]] : [];
    return hoard.flatMap((loot, index) =>
      [false, true].flatMap((isExplicit) => this.tryLoot(world, hoard, loot, index, isExplicit)),
    );
  }

  private tryLoot(
    world: World,
    hoard: readonly Loot[],
    { refresh, access }: Loot,
    index: number,
    isExplicit: boolean,
  ): Event[] {
    const asked: Asked = { jar: { refresh, access, again: undefined }, isExplicit };
    return this.answers(world, asked, world.now).flatMap((given): Event[] => {
      const event = `a request of the thief is served: ${given.story}`;
      // A thief who is told to look again, and comes back with the same token, is caught.
      if (given.kind !== 'accepted') return [[`${event}; he does`, { ...world, end: 'theft' }]];
      const { tokens, row } = given;
      const next = this.advance(world, refresh.session, row, tokens, 1);
      if (!tokens.refresh || !tokens.access) {
        // A proven access token is of no further use to him here, because the server does not read the row for it.
        const isBetter = tokens.access?.isUnproven && tokens.access.expiresAt > access.expiresAt;
        const better: Loot = { refresh, access: isBetter ? tokens.access : access };
        return [[event, { ...next, hoard: hoard.with(index, better) }]];
      }
      const loot: Loot = { refresh: tokens.refresh, access: tokens.access };
      if (hoard.length < this.limits.hoard) return [[event, { ...next, hoard: [...hoard, loot] }]];
      return hoard.map((forgotten, slot): Event => [
        `${event}; he forgets ${nameOf(forgotten.refresh.tokenId)}`,
        { ...next, hoard: hoard.with(slot, loot) },
      ]);
    });
  }

  canonical(world: World): string {
    return canonical(world, this.limits);
  }
}

/** The jar of a browser without cookies. */
const NOTHING: Jar = firstJar('', -1, 0, { reuseWindow: 0, ttl: 0, jitter: 0, delay: 0 });

/** Whether the client with this jar was told earlier that its token looks old. */
function looksAgain({ again, refresh }: Jar): boolean {
  return again === refresh.tokenId;
}

function newest(world: World): Session {
  return world.sessions.at(-1)!;
}

function endSession(world: World, session: number): World {
  const over: Session = { row: undefined, past: [] };
  return { ...world, sessions: world.sessions.with(session, over) };
}

function withDepth<T extends Jar | Tokens>(tokens: T, depth: number): T {
  return tokens.refresh ? { ...tokens, refresh: { ...tokens.refresh, depth } } : tokens;
}

function copy(world: World, { refresh, access }: Jar): World {
  const common: RefreshToken = { ...refresh, depth: 0 };
  return {
    ...world,
    jar: { ...world.jar!, refresh: common },
    hoard: [{ refresh: common, access }],
    refreshed: [0, 0],
    earlier: world.earlier.map(({ at, jar }) => ({ at, jar: withDepth(jar, 0) })),
    // Requests in flight were made before the copy. A refresh among them is the owner's first after the copy.
    messages: world.messages.map((message): Message =>
      message.kind === 'request'
        ? { ...message, jar: withDepth(message.jar, 0) }
        : { ...message, tokens: withDepth(message.tokens, 1) },
    ),
  };
}
