/**
 * The rotation rules: what a refresh token or an unproven access token may do, given the session's row and the time.
 * Pure functions without I/O; `docs/rotation.md` says why each rule is there.
 *
 * A *generation* is one link in the chain of refresh tokens. Parallel requests of one client may each receive a token
 * of the next generation; these are *siblings*. A generation has *settled* when it is a reuse window old. A client *proves*
 * a generation by using one of its tokens after that. Until then the generation before stays good.
 */

/** What the row remembers of the rotation. */
export interface RotationState {
  /** The newest generation that the client has proven to hold. */
  readonly generation: number;
  /** Token id of the sibling of `generation` that was exchanged; null if none was. */
  readonly redeemedBy: string | null;
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

/** The times that the rules depend on, in milliseconds. */
export interface RotationTimes {
  /** W: how old a generation is before its use proves it. 0: strict single use. */
  readonly reuseWindow: number;
  /** L: the longest life of an access token. */
  readonly ttl: number;
  /** By what share of `ttl`, at the most, an access token lives shorter; which share, its refresh token's id decides. */
  readonly jitter: number;
  /** D: how long tokens may wait for their response to leave, and how far two clocks may be apart. */
  readonly delay: number;
}

export type RefreshDecision =
  /** The token stays; only an access token of its generation is issued, which expires then. */
  | { readonly verdict: 'keep'; readonly expiresAt: number }
  /** A sibling of `generation` is issued; `next` is written first. */
  | { readonly verdict: 'rotate'; readonly generation: number; readonly next: RotationState }
  /** The client has to look again: if it still has no other token, it is a theft. */
  | { readonly verdict: 'old' };

export type UseDecision =
  /** `next` is written first. */
  | { readonly verdict: 'prove'; readonly next: RotationState }
  | { readonly verdict: 'accept' }
  /** Of a generation that is over: it counts as expired, and the refresh token decides. */
  | { readonly verdict: 'stale' };

/** Decides on the exchange of a refresh token whose mac and secret are right and whose session lives. */
export function decideRefresh(
  row: RotationState,
  token: RefreshTokenFacts,
  now: number,
  times: RotationTimes,
): RefreshDecision {
  const { generation, tokenId } = token;
  if (generation >= row.generation && isKept(token, now, times)) {
    return { verdict: 'keep', expiresAt: expiryOfKept(token, now, times) };
  }
  // Further ahead than the next generation: the row has gone back, and the token, which only the server can have made, is right.
  const isAhead = generation > row.generation;
  const isRedeemable =
    generation === row.generation && (row.redeemedBy === null || row.redeemedBy === tokenId);
  if (isAhead || isRedeemable) {
    return { verdict: 'rotate', generation: generation + 1, next: { generation, redeemedBy: tokenId } };
  }
  return { verdict: 'old' };
}

/** Decides on the use of an unproven access token that is valid, not expired, and not {@link isYoung}. */
export function decideUse(row: RotationState, { generation }: Unproven): UseDecision {
  if (generation > row.generation) return { verdict: 'prove', next: { generation, redeemedBy: null } };
  return { verdict: generation === row.generation ? 'accept' : 'stale' };
}

/** Whether an unproven access token is accepted without looking at the row: its generation has not settled. */
export function isYoung(
  { issuedAt }: Pick<Unproven, 'issuedAt'>,
  now: number,
  times: RotationTimes,
): boolean {
  const { reuseWindow } = times;
  return reuseWindow > 0 && isOfThePast(issuedAt, now, times) && now - issuedAt < reuseWindow;
}

/**
 * Whether a refresh token, unless its generation is over, is not exchanged yet: the access token that came with it still
 * lives, or, where that lives for seconds only, its generation has not settled. So no two siblings of one cookie jar are
 * exchanged.
 */
export function isKept(
  token: Pick<RefreshTokenFacts, 'issuedAt' | 'tokenId'>,
  now: number,
  times: RotationTimes,
): boolean {
  return (
    times.reuseWindow > 0 &&
    isOfThePast(token.issuedAt, now, times) &&
    now < Math.max(expiryOfAccessToken(token, times), token.issuedAt + times.reuseWindow)
  );
}

/**
 * When the access token expires that is issued together with a refresh token: whole seconds, because JWT times are. Its life
 * follows from the refresh token alone, so that {@link isKept} knows it.
 */
export function expiryOfAccessToken(
  { issuedAt, tokenId }: Pick<RefreshTokenFacts, 'issuedAt' | 'tokenId'>,
  { ttl, jitter }: RotationTimes,
): number {
  const share = Number.parseInt(tokenId.slice(0, 8), 16) / 2 ** 32;
  const shorter = Math.floor((ttl * jitter * share) / 1_000) * 1_000;
  return Math.floor((issuedAt + ttl - shorter) / 1_000) * 1_000;
}

/**
 * Whether tokens still go with a response whose headers leave now. Tokens that come much later than they were made could
 * replace newer ones in the client's cookie jar.
 */
export function mayLeave(madeAt: number, now: number, { delay }: Pick<RotationTimes, 'delay'>): boolean {
  return now - madeAt <= delay;
}

/**
 * An access token that is issued while its refresh token is kept ends with the one that came with that, so that nobody lives
 * on such tokens; but not before a reuse window has passed, so that it can be used.
 */
function expiryOfKept(token: RefreshTokenFacts, now: number, times: RotationTimes): number {
  const usable = Math.ceil((now + times.reuseWindow) / 1_000) * 1_000;
  return Math.max(expiryOfAccessToken(token, times), usable);
}

/** Not of the future, but for the difference of two clocks: a clock that was wrong must not make tokens young for long. */
function isOfThePast(issuedAt: number, now: number, { delay }: RotationTimes): boolean {
  return issuedAt - now <= delay;
}
