import { describe, expect, it } from 'vitest';
import {
  decideRefresh,
  decideUse,
  isWorthReplacing,
  type RefreshTokenFacts,
  type RotationState,
  type Unproven,
} from './rotation.js';

/** When the sibling that proved the row's generation was issued; everything else is told relative to it. */
const PROVEN = 1_000_000;

const row: RotationState = {
  generation: 5,
  generationIssuedAt: PROVEN,
  redeemedBy: null,
  previousRedeemedBy: 'previous',
};
const token: RefreshTokenFacts = { generation: 5, issuedAt: PROVEN, tokenId: 'token' };
const THEFT = { verdict: 'theft' };
const STALE = { verdict: 'stale' };

/** Late enough that every token of these tests is old enough to be exchanged. */
const LATER = PROVEN + 1_000_000;

describe.each([10_000, 1, 0])('the rotation rules with a reuse window of %i ms', (W) => {
  const refresh = (
    present: Partial<RotationState>,
    used: Partial<RefreshTokenFacts>,
    now: number = LATER,
  ): unknown => decideRefresh({ ...row, ...present }, { ...token, ...used }, now, W);

  const use = (present: Partial<RotationState>, used: Partial<Unproven>): unknown =>
    decideUse({ ...row, ...present }, { generation: 5, issuedAt: PROVEN, ...used }, W);

  describe('refresh: a token that was issued a moment ago', () => {
    it('stays while it is younger than twice the window', () => {
      expect(refresh({}, {}, PROVEN + 2 * W - 1)).toEqual({ verdict: 'keep' });
    });

    it.each([
      ['exactly as old as twice the window', 0],
      ['older', 1],
    ])('is exchanged when it is %s', (_, more) => {
      expect(refresh({}, {}, PROVEN + 2 * W + more)).toMatchObject({ verdict: 'rotate' });
    });

    it('stays when a process whose clock is ahead issued it', () => {
      expect(refresh({}, {}, PROVEN - 1)).toEqual({ verdict: 'keep' });
    });

    it.each([3, 4, 5, 6, 7])('stays whatever its generation is (%i, the row has 5)', (generation) => {
      expect(refresh({ redeemedBy: 'other' }, { generation }, PROVEN + 2 * W - 1)).toEqual({
        verdict: 'keep',
      });
    });
  });

  describe('refresh: a token of the next generation', () => {
    const next = { generation: 6, issuedAt: PROVEN + 50_000 };

    it.each([null, 'redeemer', 'token'])(
      'proves it, and the row remembers who redeemed the one before (%s)',
      (redeemedBy) => {
        expect(refresh({ redeemedBy }, next)).toEqual({
          verdict: 'rotate',
          generation: 7,
          next: {
            generation: 6,
            generationIssuedAt: PROVEN + 50_000,
            redeemedBy: 'token',
            previousRedeemedBy: redeemedBy,
          },
        });
      },
    );

    it.each([
      ['in the burst of the present one', PROVEN],
      ['long before it', PROVEN - 90_000],
      ['long after it', PROVEN + 90_000],
    ])('proves it when it was issued %s', (_, issuedAt) => {
      expect(refresh({}, { generation: 6, issuedAt })).toMatchObject({ verdict: 'rotate', generation: 7 });
    });
  });

  describe('refresh: a token of the present generation', () => {
    it('is written down as the redeemer when there is none', () => {
      expect(refresh({}, {})).toEqual({
        verdict: 'rotate',
        generation: 6,
        next: { ...row, redeemedBy: 'token' },
      });
    });

    it('rotates again, without a write, when it is the redeemer', () => {
      expect(refresh({ redeemedBy: 'token' }, {})).toEqual({
        verdict: 'rotate',
        generation: 6,
        next: undefined,
      });
    });

    it('is theft when a sibling is the redeemer', () => {
      expect(refresh({ redeemedBy: 'sibling' }, {})).toEqual(THEFT);
    });

    it('keeps the time of the sibling that proved the generation', () => {
      expect(refresh({}, { issuedAt: PROVEN + W })).toMatchObject({ next: { generationIssuedAt: PROVEN } });
    });

    const redeemers = [null, 'token', 'sibling'];

    it.each(redeemers)('is theft when it was issued after the burst (redeemer: %s)', (redeemedBy) => {
      expect(refresh({ redeemedBy }, { issuedAt: PROVEN + W + 1 })).toEqual(THEFT);
    });

    it.each(redeemers)('is theft when it was issued before the burst (redeemer: %s)', (redeemedBy) => {
      expect(refresh({ redeemedBy }, { issuedAt: PROVEN - W - 1 })).toEqual(THEFT);
    });

    it.each([null, 'token'])('rotates on both edges of the burst (redeemer: %s)', (redeemedBy) => {
      for (const issuedAt of [PROVEN - W, PROVEN + W]) {
        expect(refresh({ redeemedBy }, { issuedAt })).toMatchObject({ verdict: 'rotate', generation: 6 });
      }
    });
  });

  describe('refresh: a token of the generation before', () => {
    /** The one that the rotation to the present generation exchanged, old enough not to be kept. */
    const twin = { generation: 4, issuedAt: PROVEN - 50_000, tokenId: 'previous' };

    it('gets a sibling of the present generation, without a write, until the window is over', () => {
      for (const now of [PROVEN, PROVEN + W - 1, PROVEN + W]) {
        expect(refresh({}, twin, now)).toEqual({ verdict: 'rotate', generation: 5, next: undefined });
      }
    });

    it('gets one even where the proof comes from a process whose clock is ahead', () => {
      expect(refresh({}, twin, PROVEN - 1)).toMatchObject({ verdict: 'rotate', generation: 5 });
    });

    it('is theft when the window is over', () => {
      expect(refresh({}, twin, PROVEN + W + 1)).toEqual(THEFT);
    });

    it.each([null, 'sibling'])('is theft when another one was exchanged (%s)', (previousRedeemedBy) => {
      expect(refresh({ previousRedeemedBy }, twin, PROVEN)).toEqual(THEFT);
    });

    it.each([null, 'previous', 'other'])(
      'does not depend on who redeemed the present generation (%s)',
      (redeemedBy) => {
        expect(refresh({ redeemedBy }, twin, PROVEN + W)).toMatchObject({ verdict: 'rotate', generation: 5 });
        expect(refresh({ redeemedBy }, twin, PROVEN + W + 1)).toEqual(THEFT);
      },
    );
  });

  describe('refresh: a token of any other generation', () => {
    it.each([0, 3, 7, 4_294_967_295])('is theft (%i, the row has 5)', (generation) => {
      for (const redeemer of [null, 'token', 'other']) {
        const present = { redeemedBy: redeemer, previousRedeemedBy: redeemer };
        expect(refresh(present, { generation, issuedAt: PROVEN - 50_000 }, PROVEN)).toEqual(THEFT);
      }
    });
  });

  describe('use of an unproven access token', () => {
    it.each([null, 'redeemer'])(
      'proves the next generation, and the row remembers who redeemed the one before (%s)',
      (redeemedBy) => {
        expect(use({ redeemedBy }, { generation: 6, issuedAt: PROVEN + 50_000 })).toEqual({
          verdict: 'prove',
          next: {
            generation: 6,
            generationIssuedAt: PROVEN + 50_000,
            redeemedBy: null,
            previousRedeemedBy: redeemedBy,
          },
        });
      },
    );

    it('proves the next generation whenever that was issued', () => {
      for (const issuedAt of [PROVEN - W - 1, PROVEN, PROVEN + W + 1]) {
        expect(use({}, { generation: 6, issuedAt })).toMatchObject({ verdict: 'prove' });
      }
    });

    it.each([null, 'sibling'])('is accepted within the burst, whoever redeemed (%s)', (redeemedBy) => {
      for (const issuedAt of [PROVEN - W, PROVEN, PROVEN + W]) {
        expect(use({ redeemedBy }, { issuedAt })).toEqual({ verdict: 'accept' });
      }
    });

    it('counts as expired outside the burst', () => {
      expect(use({}, { issuedAt: PROVEN - W - 1 })).toEqual(STALE);
      expect(use({}, { issuedAt: PROVEN + W + 1 })).toEqual(STALE);
    });

    it.each([0, 4, 7])('counts as expired when its generation is %i and the row has 5', (generation) => {
      expect(use({}, { generation })).toEqual(STALE);
    });
  });

  describe('replacement of an accepted access token', () => {
    it('happens only when the replacement outlives the window', () => {
      expect(isWorthReplacing(LATER + W + 1, LATER, W)).toBe(true);
      expect(isWorthReplacing(LATER + W, LATER, W)).toBe(false);
      expect(isWorthReplacing(LATER + W - 1, LATER, W)).toBe(false);
    });
  });
});

describe('the rotation rules', () => {
  it('change neither row nor token', () => {
    const present = Object.freeze({ ...row });
    const used = Object.freeze({ ...token });
    decideRefresh(present, used, LATER, 0);
    decideUse(present, used, 0);
    expect(present).toEqual(row);
    expect(used).toEqual(token);
  });
});
