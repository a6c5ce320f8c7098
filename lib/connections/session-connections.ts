import { type SessionError, SessionOverError } from '../errors/session.errors.js';
import { tryRefresh } from '../http/refusals.js';
import type { ConnectionRegistry } from '../http/session-authenticator.js';
import type { LastingKeys, VerificationKey } from '../keys/signing-key.js';
import type { AccessToken } from '../protocol/access-token.js';
import type { RevocationNews } from '../revocation/revocation-checker.js';
import { AuthenticatedSession } from '../session/authenticated-session.js';
import { endOf, isLive, type SessionEnd, type SessionState } from '../storage/session.store.js';
import type { Clock } from '../util/clock.js';
import { Trouble } from '../util/trouble.js';

/** The shortest time between two looks, in milliseconds. */
const SHORTEST_INTERVAL = 20;

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

/**
 * What stays open in the name of sessions: WebSockets, subscriptions, event streams, long bodies. All of them end with their
 * session, in every process, at most one interval after it was revoked, replaced, stolen, has expired, or its signing key was
 * dropped.
 *
 * A request is checked once, when it comes; a connection is checked for as long as it is open. Each look goes through all
 * connections, also those that were registered since the last revocation became known. So it does not matter whether a
 * revocation becomes known before, during or after a handshake.
 *
 * While nothing is open, nothing is asked and no timer runs.
 */
export class SessionConnections implements ConnectionRegistry {
  private readonly open = new Set<OpenConnection>();
  private readonly finders: FindOpen[] = [];
  private timer: NodeJS.Timeout | undefined;
  private looking: NodeJS.Immediate | undefined;
  /** Until when every revocation was known at the last look. */
  private heardAt = Number.NEGATIVE_INFINITY;
  private isStopped = false;
  private checking: Promise<void> | undefined;
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
    news?.onNews(() => this.lookSoon());
  }

  /** How many connections are open, as far as they are known. */
  get size(): number {
    return this.open.size;
  }

  add(session: AuthenticatedSession<unknown>, end: (error: SessionError) => void): () => void {
    const token = AuthenticatedSession.accessTokenOf(session);
    const connection = { token, key: this.keys.find(token.kid), end, checkAt: token.expiresAt };
    this.open.add(connection);
    this.schedule();
    return () => void this.open.delete(connection);
  }

  /** Has a part that knows of open things be asked at each look. When it has something to look at, it calls {@link schedule}. */
  onLook(find: FindOpen): void {
    this.finders.push(find);
  }

  /** Looks soon, and then once per interval for as long as anything is open. */
  schedule(): void {
    if (this.timer || this.isStopped) return;
    const { interval } = this.times;
    // The next read of the news is due one interval after the last one.
    const due = (this.news?.heardAt ?? 0) + interval - this.clock.now();
    const wait = Math.min(
      Math.max(due, SHORTEST_INTERVAL),
      Math.max(interval, SHORTEST_INTERVAL),
      2 ** 31 - 1,
    );
    this.timer = setTimeout(() => void this.tick(), wait).unref();
  }

  /** Ends nothing, but looks no more. */
  stop(): void {
    this.isStopped = true;
    clearTimeout(this.timer);
    clearImmediate(this.looking);
  }

  private async tick(): Promise<void> {
    let mayFind = this.find();
    if (this.open.size > 0) {
      const now = this.clock.now();
      await this.news?.freshen(now);
      await this.keys.freshen(now);
      mayFind = this.find();
      this.look();
    }
    this.timer = undefined;
    if (mayFind || this.open.size > 0) this.schedule();
  }

  private find(): boolean {
    let mayFind = false;
    for (const find of this.finders) mayFind = find() || mayFind;
    return mayFind;
  }

  private lookSoon(): void {
    this.looking ??= setImmediate(() => {
      this.looking = undefined;
      if (this.isStopped) return;
      this.find();
      this.look();
    });
  }

  /** Ends the connections whose sessions are known to be over, and asks the database where that is due. */
  private look(): void {
    const now = this.clock.now();
    this.recheckAfterSilence(now);
    const due: OpenConnection[] = [];
    for (const connection of this.open) {
      const error = this.errorOf(connection, now);
      if (error) this.close(connection, error);
      else if (this.read && connection.checkAt <= now) due.push(connection);
    }
    if (due.length > 0) this.checking ??= this.check(due, now).finally(() => (this.checking = undefined));
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
  private isKeyGone(token: AccessToken, key: VerificationKey | undefined, now: number): boolean {
    if (this.keys.isDropped(token.kid)) return true;
    return now < token.expiresAt && this.keys.find(token.kid) !== key;
  }

  /** What is revoked is told for a while only. After a longer silence, such as an outage, something may have been missed. */
  private recheckAfterSilence(now: number): void {
    if (!this.news) return;
    const { heardAt } = this.news;
    if (heardAt - this.heardAt > this.times.recheck) {
      for (const connection of this.open) connection.checkAt = Math.min(connection.checkAt, now);
    }
    this.heardAt = heardAt;
  }

  private async check(due: readonly OpenConnection[], now: number): Promise<void> {
    try {
      const ids = [...new Set(due.map(({ token }) => token.sessionId))];
      const states = new Map((await this.read!(ids)).map((state) => [state.id, state]));
      for (const connection of due) {
        const state = states.get(connection.token.sessionId);
        if (state && isLive(state, now)) {
          connection.checkAt = Math.min(state.expiresAt, now + this.times.recheck);
        } else {
          this.close(connection, overOf(connection.token, state ? endOf(state, now) : { endedAt: now }));
        }
      }
      this.trouble.worked(now);
    } catch (error) {
      // The next look asks again.
      this.trouble.failed(error, now);
    }
  }

  private close(connection: OpenConnection, error: SessionError): void {
    // It may have been closed while the database was asked.
    if (this.open.delete(connection)) connection.end(error);
  }
}

function overOf({ actor }: AccessToken, end: SessionEnd): SessionOverError {
  return new SessionOverError({ ...end, impersonation: actor !== undefined });
}
