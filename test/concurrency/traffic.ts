import type { Scheduler } from 'fast-check';
import { vi } from 'vitest';
import { LookAgainError, type SessionService } from 'nestjs-session-tokens';
import { type Client, serve } from './client.js';

/** A process, with its own clock. */
export interface Instance {
  readonly service: SessionService;
  readonly run: <T>(action: () => T) => T;
}

/** How long things take, in milliseconds, all of them less than this. */
export interface Delays {
  /** From when its cookies were attached until a request reaches the server. */
  readonly request: number;
  /** From then until the answer is there. */
  readonly server: number;
  /** From then until its headers leave. */
  readonly leaving: number;
  /** From then until the cookies are in the jar. */
  readonly response: number;
  /** What a client had sent that is killed, from then until it reaches the server. */
  readonly lastRequest: number;
}

export interface Send {
  /** Which process gets it. */
  readonly instance: number;
  /** Whether it calls the refresh route. */
  readonly isExplicit: boolean;
  /** How much of the time that a request may take this one takes, from 0 to 1. */
  readonly lateness: number;
  readonly isLost: boolean;
  /** When a client that is told to look again does: at once, with its next request, or, unlike a browser, never. */
  readonly looksAgain: 'at once' | 'later' | 'never';
}

export interface Answer {
  readonly client: Client;
  readonly error: unknown;
  readonly setCookies: readonly string[];
}

interface Journey {
  readonly client: Client;
  /** Which of the client's lives it belongs to: what was sent before the client was killed is answered to nobody. */
  readonly life: number;
  hasArrived: boolean;
  /** It never will. */
  isDropped: boolean;
}

/** A step that has come to its end by this time. */
interface Leg {
  readonly journey: Journey;
  until: number;
  readonly end: Promise<unknown>;
}

/** A request that does not arrive before this time. */
interface Sleeper {
  readonly journey: Journey;
  until: number;
  readonly wake: () => void;
}

/** Requests under way. The scheduler decides on the order of all steps, and time passes only as far as the delays allow. */
export class Traffic {
  private readonly journeys = new Map<Journey, Promise<void>>();
  private readonly legs = new Set<Leg>();
  private readonly sleepers = new Set<Sleeper>();

  constructor(
    private readonly scheduler: Scheduler,
    private readonly instances: readonly Instance[],
    private readonly delays: Delays,
    private readonly answered: (answer: Answer) => void,
  ) {}

  /** Sends a request with the cookies of now. */
  send(client: Client, send: Send): void {
    const journey: Journey = { client, life: client.life, hasArrived: false, isDropped: false };
    const travel = this.travel(journey, send).finally(() => this.journeys.delete(journey));
    this.journeys.set(journey, travel);
  }

  /**
   * A client is killed. What it had sent arrives soon, or never.
   *
   * @param lost of how long, in milliseconds, it has not kept its cookies
   */
  kill(client: Client, lost: number, arrives: boolean): void {
    client.kill(lost);
    const now = Date.now();
    for (const journey of this.journeys.keys()) {
      if (journey.client === client && !journey.hasArrived) journey.isDropped = !arrives;
    }
    const isSentBy = ({ journey }: Leg | Sleeper) => journey.client === client && !journey.hasArrived;
    for (const sleeper of this.sleepers) if (isSentBy(sleeper)) sleeper.until = Math.min(sleeper.until, now);
    for (const leg of this.legs) {
      if (isSentBy(leg)) leg.until = Math.min(leg.until, now + this.delays.lastRequest - 1);
    }
  }

  /** Lets time pass. What has to have come to its end by then, does. */
  async wait(ms: number): Promise<void> {
    const target = Date.now() + ms;
    for (;;) {
      const due = [...this.sleepers, ...this.legs].filter(({ until }) => until <= target);
      const [next] = due.toSorted((a, b) => a.until - b.until);
      if (!next) break;
      vi.setSystemTime(Math.max(Date.now(), next.until));
      if ('wake' in next) next.wake();
      else await this.scheduler.waitFor(next.end);
    }
    vi.setSystemTime(target);
  }

  /** Everything under way comes to its end, now. */
  async arrive(): Promise<void> {
    while (this.journeys.size > 0) {
      for (const { wake } of this.sleepers) wake();
      await this.scheduler.waitFor(Promise.all(this.journeys.values()));
    }
  }

  private async travel(journey: Journey, send: Send): Promise<void> {
    const { client } = journey;
    const { request, server, leaving, response } = this.delays;
    const { instance, isExplicit, lateness, isLost, looksAgain } = send;
    const { service, run } = this.instances[instance]!;
    const attached = client.request();
    const { refreshed } = client;

    // Hardly later than it has to be: if all were free to be late, few would be late while others are not.
    const least = lateness * (request - 1);
    await this.leg(journey, Math.min(least + server, request), async () => {
      await this.sleep(journey, least);
      await this.step('request');
    });
    journey.hasArrived = true;
    if (journey.isDropped) return;
    const { error, leave } = await this.leg(journey, server, async () =>
      run(async () =>
        isExplicit
          ? serve(service, attached, (to) => service.refresh(attached, to))
          : serve(service, attached),
      ),
    );
    await this.leg(journey, leaving, async () => this.step('leaving'));
    const setCookies = run(leave);
    this.answered({ client, error, setCookies });
    await this.leg(journey, response, async () => this.step('response'));

    const isToldToLook = error instanceof LookAgainError;
    if (isLost || journey.life !== client.life || (isToldToLook && looksAgain === 'never')) return;
    client.receive(setCookies, refreshed);
    if (isToldToLook && looksAgain === 'at once') this.send(client, { ...send, isLost: false });
  }

  private async leg<T>(journey: Journey, within: number, action: () => Promise<T>): Promise<T> {
    const end = action();
    const leg: Leg = { journey, until: Date.now() + within - 1, end };
    this.legs.add(leg);
    try {
      return await end;
    } finally {
      this.legs.delete(leg);
    }
  }

  private async sleep(journey: Journey, ms: number): Promise<void> {
    await new Promise<void>((resolve) => {
      const wake = () => {
        this.sleepers.delete(sleeper);
        resolve();
      };
      const sleeper: Sleeper = { journey, until: Date.now() + ms, wake };
      this.sleepers.add(sleeper);
    });
  }

  private async step(name: string): Promise<void> {
    await this.scheduler.schedule(Promise.resolve(), name);
  }
}
