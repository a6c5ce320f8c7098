import { type SessionError, SessionOverError } from '../errors/session.errors.js';
import { tryRefresh } from '../http/refusals.js';
import type { ConnectionRegistry } from '../http/session-authenticator.js';
import type { LastingKeys, VerificationKey } from '../keys/signing-key.js';
import type { AccessToken } from '../protocol/access-token.js';
import type { RevocationNews } from '../revocation/revocation-checker.js';
import { AuthenticatedSession } from '../session/authenticated-session.js';
import { endOf, isLive, mayBeMissing, type SessionEnd, type SessionState } from '../storage/session.store.js';
import type { Clock } from '../util/clock.js';
import { logger } from '../util/logger.js';
import { Trouble } from '../util/trouble.js';

/** The shortest time between two looks, in milliseconds. A look goes through all connections. */
const SHORTEST_WAIT = 20;

/** The longest time between two looks, in milliseconds. Until then, a connection that has been closed may be held in memory. */
const LONGEST_WAIT = 1_000;

/** All in milliseconds. */
export interface ConnectionTimes {
  /** How soon a connection ends after its session. */
  readonly interval: number;
  /** How often the database is asked whether the session of a connection is live. */
  readonly recheck: number;
}

/** Looks for what is open and not registered yet, and registers it. @returns whether to look again */
export type FindOpen = () => boolean;

/** A connection that is open in the name of a session. */
interface OpenConnection {
  readonly token: AccessToken;
  /** The key that has signed the token. */
  readonly key: VerificationKey | undefined;
  readonly end: (error: SessionError) => void;
  /** From then on, only the database knows whether the session is live. */
  checkAt: number;
}

/** What may have news that others have made. */
type Source = Pick<LastingKeys, 'freshen' | 'dueAt'>;

/**
 * What stays open in the name of sessions: WebSockets, subscriptions, event streams, long bodies. All of them end with their
 * session, in every process, at most one interval after it was revoked, replaced, stolen, has expired, or its signing key was
 * dropped.
 *
 * A request is checked once, when it comes; a connection is checked for as long as it is open. Each look goes through all
 * connections, also those that were registered since the last revocation became known. So it does not matter whether a
 * revocation becomes known before, during or after a handshake.
 *
 * No look waits for the database. While that hangs, what is known still counts: what this process itself revokes, and time.
 *
 * While nothing is open, nothing is asked and no timer runs.
 */
export class SessionConnections implements ConnectionRegistry {
  private readonly open = new Set<OpenConnection>();
  private readonly finders: FindOpen[] = [];
  private readonly sources: readonly Source[];
  /** The sources that are being read. */
  private readonly reading = new Set<Source>();
  /** The sources that are due, and cannot be read now. */
  private readonly late = new Set<Source>();
  private timer: NodeJS.Timeout | undefined;
  /** The timer of a look because of news. */
  private soon: NodeJS.Timeout | undefined;
  /** When the last look was, by a monotonic clock. */
  private lookedAt = Number.NEGATIVE_INFINITY;
  /** Until when every revocation was known at the last look. */
  private heardAt = Number.NEGATIVE_INFINITY;
  private isStopped = false;
  private checking: Promise<void> | undefined;
  private failedAt = Number.NEGATIVE_INFINITY;
  private readonly trouble = new Trouble({
    begins: 'Sessions of open connections could not be read; those connections stay open until they can.',
    ends: 'Sessions of open connections can be read again.',
  });

  /**
   * @param news what is heard of revocations; `undefined` in a service that hears of none
   * @param read reads the rows of sessions; `undefined` in a service without the database: there, nobody knows when a session
   *   ends, so connections end when their access tokens expire
   */
  constructor(
    private readonly keys: LastingKeys,
    private readonly news: RevocationNews | undefined,
    private readonly read: ((ids: readonly string[]) => Promise<SessionState[]>) | undefined,
    private readonly times: ConnectionTimes,
    private readonly clock: Clock,
  ) {
    this.sources = news ? [news, keys] : [keys];
    news?.onNews(() => this.lookSoon());
  }

  /** How many connections are open, as far as they are known. */
  get size(): number {
    return this.open.size;
  }

  add(session: AuthenticatedSession<unknown>, end: (error: SessionError) => void): () => void {
    const connection = this.connectionOf(session, end);
    this.open.add(connection);
    this.schedule();
    return () => void this.open.delete(connection);
  }

  /** Whether a session is known to be over, so that a connection in its name would be ended at once. */
  isOver(session: AuthenticatedSession<unknown>): boolean {
    return this.errorOf(this.connectionOf(session), this.clock.now()) !== undefined;
  }

  /** Has a part that knows of open things be asked at each look. When it has something to look at, it calls {@link schedule}. */
  onLook(find: FindOpen): void {
    this.finders.push(find);
  }

  /** Looks soon, and then for as long as anything is open. */
  schedule(): void {
    if (this.timer || this.isStopped) return;
    this.timer = setTimeout(() => this.tick(), this.wait()).unref();
  }

  /** Ends nothing, but looks no more. */
  stop(): void {
    this.isStopped = true;
    clearTimeout(this.timer);
    clearTimeout(this.soon);
  }

  private connectionOf(
    session: AuthenticatedSession<unknown>,
    end: OpenConnection['end'] = () => undefined,
  ): OpenConnection {
    const token = AuthenticatedSession.accessTokenOf(session);
    return { token, key: this.keys.find(token.kid), end, checkAt: token.expiresAt };
  }

