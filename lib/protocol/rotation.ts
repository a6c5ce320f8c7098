/**
 * The rotation rules. They decide what a refresh token or an unproven access token may do. Their input is the token, the
 * session's row and the time. They are pure functions without I/O. `docs/rotation.md` gives the reason for each rule.
 *
 * A *generation* is the number of a refresh token in its session. Each exchange gives a token of the next generation.
 * Parallel requests of one client may each get such a token; these tokens are *siblings*. A generation has *settled* when it
 * is older than the reuse window. A client *proves* a settled generation by using one of its tokens. The previous generation
 * stays valid until then.
 */

/** The rotation state that the row stores. */
export interface RotationState {
  /** The newest generation that the client has proven to hold. */
  readonly generation: number;
  /** Token id of the sibling of `generation` that was exchanged; null if none was. */
  readonly redeemedBy: string | null;
}

/** The parts of a refresh token that the rules use. */
export interface RefreshTokenFacts {
  readonly generation: number;
  readonly issuedAt: number;
  readonly tokenId: string;
}

/** The generation of an unproven access token. */
export interface Unproven {
  readonly generation: number;
  readonly issuedAt: number;
}

/** The times that the rules depend on, in milliseconds. */
export interface RotationTimes {
  /** W: a generation settles at this age. 0: strict single use. */
  readonly reuseWindow: number;
  /** L: the longest lifetime of an access token. */
  readonly ttl: number;
  /** lifetime = ttl × (1 − jitter × r), with 0 ≤ r < 1. The id of the refresh token determines r. */
  readonly jitter: number;
  /**
   * D: the longest time from making tokens to sending the response headers; also the largest difference of two processes, which
   * go by the database's clock.
   */
  readonly delay: number;
}

export type RefreshDecision =
  /** The client keeps its refresh token. It gets only an access token of the same generation, which ends at `expiresAt`. */
  | { readonly verdict: 'keep'; readonly expiresAt: number }
  /** `next` is written to the row. Then a token of `generation` is issued. */
  | { readonly verdict: 'rotate'; readonly generation: number; readonly next: RotationState }
  /** The token looks old. The client must look again. If it comes back with the same token, that is a theft. */
  | { readonly verdict: 'old' };

export type UseDecision =
  /** `next` is written to the row. Then the token is accepted. */
  | { readonly verdict: 'prove'; readonly next: RotationState }
  | { readonly verdict: 'accept' }
  /** The token's generation is over. The token counts as expired, and the refresh token decides. */
  | { readonly verdict: 'stale' };

/** Decides on the exchange of a refresh token. Mac and secret have been checked, and the session is live. */
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
  // A token can be several generations ahead when the row has gone back (a failover, a backup). The token is then right,
  // because only the server can make tokens.
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

/** Whether an unproven access token is accepted without reading the row, because its generation has not settled. */
export function isYoung(
  { issuedAt }: Pick<Unproven, 'issuedAt'>,
  now: number,
  times: RotationTimes,
): boolean {
  const { reuseWindow } = times;
  return reuseWindow > 0 && isOfThePast(issuedAt, now, times) && now - issuedAt < reuseWindow;
}

/**
 * Whether a refresh token is kept, if its generation is not over. It is kept until the access token that came with it has
 * expired, and until its generation has settled (this matters only if access tokens live for seconds). So a client never
 * exchanges two siblings from one cookie jar.
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
 * The expiry of the access token that is issued with a refresh token. It is in whole seconds, because JWT times are. It is
 * computed from the refresh token alone, so that {@link isKept} can compute it, too.
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
 * Whether a response whose headers leave now may carry tokens that were made at `madeAt`. Late tokens could replace newer
 * ones in the client's cookie jar.
 */
export function mayLeave(madeAt: number, now: number, { delay }: Pick<RotationTimes, 'delay'>): boolean {
  return now - madeAt <= delay;
}

/**
 * The expiry of an access token that is issued while its refresh token is kept. It is the expiry of the access token that
 * came with the refresh token, so that nobody can live on such tokens alone. It is at least a reuse window from now, so that
 * the client can use the token.
 */
function expiryOfKept(token: RefreshTokenFacts, now: number, times: RotationTimes): number {
  const usable = Math.ceil((now + times.reuseWindow) / 1_000) * 1_000;
  return Math.max(expiryOfAccessToken(token, times), usable);
}

/** Whether a time is at most `delay` in the future. A clock that was wrong must not make tokens young for a long time. */
function isOfThePast(issuedAt: number, now: number, { delay }: RotationTimes): boolean {
  return issuedAt - now <= delay;
}
