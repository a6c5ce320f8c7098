import type { ServerResponse } from 'node:http';
import type { Observable } from 'rxjs';
import { mayLeave, type RotationTimes } from '../protocol/rotation.js';
import type { SessionEvent } from '../session/session.types.js';
import { beforeHeaders } from './before-headers.js';
import { type HttpResponse, rawResponse } from './messages.js';

/** A response whose tokens have not left yet. */
interface Pending {
  readonly raw: ServerResponse;
  readonly sessionId: string;
  /** Since when it has been watched: by the clock of tokens, and by one that never jumps. */
  readonly since: { readonly time: number; readonly tick: number };
  /** When the tokens of a refresh were made. */
  madeAt: number | undefined;
  hasEnded: boolean;
}

/** Where a response has what is {@link Pending} of it; a WeakMap would cost several times as much. */
const PENDING = Symbol('nestjs-session-tokens.pending');

type WatchedResponse = ServerResponse & { [PENDING]?: Pending | undefined };

/** How often other processes are asked whether they have ended a session, in milliseconds. */
const LOOK_INTERVAL = 1_000;

/**
 * Takes tokens back from responses that leave too late: when a refresh was too long ago, the client may hold newer ones by
 * then; when the session has ended since, it may hold those of another sign-in. To the client that is as if the response had
 * been lost. A sign-in is never taken back.
 */
export class LateResponses {
  /** Those of the requests that are being handled: few. */
  private readonly pending = new Set<Pending>();
  /** One for all: a timer for each response would be most of what watching it costs. */
  private timer: NodeJS.Timeout | undefined;

  /**
   * @param events of this process; its own revocations are known at once
   * @param isOver asks the database whether a session has ended
   * @param withdraw takes the module's tokens out of a response
   */
  constructor(
    events: Observable<SessionEvent>,
    private readonly isOver: (sessionId: string) => Promise<boolean>,
    private readonly withdraw: (response: ServerResponse) => void,
    private readonly times: RotationTimes,
  ) {
    events.subscribe((event) => {
      if (event.type === 'revoked') this.ended(event.sessionIds);
      if (event.type === 'theft') this.ended([event.sessionId]);
    });
  }

  /**
   * Watches over a response that tokens have been written to.
   *
   * @param refreshedAt when the tokens were made, if by a refresh or a first use
   */
  watch(response: HttpResponse, sessionId: string, refreshedAt?: number): void {
    const raw: WatchedResponse = rawResponse(response);
    // Whatever looks like a response, but has no headers to wait for, is left to its maker.
    if (typeof raw.writeHead !== 'function') return;
    const known = raw[PENDING];
    if (known?.sessionId === sessionId) {
      known.madeAt ??= refreshedAt;
      return;
    }
    if (known) this.pending.delete(known);
    const since = { time: Date.now(), tick: performance.now() };
    const pending = { raw, sessionId, since, madeAt: refreshedAt, hasEnded: false };
    raw[PENDING] = pending;
    this.pending.add(pending);
    this.lookLater();
    beforeHeaders(raw, this.leave);
  }

  /** What the response carries from now on has been decided: somebody has signed in or out with it. */
  release(response: HttpResponse): void {
    this.forget(rawResponse(response));
  }

  private readonly leave = (raw: ServerResponse): void => {
    const pending = this.forget(raw);
    if (!pending) return;
    const isLate = pending.madeAt !== undefined && !mayLeave(pending.madeAt, Date.now(), this.times);
    if (isLate || pending.hasEnded) this.withdraw(raw);
  };

  private forget(raw: WatchedResponse): Pending | undefined {
    const pending = raw[PENDING];
    if (!pending) return undefined;
    raw[PENDING] = undefined;
    this.pending.delete(pending);
    return pending;
  }

  private ended(sessionIds: readonly string[]): void {
    if (this.pending.size === 0) return;
    const ids = new Set(sessionIds);
    for (const pending of this.pending) {
      if (ids.has(pending.sessionId)) pending.hasEnded = true;
    }
  }

  /** Few handlers take that long; while one does, other processes may end the session. */
  private lookLater(): void {
    if (this.timer || this.times.delay < LOOK_INTERVAL) return;
    this.timer = setTimeout(() => {
      this.timer = undefined;
      for (const pending of this.pending) this.look(pending);
      if (this.pending.size > 0) this.lookLater();
    }, LOOK_INTERVAL).unref();
  }

  private look(pending: Pending): void {
    const { raw, since } = pending;
    const isNew = performance.now() - since.tick < LOOK_INTERVAL / 2;
    // What is late by now stays late.
    const staysLate = !mayLeave(since.time, Date.now(), this.times);
    if (raw.destroyed) {
      // The connection is gone, and nothing leaves any more.
      this.forget(raw);
    } else if (!isNew && !staysLate) {
      this.isOver(pending.sessionId).then(
        (isOver) => {
          pending.hasEnded ||= isOver;
        },
        // The next look asks again.
        () => undefined,
      );
    }
  }
}
