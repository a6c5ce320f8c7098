import type { ServerResponse } from 'node:http';
import type { Observable } from 'rxjs';
import onHeaders from 'on-headers';
import { mayLeave, type RotationTimes } from '../protocol/rotation.js';
import type { SessionEvent } from '../session/session.types.js';
import { type HttpResponse, rawResponse } from './exchange.js';

/** A response whose tokens have not left yet. */
interface Pending {
  readonly sessionId: string;
  /** When the tokens of a refresh were made. */
  madeAt: number | undefined;
  hasEnded: boolean;
  timer: NodeJS.Timeout | undefined;
}

/** How often other processes are asked whether they have ended a session, in milliseconds. */
const LOOK_INTERVAL = 1_000;

/**
 * Takes tokens back from responses that leave too late: when a refresh was too long ago, the client may hold newer ones by
 * then; when the session has ended since, it may hold those of another sign-in. To the client that is as if the response had
 * been lost. A sign-in is never taken back.
 */
export class LateResponses {
  private readonly byResponse = new WeakMap<object, Pending>();
  private readonly bySession = new Map<string, Set<Pending>>();

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
    const raw = rawResponse(response);
    // Whatever looks like a response, but has no headers to wait for, is left to its maker.
    if (typeof raw.writeHead !== 'function') return;
    const known = this.byResponse.get(raw);
    if (known?.sessionId === sessionId) {
      known.madeAt ??= refreshedAt;
      return;
    }
    if (known) this.forget(known);
    const pending: Pending = { sessionId, madeAt: refreshedAt, hasEnded: false, timer: undefined };
    this.byResponse.set(raw, pending);
    const others = this.bySession.get(sessionId);
    if (others) others.add(pending);
    else this.bySession.set(sessionId, new Set([pending]));
    this.lookLater(pending, Date.now());
    if (known) return;
    onHeaders(raw, () => this.leave(raw));
    raw.once('close', () => this.release(response));
  }

  /** What the response carries from now on has been decided: somebody has signed in or out with it. */
  release(response: HttpResponse): void {
    const raw = rawResponse(response);
    const pending = this.byResponse.get(raw);
    if (!pending) return;
    this.forget(pending);
    this.byResponse.delete(raw);
  }

  private leave(raw: ServerResponse): void {
    const pending = this.byResponse.get(raw);
    if (!pending) return;
    this.forget(pending);
    this.byResponse.delete(raw);
    const isLate = pending.madeAt !== undefined && !mayLeave(pending.madeAt, Date.now(), this.times);
    if (isLate || pending.hasEnded) this.withdraw(raw);
  }

  private ended(sessionIds: readonly string[]): void {
    for (const id of sessionIds) {
      for (const pending of this.bySession.get(id) ?? []) pending.hasEnded = true;
    }
  }

  /** Few handlers take that long; while one does, other processes may end the session. */
  private lookLater(pending: Pending, since: number): void {
    if (this.times.delay < LOOK_INTERVAL) return;
    pending.timer = setTimeout(() => {
      // What is late by now stays late.
      if (!mayLeave(since, Date.now(), this.times)) return;
      this.isOver(pending.sessionId).then(
        (isOver) => (isOver ? void (pending.hasEnded = true) : this.lookLater(pending, since)),
        () => this.lookLater(pending, since),
      );
    }, LOOK_INTERVAL).unref();
  }

  private forget(pending: Pending): void {
    clearTimeout(pending.timer);
    pending.timer = undefined;
    const others = this.bySession.get(pending.sessionId);
    others?.delete(pending);
    if (others?.size === 0) this.bySession.delete(pending.sessionId);
  }
}
