import { randomBytes } from 'node:crypto';
import { StorageUnavailableError } from '../errors/session.errors.js';
import type { SigningKeys } from '../keys/signing-keys.js';
import { digestOfUser } from '../protocol/revocation-list.codec.js';
import { signRevocations } from '../tokens/signed-revocations.js';
import type { Clock } from '../util/clock.js';
import type { RevocationFeed } from './revocation-feed.js';

/** In milliseconds. However many services ask, the database is asked at most once in this time. */
const LONGEST_AGE = 100;

/**
 * How far an answer goes back before the cursor of another process, in milliseconds. That process may have learned of what was
 * revoked at the same time, and may not have: only every ten seconds, reads go back as far as `clockTolerance`. Services keep a
 * cursor for half a minute if nothing is new, and the database's clock may have been put right meanwhile.
 */
const OVERLAP = 60_000;

/** Longer than what services send. */
const LONGEST_NONCE = 100;

const CURSOR = /^([0-9a-f]{16})\.(\d{1,15})\.(\d{1,15})$/;

/** What a service asks with. All of it may be junk. */
export interface RevocationsRequest {
  /** The cursor of the last list; without one, the answer has everything. */
  readonly since: unknown;
  /** Comes back in the answer. */
  readonly nonce: unknown;
  /** The header of this name. */
  readonly ifNoneMatch: unknown;
}

/** `list` is `undefined` when the service has everything already. */
export interface RevocationsAnswer {
  readonly etag: string;
  readonly list: string | undefined;
}

/** The lists of revocations, signed for services without the database. */
export class PublishedRevocations {
  /** Tells the numbers in the cursors of this process from those of others. */
  private readonly process = randomBytes(8).toString('hex');

  /**
   * @param issuer the `iss` claim of access tokens
   * @param keep for how long a revocation matters, in milliseconds
   */
  constructor(
    private readonly feed: RevocationFeed,
    private readonly keys: SigningKeys,
    private readonly issuer: string | undefined,
    private readonly keep: number,
    private readonly clock: Clock,
  ) {}

  /** @throws {@link StorageUnavailableError} when this process has never been able to read them */
  async answer({ since, nonce, ifNoneMatch }: RevocationsRequest): Promise<RevocationsAnswer> {
    const start = this.startOf(since);
    const news = await this.feed.newsSince(start?.number ?? 0, start?.time ?? 0, LONGEST_AGE);
    if (!news) throw new StorageUnavailableError('The revocations have not been read yet.');
    const { size, freshAt, sessions, notBefores } = news;
    const etag = `"${this.process}.${size}"`;
    if (ifNoneMatch === etag) return { etag, list: undefined };
    const now = this.clock.now();
    const list = await signRevocations(
      this.keys,
      {
        issuer: this.issuer,
        nonce: typeof nonce === 'string' ? nonce.slice(0, LONGEST_NONCE) : '',
        age: Math.max(0, now - freshAt),
        keep: this.keep,
        cursor: `${this.process}.${size}.${freshAt}`,
        since: start?.cursor,
        sessions: sessions.map(({ id, end }) => ({ id, reason: end.reason ?? 'revoked' })),
        notBefores: notBefores.map(({ userId, notBefore, except, reason }) => ({
          user: userId === undefined ? undefined : digestOfUser(userId),
          notBefore,
          except,
          reason,
        })),
      },
      now,
    );
    return { etag, list };
  }

  /** Where an answer begins: after an entry of this process, or at a time. `undefined` for an answer with everything. */
  private startOf(since: unknown) {
    const [cursor, process, number, time] = (typeof since === 'string' && CURSOR.exec(since)) || [];
    if (cursor === undefined) return undefined;
    if (process === this.process) return { cursor, number: Number(number), time: 0 };
    // It was made while the database's clock was ahead. Nobody knows when that was.
    if (Number(time) > this.clock.now()) return undefined;
    return { cursor, number: 0, time: Number(time) - OVERLAP };
  }
}
