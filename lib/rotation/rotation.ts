/**
 * The rotation rules: what a refresh token or an unproven access token may do, given the session's row and the time.
 * Pure functions without I/O; `docs/rotation.md` says why each rule is there.
 *
 * A *generation* is one link in the chain of refresh tokens. Parallel requests of one client may each receive a token
 * of the next generation; these are *siblings*. A client *proves* a generation by using one of its tokens, which shows
 * that a response carrying it arrived.
 */

/** What the row remembers of the rotation. */
export interface RotationState {
  /** The newest generation that the client has proven to hold. */
  readonly generation: number;
  /** When the sibling that proved it was issued, in epoch milliseconds. */
  readonly generationIssuedAt: number;
  /** Token id of the sibling of `generation` that was exchanged; null if none was. */
  readonly redeemedBy: string | null;
  /** The same for `generation − 1`. */
  readonly previousRedeemedBy: string | null;
}

/** The parts of a refresh token that the rules look at. */
export interface RefreshTokenFacts {
  readonly generation: number;
  readonly issuedAt: number;
  readonly tokenId: string;
}

/** The generation that an unproven access token belongs to. */
export interface Unproven {
  readonly generation: number;
  readonly issuedAt: number;
}

export type RefreshDecision =
  /** The token stays; only an access token of its generation is issued. */
  | { readonly verdict: 'keep' }
  /** A sibling of `generation` is issued; `next` is written first, where there is something to write. */
  | { readonly verdict: 'rotate'; readonly generation: number; readonly next: RotationState | undefined }
  | { readonly verdict: 'theft' };

export type UseDecision =
  /** `next` is written first. */
  | { readonly verdict: 'prove'; readonly next: RotationState }
  | { readonly verdict: 'accept' }
  /** Of a generation that is over: it counts as expired, and the refresh token decides. */
  | { readonly verdict: 'stale' };

/**
 * Whether a refresh token is too young to be exchanged. Twice the window: siblings are issued up to two message delays apart,
 * the first of them is in the jar for one more and on its way for a fourth, and a delay is less than half the window. Were it
 * exchanged in that time, the sibling that the client then holds would look stolen.
 */
export function isKept(
  { issuedAt }: Pick<RefreshTokenFacts, 'issuedAt'>,
  now: number,
  reuseWindow: number,
): boolean {
  return now - issuedAt < 2 * reuseWindow;
}

/** Decides on the exchange of a refresh token whose mac and secret are right and whose session lives. */
export function decideRefresh(
  row: RotationState,
  token: RefreshTokenFacts,
  now: number,
  reuseWindow: number,
): RefreshDecision {
  if (isKept(token, now, reuseWindow)) return { verdict: 'keep' };

  if (token.generation === row.generation + 1) {
    const next: RotationState = {
      generation: token.generation,
      generationIssuedAt: token.issuedAt,
      redeemedBy: token.tokenId,
      previousRedeemedBy: row.redeemedBy,
    };
    return { verdict: 'rotate', generation: token.generation + 1, next };
  }

  if (token.generation === row.generation && isSameBurst(row, token, reuseWindow)) {
    const generation = row.generation + 1;
    if (row.redeemedBy === token.tokenId) return { verdict: 'rotate', generation, next: undefined };
    if (row.redeemedBy === null) {
      return { verdict: 'rotate', generation, next: { ...row, redeemedBy: token.tokenId } };
    }
  }

  // A late twin of the request that rotated: what that one brought has been proven in the meantime.
  if (
    token.generation === row.generation - 1 &&
    token.tokenId === row.previousRedeemedBy &&
    now <= row.generationIssuedAt + reuseWindow
  ) {
    return { verdict: 'rotate', generation: row.generation, next: undefined };
  }

  return { verdict: 'theft' };
}

/** Decides on the use of an unproven access token that is valid and not expired. */
export function decideUse(row: RotationState, token: Unproven, reuseWindow: number): UseDecision {
  if (token.generation === row.generation + 1) {
    const next: RotationState = {
      generation: token.generation,
      generationIssuedAt: token.issuedAt,
      redeemedBy: null,
      previousRedeemedBy: row.redeemedBy,
    };
    return { verdict: 'prove', next };
  }
  if (token.generation === row.generation && isSameBurst(row, token, reuseWindow)) {
    return { verdict: 'accept' };
  }
  return { verdict: 'stale' };
}

/**
 * Whether an accepted token is replaced by a proven one. One that would expire within the window is left alone, so that
 * no late response puts a nearly dead token over a newer one.
 */
export function isWorthReplacing(expiresAt: number, now: number, reuseWindow: number): boolean {
  return expiresAt - now > reuseWindow;
}

/** Issued in the same burst as the sibling that proved the generation. */
function isSameBurst(row: RotationState, token: { issuedAt: number }, reuseWindow: number): boolean {
  return Math.abs(token.issuedAt - row.generationIssuedAt) <= reuseWindow;
}
