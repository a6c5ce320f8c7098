import type { Scheduler } from 'fast-check';
import { vi } from 'vitest';
import { LookAgainError, type SessionService } from 'nestjs-session-tokens';
import { type Client, serve } from './client.js';

/** A process, with its own clock. */
export interface Instance {
  readonly service: SessionService;
  readonly run: <T>(action: () => T) => T;
}

/** Upper limits of delays, in milliseconds. */
export interface Delays {
  /** From attaching the cookies until a request reaches the server. */
  readonly request: number;
  /** From then until the answer is made. */
  readonly server: number;
  /** From then until its headers leave. */
  readonly leaving: number;
  /** From then until the cookies are in the jar. */
  readonly response: number;
  /** From the kill of a client until its requests reach the server. */
  readonly lastRequest: number;
}

export interface Send {
  /** The process that handles it. */
  readonly instance: number;
  /** Whether it calls the refresh route. */
  readonly isExplicit: boolean;
  /** The request's delay as a share of the limit, from 0 to 1. */
  readonly lateness: number;
  readonly isLost: boolean;
  /** When a client looks again after it was told to: at once, with its next request, or, unlike a browser, never. */
  readonly looksAgain: 'at once' | 'later' | 'never';
}

export interface Answer {
  readonly client: Client;
  readonly error: unknown;
  readonly setCookies: readonly string[];
}

interface Journey {
  readonly client: Client;
  /** The number of kills before the client sent it. Nobody gets the response to a request from before a kill. */
  readonly life: number;
  hasArrived: boolean;
  /** Never arrives. */
  isDropped: boolean;
}

/** A step that must have ended by this time. */
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

/** Requests in progress. The scheduler decides the order of all steps. Time passes only as far as the delays allow. */
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

  /** Sends a request with the present cookies. */
  send(client: Client, send: Send): void {
    const journey: Journey = { client, life: client.life, hasArrived: false, isDropped: false };
    const travel = this.travel(journey, send).finally(() => this.journeys.delete(journey));
    this.journeys.set(journey, travel);
  }

  /**
   * Kills a client. Its requests arrive soon, or never.
   *
   * @param lost the span of cookie changes that it loses, in milliseconds
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

  /** Lets time pass. All steps that must have ended by then do end. */
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

  /** Ends all requests in progress now. */
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

    // Little more than its minimum. With free delays, late and punctual requests would rarely occur together.
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
