/** What an access token says of itself. Nobody has verified it: the API does. */
export interface AccessTokenFacts {
  /** Epoch milliseconds. */
  readonly expiresAt: number;
  /** Milliseconds. */
  readonly life: number;
  /** Whether it comes from a refresh, and its first use after the reuse window proves that the client has kept its tokens. */
  readonly isUnproven: boolean;
}

/** @returns `undefined` when it is no JWT, or says no times */
export function readAccessToken(token: string): AccessTokenFacts | undefined {
  try {
    const payload = token.split('.')[1]!.replaceAll('-', '+').replaceAll('_', '/');
    const { iat, exp, gen } = JSON.parse(atob(payload)) as Record<string, unknown>;
    if (typeof iat !== 'number' || typeof exp !== 'number') return undefined;
    return { expiresAt: exp * 1_000, life: (exp - iat) * 1_000, isUnproven: gen !== undefined };
  } catch {
    return undefined;
  }
}
