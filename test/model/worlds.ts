import { type Limits, promised } from './world.js';

/** A guarantee, and the worlds in which it is tested. */
export interface Case {
  readonly name: string;
  readonly small: Limits;
  readonly large: Limits;
}

/**
 * Only the number of messages in flight is limited, so histories of any length are tested. To keep the worlds small, none
 * of them has all kinds of trouble at once: each has one kind, and lost responses.
 */
const calm: Omit<Limits, keyof ReturnType<typeof promised>> = {
  held: 0,
  skew: 0,
  messages: 2,
  sends: Infinity,
  time: Infinity,
  lost: Infinity,
  kills: 0,
  failovers: 0,
  writes: 0,
  revocations: 0,
  signIns: 0,
  overtaking: false,
  hasty: false,
  lateLooks: false,
  explicit: false,
  hoard: 0,
  again: true,
};

/** D < 1 tick: a response leaves in the tick in which its tokens were made, or without its tokens. */
const coarse = (over: Partial<Limits> = {}): Limits => ({ ...promised(9, 4), ...calm, ...over });
/** D = 1 tick. */
const fine = (over: Partial<Limits> = {}): Limits => ({ ...promised(18, 9), ...calm, ...over });
/** The smallest possible numbers of ticks. */
const tiny = (over: Partial<Limits> = {}): Limits => ({ ...promised(7, 3), ...calm, ...over });
/** The window is shorter than the longest delay of a request, as by default. */
const short = (over: Partial<Limits> = {}): Limits => ({ ...promised(12, 2), ...calm, ...over });
/** Access tokens live for 3/4 of `ttl`, or for all of it. */
const uneven = (over: Partial<Limits> = {}): Limits => ({ ...promised(9, 4, 0.25), ...calm, ...over });

/** An honest client is never called a thief, and never loses its session. */
export const honest: readonly Case[] = [
  {
    name: 'an honest browser is never signed out, however late its requests are',
    small: coarse(),
    large: coarse({ messages: 3 }),
  },
  {
    name: '... nor where they are later than the window is long',
    small: short(),
    large: short({ explicit: true }),
  },
  {
    name: '... that also calls the refresh route whenever it likes',
    small: tiny({ explicit: true }),
    large: coarse({ explicit: true }),
  },
  {
    name: '... that is killed again and again',
    small: coarse({ kills: Infinity }),
    large: fine({ kills: Infinity }),
  },
  {
    name: '... whose responses are held by handlers',
    small: coarse({ held: 1 }),
    large: fine({ held: 1 }),
  },
  {
    name: '... whose database goes back in time',
    small: coarse({ failovers: 1, writes: 2, lost: 0 }),
    large: coarse({ failovers: 1, writes: 4 }),
  },
  {
    name: '... whose access tokens live for different times',
    small: uneven(),
    large: uneven({ kills: Infinity }),
  },
  {
    name: '... whose requests are served by processes with different clocks',
    small: tiny({ skew: 300 }),
    large: fine({ skew: 900 }),
  },
  {
    // Assumptions while the response to a sign-in is in flight: no other response overtakes it; nobody is told to look again
    // with the session that it has ended; no second look with that session is late. MODEL_OVERTAKING, MODEL_HASTY and
    // MODEL_LATELOOKS = 1 show why each is needed.
    name: '... whose session is revoked and replaced while requests are late',
    small: tiny({ revocations: 1, signIns: 1 }),
    large: coarse({ revocations: 1, signIns: 1, held: 1 }),
  },
];

/** Once the jar has been copied, at most one party refreshes a second time. */
export const theft: readonly Case[] = [
  {
    name: 'of owner and thief, at most one refreshes a second time',
    small: { ...calm, ...promised(5, 2), hoard: 1, lost: 0 },
    large: coarse({ hoard: 1 }),
  },
  {
    name: '... where the thief keeps several refresh tokens',
    small: tiny({ hoard: 2, messages: 1, lost: 0 }),
    large: coarse({ hoard: 2, messages: 1 }),
  },
  {
    name: '... where the owner’s browser is killed',
    small: tiny({ hoard: 1, messages: 1, kills: Infinity }),
    large: coarse({ hoard: 1, messages: 1, kills: Infinity }),
  },
  {
    name: '... but for as many times more as writes were lost when the database went back',
    small: tiny({ hoard: 1, messages: 1, lost: 0, failovers: 1, writes: 1 }),
    large: tiny({ hoard: 1, messages: 1, failovers: 1, writes: 3 }),
  },
];