  /** How long until the next look: until a source is due, which requests may have caused to be read in between. */
  private wait(): number {
    let wait = Math.min(this.times.interval, LONGEST_WAIT);
    // As long as nothing is known to be open, the look is only for what may be.
    if (this.open.size > 0) {
      const now = this.clock.now();
      for (const source of this.sources) {
        // A read may take any time. When it is done, it is known when the next one is due.
        if (!this.reading.has(source) && !this.late.has(source)) wait = Math.min(wait, source.dueAt - now);
      }
    }
    return Math.max(wait, SHORTEST_WAIT);
  }

  private tick(): void {
    this.timer = undefined;
    const mayFind = this.look();
    if (!mayFind && this.open.size === 0) return;
    if (this.open.size > 0) this.freshen();
    this.schedule();
  }

  private freshen(): void {
    const now = this.clock.now();
    for (const source of this.sources) {
      if (this.reading.has(source)) continue;
      const read = source.freshen(now);
      // The source has given up to wait for a read that goes on.
      if (!read && source.dueAt <= now) this.late.add(source);
      else this.late.delete(source);
      if (!read) continue;
      this.reading.add(source);
      // Whether it has failed is the matter of the source, which tries again.
      void read.catch(() => undefined).then(() => this.haveRead(source));
    }
  }

  private haveRead(source: Source): void {
    this.reading.delete(source);
    this.look();
    // Now it is known when the next read is due.
    clearTimeout(this.timer);
    this.timer = undefined;
    if (this.open.size > 0) this.schedule();
  }

  /** Many revocations may come at once. */
  private lookSoon(): void {
    if (this.soon || this.isStopped) return;
    const wait = Math.max(0, this.lookedAt + SHORTEST_WAIT - performance.now());
    this.soon = setTimeout(() => {
      this.soon = undefined;
      this.look();
    }, wait).unref();
  }

  /**
   * Ends the connections whose sessions are known to be over, and asks the database where that is due.
   *
   * @returns whether something that is not registered yet may be open
   */
  private look(): boolean {
    if (this.isStopped) return false;
    this.lookedAt = performance.now();
    const mayFind = this.find();
    const now = this.clock.now();
    this.recheckAfterSilence(now);
    const due: OpenConnection[] = [];
    for (const connection of this.open) {
      const error = this.errorOf(connection, now);
      if (error) this.close(connection, error);
      else if (this.read && connection.checkAt <= now) due.push(connection);
    }
    if (due.length > 0) this.checkIfMay(due, now);
    return mayFind;
  }

  private find(): boolean {
    let mayFind = false;
    for (const find of this.finders) mayFind = find() || mayFind;
    return mayFind;
  }

  private errorOf({ token, key }: OpenConnection, now: number): SessionError | undefined {
    const end = this.news?.remembered(token) ?? (token.actor && this.news?.remembered(token.actor));
    if (end) return overOf(token, end);
    if (this.isKeyGone(token, key, now)) return tryRefresh();
    // Nobody can tell how long the session lives, or it ends with its token.
    if (now >= token.expiresAt && (!this.read || token.actor)) {
      return token.actor ? overOf(token, { endedAt: token.expiresAt, reason: 'expired' }) : tryRefresh();
    }
    return undefined;
  }

  /** A key goes when its last token has expired; a connection may be open for longer. So only earlier does that mean something. */
  private isKeyGone({ kid, expiresAt }: AccessToken, key: VerificationKey | undefined, now: number): boolean {
    if (this.keys.isDropped(kid)) return true;
    // It may have gone between the check of the token and the registration.
    return now < expiresAt && (!key || this.keys.find(kid) !== key);
  }

  /** What is revoked is told for a while only. After a longer silence, such as an outage, something may have been missed. */
  private recheckAfterSilence(now: number): void {
    if (!this.news || !this.read) return;
    const { heardAt } = this.news;
    if (heardAt - this.heardAt > this.times.recheck) {
      for (const connection of this.open) connection.checkAt = Math.min(connection.checkAt, now);
    }
    this.heardAt = heardAt;
  }

  /** One check at a time, and after one that failed, no other within an interval. */
  private checkIfMay(due: readonly OpenConnection[], now: number): void {
    // abs(): after a clock was set back, it must not wait until the clock has caught up.
    if (!this.read || this.checking || Math.abs(now - this.failedAt) < this.times.interval) return;
    this.checking = this.check(this.read, due, now).finally(() => (this.checking = undefined));
  }

  private async check(
    read: NonNullable<typeof this.read>,
    due: readonly OpenConnection[],
    now: number,
  ): Promise<void> {
    try {
      const ids = [...new Set(due.map(({ token }) => token.sessionId))];
      const states = new Map((await read(ids)).map((state) => [state.id, state]));
      for (const connection of due) {
        const { sessionId } = connection.token;
        const state = states.get(sessionId);
        if (state && isLive(state, now)) {
          connection.checkAt = Math.min(state.expiresAt, now + this.times.recheck);
        } else if (!state && mayBeMissing(sessionId, now)) {
          // A node of a cluster that has not heard of the session yet.
          connection.checkAt = now + this.times.interval;
        } else {
          this.close(connection, overOf(connection.token, state ? endOf(state, now) : { endedAt: now }));
        }
      }
      this.trouble.worked(now);
    } catch (error) {
      // A later look asks again.
      this.failedAt = now;
      this.trouble.failed(error, now);
    }
  }

  private close(connection: OpenConnection, error: SessionError): void {
    // It may have been closed while the database was asked.
    if (!this.open.delete(connection)) return;
    try {
      connection.end(error);
    } catch (cause) {
      // The others must end all the same.
      logger.error('A connection whose session is over could not be closed.', cause);
    }
  }
}

function overOf({ actor }: AccessToken, end: SessionEnd): SessionOverError {
  return new SessionOverError({ ...end, impersonation: actor !== undefined });
}
