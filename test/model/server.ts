import {
  decideRefresh,
  decideUse,
  expiryOfAccessToken,
  isYoung,
  type RefreshTokenFacts,
  type RotationState,
  type RotationTimes,
} from '../../lib/protocol/rotation.js';

/**
 * How a server handles one request, with the real rotation rules. A tick is a second, because access tokens expire at whole
 * seconds.
 */
export const TICK = 1_000;

export interface RefreshToken extends RefreshTokenFacts {
  /** The number of its session: the browser has one session after the other. */
  readonly session: number;
  /** The number of refreshes from the copied token to this one. */
  readonly depth: number;
}

export interface AccessToken {
  readonly session: number;
  readonly generation: number;
  readonly issuedAt: number;
  readonly expiresAt: number;
  readonly isUnproven: boolean;
}

export interface Jar {
  readonly refresh: RefreshToken;
  readonly access: AccessToken;
  /** The marker: the token id of a refresh token that looked old. */
  readonly again: string | undefined;
}

/** What the client gets. */
export type Tokens = Partial<Pick<Jar, 'refresh' | 'access'>>;

export type Answer =
  /** The request goes on; the row may have changed, and the client may get other tokens. */
  | {
      readonly kind: 'accepted';
      readonly story: string;
      readonly row: RotationState;
      readonly tokens: Tokens;
    }
  | { readonly kind: 'again'; readonly story: string; readonly tokenId: string }
  /** The client has looked again, and its session is over: its cookies are cleared. */
  | { readonly kind: 'over'; readonly story: string }
  | { readonly kind: 'theft'; readonly story: string };

export interface Asked {
  readonly jar: Jar;
  /** Whether it is the refresh route, which ignores the access token. */
  readonly isExplicit: boolean;
}

export interface Server {
  readonly times: RotationTimes;
  /** Whether clients may look again. If not, a token that looks old is a theft at once. */
  readonly again: boolean;
  /** Token id of the next refresh token. Its first eight digits determine the lifetime of its access token. */
  readonly nextId: string;
}

/** @param row undefined when the session has been revoked */
export function answer(row: RotationState | undefined, asked: Asked, now: number, server: Server): Answer {
  const { access, refresh, again } = asked.jar;
  const { times } = server;
  if (row && !asked.isExplicit && now < access.expiresAt) {
    if (!access.isUnproven) return { kind: 'accepted', story: 'a proven access token', row, tokens: {} };
    if (isYoung(access, now, times)) {
      return { kind: 'accepted', story: 'a young access token', row, tokens: {} };
    }
    const decision = decideUse(row, access);
    if (decision.verdict !== 'stale') {
      return {
        kind: 'accepted',
        story: `${decision.verdict} generation ${access.generation}`,
        row: decision.verdict === 'prove' ? decision.next : row,
        tokens: { access: { ...access, isUnproven: false } },
      };
    }
  }

  const token = `refresh token ${nameOf(refresh.tokenId)}`;
  const isFinal = again === refresh.tokenId || !server.again;
  if (!row) {
    return isFinal
      ? { kind: 'over', story: `${token} is of a session that is over: the cookies are cleared` }
      : lookAgain(refresh.tokenId);
  }
  const decision = decideRefresh(row, refresh, now, times);
  const { session } = refresh;
  const isUnproven = true;
  switch (decision.verdict) {
    case 'keep': {
      const { generation, issuedAt } = refresh;
      const { expiresAt } = decision;
      const kept: AccessToken = { session, generation, issuedAt, expiresAt, isUnproven };
      return { kind: 'accepted', story: `${token} is kept`, row, tokens: { access: kept } };
    }
    case 'rotate': {
      const facts: RefreshTokenFacts = {
        generation: decision.generation,
        issuedAt: now,
        tokenId: server.nextId,
      };
      const { generation } = facts;
      const expiresAt = expiryOfAccessToken(facts, times);
      return {
        kind: 'accepted',
        story: `${token} is exchanged for ${nameOf(server.nextId)}, generation ${generation}`,
        row: decision.next,
        tokens: {
          refresh: { ...facts, session, depth: refresh.depth + 1 },
          access: { session, generation, issuedAt: now, expiresAt, isUnproven },
        },
      };
    }
    case 'old':
      return isFinal
        ? { kind: 'theft', story: `THEFT by ${token}, generation ${refresh.generation}` }
        : lookAgain(refresh.tokenId);
  }
}

/** Whether an access token that has not expired is accepted. */
export function isAccepted(
  row: RotationState,
  token: AccessToken,
  now: number,
  times: RotationTimes,
): boolean {
  return !token.isUnproven || isYoung(token, now, times) || decideUse(row, token).verdict !== 'stale';
}

function lookAgain(tokenId: string): Answer {
  return { kind: 'again', story: `refresh token ${nameOf(tokenId)} looks old: look again`, tokenId };
}

const LIVES = { longest: '00000000', shortest: 'ffffffff' } as const;

export type LifeSpan = keyof typeof LIVES;

/** A token id whose access token has the longest or the shortest lifetime that the jitter allows. */
export function newTokenId(serial: number, life: LifeSpan): string {
  return `${LIVES[life]}${serial}`;
}

/** The serial number of a token id, which identifies it. */
export function nameOf(id: string): string {
  return id.slice(8);
}

/** The tokens of a sign-in: the access token is proven. */
export function firstJar(id: string, session: number, now: number, times: RotationTimes): Jar {
  const facts: RefreshTokenFacts = { generation: 0, issuedAt: now, tokenId: id };
  const expiresAt = expiryOfAccessToken(facts, times);
  return {
    refresh: { ...facts, session, depth: 0 },
    access: { session, generation: 0, issuedAt: now, expiresAt, isUnproven: false },
    again: undefined,
  };
}
