import { describe, expect, it } from 'vitest';
import {
  decideRefresh,
  decideUse,
  expiryOfAccessToken,
  isKept,
  isYoung,
  mayLeave,
  type RefreshTokenFacts,
  type RotationState,
  type RotationTimes,
} from './rotation.js';

/** When the token was issued. All other times are relative to this one. In whole seconds, as JWT times. */
const ISSUED = 1_000_000_000;
const W = 90_000;
const L = 900_000;
const D = 10_000;

const times: RotationTimes = { reuseWindow: W, ttl: L, jitter: 0, delay: D };
const strict: RotationTimes = { ...times, reuseWindow: 0 };
const OURS = 'ffffffff00000000';
const token: RefreshTokenFacts = { generation: 5, issuedAt: ISSUED, tokenId: OURS };
const OLD = { verdict: 'old' };

const refresh = (row: RotationState, used: Partial<RefreshTokenFacts>, now: number, t = times): unknown =>
  decideRefresh(row, { ...token, ...used }, now, t);

/** A row with this generation and this exchanged token. */
const row = (generation: number, redeemedBy: string | null = null): RotationState => ({
  generation,
  redeemedBy,
});

const kept = (expiresAt: number) => ({ verdict: 'keep', expiresAt: ISSUED + expiresAt });

describe('refresh rule 1: a token whose access token lives stays', () => {
  it.each<[string, RotationState, number, RotationTimes, unknown]>([
    ['just issued', row(4), 0, times, kept(L)],
    ['of the row’s generation, of which a sibling was exchanged', row(5, 'sibling'), 0, times, kept(L)],
    ['of a generation that is further ahead', row(2), 0, times, kept(L)],
    ['nearly expired: it lasts a window from now', row(4), L - 1, times, kept(L + W)],
    ['half-way: it ends when the first one does', row(4), L / 2, times, kept(L)],
    ['a window before its end', row(4), L - W, times, kept(L)],
    ['less than a window before its end, in whole seconds', row(4), L - W + 1, times, kept(L + 1_000)],
    ['issued by a clock that is ahead by as much as clocks may be', row(4), -D, times, kept(L)],
  ])('%s', (_, present, age, t, expected) => {
    expect(refresh(present, {}, ISSUED + age, t)).toEqual(expected);
  });

  it.each<[string, RotationState, number, RotationTimes, object]>([
    ['as old as its access token lives', row(4), L, times, { verdict: 'rotate' }],
    ['issued by a clock that is further ahead', row(4), -D - 1, times, { verdict: 'rotate' }],
    ['of a generation that is over', row(6), 0, times, OLD],
    ['in strict mode', row(4), 0, strict, { verdict: 'rotate' }],
  ])('but not one that is %s', (_, present, age, t, expected) => {
    expect(refresh(present, {}, ISSUED + age, t)).toMatchObject(expected);
  });

  it('stays until its generation has settled, where access tokens live for seconds', () => {
    const short = { ...times, ttl: 1_000, reuseWindow: 500 };
    const issuedAt = ISSUED + 700;
    expect(expiryOfAccessToken({ issuedAt, tokenId: OURS }, short)).toBe(ISSUED + 1_000);
    expect(isKept({ issuedAt, tokenId: OURS }, issuedAt + 499, short)).toBe(true);
    expect(isKept({ issuedAt, tokenId: OURS }, issuedAt + 500, short)).toBe(false);
  });
});

describe.each([
  ['a window', times],
  ['strict mode', strict],
])('refresh rules 2 to 4 with %s', (_, t) => {
  const LATER = ISSUED + L;

  it.each<[string, RotationState]>([
    ['the next generation', row(4)],
    ['the next generation, of a row that was exchanged', row(4, 'other')],
    ['a generation further ahead: the row has gone back', row(3, 'other')],
    ['a generation far ahead', row(0)],
    ['the row’s generation, of which nobody was exchanged', row(5)],
    ['the row’s generation, of which it was exchanged itself', row(5, OURS)],
  ])('%s is exchanged, and recorded', (__, present) => {
    expect(refresh(present, {}, LATER, t)).toEqual({
      verdict: 'rotate',
      generation: 6,
      next: { generation: 5, redeemedBy: OURS },
    });
  });

  it.each<[string, RotationState]>([
    ['a sibling of the one that was exchanged', row(5, 'sibling')],
    ['the generation before', row(6)],
    ['the generation before, exchanged itself', row(6, OURS)],
    ['a generation long before', row(500)],
  ])('%s looks old', (__, present) => {
    for (const now of [LATER, LATER + 1, LATER + 100 * L]) expect(refresh(present, {}, now, t)).toEqual(OLD);
  });
});

describe('use of an unproven access token', () => {
  it.each<[string, number, RotationTimes, boolean]>([
    ['just issued', 0, times, true],
    ['nearly settled', W - 1, times, true],
    ['settled', W, times, false],
    ['of the future, as far as clocks may differ', -D, times, true],
    ['of the future, further', -D - 1, times, false],
    ['in strict mode', 0, strict, false],
    ['in strict mode, of the future', -1, strict, false],
  ])('%s', (_, age, t, young) => {
    expect(isYoung({ issuedAt: ISSUED }, ISSUED + age, t)).toBe(young);
  });

  it.each<[string, RotationState, object]>([
    ['proves the next generation', row(4, 'x'), { verdict: 'prove', next: row(5) }],
    ['proves a generation further ahead: the row has gone back', row(1), { verdict: 'prove', next: row(5) }],
    ['is accepted where its generation is proven', row(5), { verdict: 'accept' }],
    ['is accepted where a sibling was exchanged', row(5, 'sibling'), { verdict: 'accept' }],
    ['counts as expired where its generation is over', row(6), { verdict: 'stale' }],
  ])('%s', (_, present, expected) => {
    expect(decideUse(present, { generation: 5, issuedAt: ISSUED })).toEqual(expected);
  });
});

describe('the life of an access token', () => {
  const life = (tokenId: string, jitter: number, ttl = L) =>
    expiryOfAccessToken({ issuedAt: ISSUED, tokenId }, { ...times, jitter, ttl }) - ISSUED;

  it.each<[string, string, number, number, number]>([
    ['without jitter is the configured one', OURS, 0, L, L],
    ['is shorter by as much as the token’s id says', '8000000000000000', 0.1, L, L - 45_000],
    ['is never longer', '0000000000000000', 0.1, L, L],
    ['is shorter by less than the whole share', OURS, 0.1, L, L - 89_000],
    ['is not shortened where that would be less than a second', OURS, 0.25, 3_000, 3_000],
  ])('%s', (_, tokenId, jitter, ttl, expected) => {
    expect(life(tokenId, jitter, ttl)).toBe(expected);
  });

  it('ends at a whole second', () => {
    expect(expiryOfAccessToken({ issuedAt: ISSUED + 999, tokenId: OURS }, times)).toBe(ISSUED + L);
  });
});

describe('tokens that leave with a response', () => {
  it.each([
    [0, true],
    [D, true],
    [D + 1, false],
  ])('%i ms after they were made: %s', (age, expected) => {
    expect(mayLeave(ISSUED, ISSUED + age, times)).toBe(expected);
  });
});

it('the rules change neither row nor token', () => {
  const present = Object.freeze(row(4));
  const used = Object.freeze({ ...token });
  decideRefresh(present, used, ISSUED + L, times);
  decideUse(present, used);
  expect(present).toEqual(row(4));
  expect(used).toEqual(token);
});
