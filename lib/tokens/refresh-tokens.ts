import {
  createHmac,
  createSecretKey,
  type KeyObject,
  randomBytes,
  randomUUID,
  timingSafeEqual,
} from 'node:crypto';
import type { KeyState } from '../diagnostics/channels.js';
import { KeysUnavailableError, SessionOverError } from '../errors/session.errors.js';
import { KeyRing, type RingChange } from '../keys/key-ring.js';
import type { KeySealer } from '../keys/key-sealer.js';
import type { KeyStore } from '../storage/key.store.js';
import {
  encodeRefreshToken,
  isAuthentic,
  type ParsedRefreshToken,
  parseRefreshToken,
  type RefreshToken,
} from '../protocol/refresh-token.codec.js';

interface RefreshKey {
  readonly id: number;
  readonly secret: KeyObject;
}

const PURPOSE = 'refresh';

/** The largest number of tokens of one request that are looked at. A browser has one, or a few from several domains. */
const MOST_TOKENS = 16;

/** The result for all refresh tokens of a request. */
export interface RequestTokens {
  /** Those that this module has made. */
  readonly authentic: readonly RefreshToken[];
  /** Why the others are none; `undefined` if there are no others. */
  readonly over: SessionOverError | undefined;
}

/** Makes and authenticates refresh tokens, and the CSRF tokens of their sessions. */
export class RefreshTokens {
  private readonly ring: KeyRing<RefreshKey>;

  /**
   * @param times.rotation for how long a key signs, in milliseconds
   * @param times.lifetime how long a refresh token can be accepted, in milliseconds
   * @param rotated see `KeyRingSettings`
   */
  constructor(
    store: KeyStore,
    sealer: KeySealer,
    { rotation, lifetime }: { readonly rotation: number; readonly lifetime: number },
    rotated?: (change: RingChange, now: number) => void,
  ) {
    this.ring = new KeyRing<RefreshKey>(store, {
      purpose: PURPOSE,
      rotation,
      lifetime,
      rotated,
      nameOf: ({ sequence }) => String(sequence),
      generate: async () => {
        const kid = randomBytes(12).toString('base64url');
        const jwk = JSON.stringify({ kty: 'oct', k: randomBytes(32).toString('base64url') });
        return { kid, algorithm: 'HS256', material: await sealer.seal(jwk, { kid, purpose: PURPOSE }) };
      },
      load: async ({ kid, sequence, material }) => {
        const { text, resealed } = await sealer.open(material, { kid, purpose: PURPOSE });
        const { k } = JSON.parse(text) as { k: string };
        return { key: { id: sequence, secret: createSecretKey(k, 'base64url') }, resealed };
      },
    });
  }

  /** Loads the keys. Makes the first one if the database has none. */
  async start(now: number): Promise<void> {
    await this.ring.start(now);
  }

  async removeRetiredKeys(now: number): Promise<void> {
    await this.ring.removeRetired(now);
  }

  /** How the reads of the keys have gone, and the age of the key that makes tokens now. */
  keyState(now: number): KeyState {
    return this.ring.state(now);
  }

  /** Reads the keys again if that is due. */
  async freshenKeys(now: number): Promise<void> {
    await this.ring.freshen(now);
  }

  /** Makes a token with the current key. */
  async make(parts: Omit<RefreshToken, 'keyId'>): Promise<string> {
    const key = await this.ring.current(parts.issuedAt);
    return encodeRefreshToken({ keyId: key.id, ...parts }, key.secret);
  }

  /**
   * Authenticates a token. A forged or damaged token is refused without a database call. One exception: if the token names
   * an unknown key, this process reads the keys again, at most once per cooldown.
   *
   * @throws {@link SessionOverError} when this module has not made the token
   * @throws {@link KeysUnavailableError} when its key is encrypted with a secret that this process does not have
   * @throws {@link StorageUnavailableError} when its key must be looked up and cannot be
   */
  async authenticate(text: string, now: number): Promise<RefreshToken> {
    return this.check(parseRefreshToken(text), now);
  }

  /**
   * Authenticates the tokens of a request. Anybody who can set cookies for a sibling subdomain can add as many as fit into a
   * request. So junk costs next to nothing, and of what has the form of a token only {@link MOST_TOKENS} are looked at.
   *
   * @throws {@link KeysUnavailableError} | {@link StorageUnavailableError}
   */
  async authenticateEach(texts: readonly string[], now: number): Promise<RequestTokens> {
    const authentic: RefreshToken[] = [];
    let over: SessionOverError | undefined;
    let looks = 0;
    for (const text of texts) {
      const token = parseRefreshToken(text);
      // The client's own token may be one of those that are not looked at.
      if (token && ++looks > MOST_TOKENS) return { authentic, over: new SessionOverError({ final: false }) };
      try {
        if (token) authentic.push(await this.check(token, now));
        else over ??= new SessionOverError();
      } catch (error) {
        if (!(error instanceof SessionOverError)) throw error;
        // Of several reasons, the one that is not final stays: the client's own token may be the one that it is about.
        if (over?.final !== false) over = error;
      }
    }
    return { authentic, over };
  }

  private async check(token: ParsedRefreshToken | undefined, now: number): Promise<RefreshToken> {
    if (!token) throw new SessionOverError();
    const name = String(token.keyId);
    const key = this.ring.find(name) ?? (await this.ring.findAfterReload(name, now));
    if (this.ring.isSealed(name)) {
      throw new KeysUnavailableError(
        'A refresh token was made under a "secret" that this process does not have. Give every process all secrets before one uses a new one.',
      );
    }
    if (key === 'unchecked') throw new SessionOverError({ final: false });
    if (key === 'unknown' || !isAuthentic(token, key.secret)) throw new SessionOverError();
    return token;
  }

  /** The CSRF token of a session. It is derived from the session id, so it needs no storage and never expires before it. */
  async csrfToken(sessionId: string, now: number): Promise<string> {
    return csrfMac(sessionId, await this.ring.current(now)).toString('base64url');
  }

  /** Whether a text is the CSRF token of the session under any refresh key in use. Takes constant time. */
  isCsrfToken(text: string, sessionId: string): boolean {
    const actual = Buffer.from(text, 'base64url');
    // Decoding skips foreign characters and unused bits. Only the canonical spelling is the token.
    if (actual.toString('base64url') !== text) return false;
    return this.ring.all().some((key) => {
      const expected = csrfMac(sessionId, key);
      return actual.length === expected.length && timingSafeEqual(actual, expected);
    });
  }
}

/** 64 random bits, hex. They come from `randomUUID()`, which is fast because Node caches random bytes for it. */
export function newTokenId(): string {
  const uuid = randomUUID();
  return uuid.slice(0, 8) + uuid.slice(24, 32);
}

function csrfMac(sessionId: string, key: RefreshKey): Buffer {
  // The prefix makes the input differ from that of a refresh token's mac, which begins with a version byte.
  return createHmac('sha256', key.secret).update(`csrf:${sessionId}`).digest().subarray(0, 16);
}
