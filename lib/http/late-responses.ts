import type { ServerResponse } from 'node:http';
import { mayLeave, type RotationTimes } from '../protocol/rotation.js';
import { timeOfSessionId } from '../protocol/session-id.js';
import type { SessionEvents } from '../session/session-events.js';
import type { Clock } from '../util/clock.js';
import { beforeHeaders } from './before-headers.js';
import { type HttpResponse, rawResponse } from './messages.js';

/** A response with tokens whose headers have not been sent. */
interface Pending {
  readonly raw: ServerResponse;
  readonly sessionId: string;
  /** When the watch began: by the clock that tokens use, and by a monotonic clock. */
  readonly since: { readonly time: number; readonly tick: number };
  /** When the tokens of a refresh were made. */
  madeAt: number | undefined;
  hasEnded: boolean;
}

/** The property of a response that holds its {@link Pending} state. A WeakMap would cost several times as much. */
const PENDING = Symbol('nestjs-session-tokens.pending');

type WatchedResponse = ServerResponse & { [PENDING]?: Pending | undefined };

/** How often the database is asked whether another process has ended a session, in milliseconds. */
const LOOK_INTERVAL = 1_000;

/**
 * Removes tokens from responses whose headers leave too late. There are two cases:
 *
 * - The tokens of a refresh are too old. The client may have newer tokens by now.
 * - The session has ended. The client may have the tokens of another sign-in by now.
 *
 * For the client this is the same as a lost response. The tokens of a sign-in are never removed.
 */
export class LateResponses {
  /** The responses that are being watched: those of requests in progress, so they are few. */
  private readonly pending = new Set<Pending>();
  /** One timer for all responses. A timer for each would be most of the cost of watching. */
  private timer: NodeJS.Timeout | undefined;

  /**
   * @param events the events of this process, which tell of its own revocations at once
   * @param isOver asks the database whether a session has ended
   * @param withdraw removes the module's tokens from a response
   */
  constructor(
    events: Pick<SessionEvents, 'hear'>,
    private readonly isOver: (sessionId: string) => Promise<boolean>,
    private readonly withdraw: (response: ServerResponse) => void,
    private readonly times: RotationTimes,
    private readonly clock: Clock,
  ) {
    events.hear((event) => {
      if (event.type === 'revoked' || event.type === 'theft') this.markEnded(event.sessionId);
      if (event.type === 'all_revoked' && event.userId === undefined)
        this.markAllEnded(event.before.getTime());
    });
  }

  /**
   * Watches a response that tokens have been written to.
   *
   * @param refreshedAt when the tokens were made, if a refresh or a first use made them
   */
  watch(response: HttpResponse, sessionId: string, refreshedAt?: number): void {
    const raw: WatchedResponse = rawResponse(response);
    // An object without writeHead() is not a response of Node. There are no headers to wait for, so it is not watched.
    // Nor are there any once they have been sent: it would be watched until the connection closes.
    if (typeof raw.writeHead !== 'function' || raw.headersSent) return;
    const known = raw[PENDING];
    if (known?.sessionId === sessionId) {
      known.madeAt ??= refreshedAt;
      return;
    }
    if (known) this.pending.delete(known);
    const since = { time: this.clock.now(), tick: performance.now() };
    const pending = { raw, sessionId, since, madeAt: refreshedAt, hasEnded: false };
    raw[PENDING] = pending;
    this.pending.add(pending);
    this.scheduleCheck();
    beforeHeaders(raw, this.leave);
  }

  /** Stops watching a response, because the client has signed in or out with it: its cookies must stay as they are. */
  release(response: HttpResponse): void {
    this.forget(rawResponse(response));
  }

  private readonly leave = (raw: ServerResponse): void => {
    const pending = this.forget(raw);
    if (!pending) return;
    const isLate = pending.madeAt !== undefined && !mayLeave(pending.madeAt, this.clock.now(), this.times);
    if (isLate || pending.hasEnded) this.withdraw(raw);
  };

  private forget(raw: WatchedResponse): Pending | undefined {
    const pending = raw[PENDING];
    if (!pending) return undefined;
    raw[PENDING] = undefined;
    this.pending.delete(pending);
    return pending;
  }

  private markEnded(sessionId: string): void {
    for (const pending of this.pending) {
      if (pending.sessionId === sessionId) pending.hasEnded = true;
    }
  }

  private markAllEnded(before: number): void {
    for (const pending of this.pending) pending.hasEnded ||= timeOfSessionId(pending.sessionId) <= before;
  }

  /** Few handlers take longer than `LOOK_INTERVAL`. While one does, another process may end the session. */
  private scheduleCheck(): void {
    if (this.timer || this.times.delay < LOOK_INTERVAL) return;
    this.timer = setTimeout(() => {
      this.timer = undefined;
      for (const pending of this.pending) this.check(pending);
      if (this.pending.size > 0) this.scheduleCheck();
    }, LOOK_INTERVAL).unref();
  }

  private check(pending: Pending): void {
    const { raw, since } = pending;
    const isNew = performance.now() - since.tick < LOOK_INTERVAL / 2;
    // A response that is already late stays late: its tokens will be removed anyway.
    const staysLate = !mayLeave(since.time, this.clock.now(), this.times);
    if (raw.destroyed) {
      // The connection is closed. Nothing can be sent any more.
      this.forget(raw);
    } else if (!isNew && !staysLate) {
      this.isOver(pending.sessionId).then(
        (isOver) => {
          pending.hasEnded ||= isOver;
        },
        // The next check asks again.
        () => undefined,
      );
    }
  }
}
