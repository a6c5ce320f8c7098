import { setMaxListeners } from 'node:events';
import { Agent } from 'node:http';
import { setTimeout as pause } from 'node:timers/promises';
import { Client } from './client.mjs';

/**
 * How a crowd lives. All times are in milliseconds.
 *
 * @typedef {object} Habits
 * @property {string} url of the application, or of the proxy in front of it
 * @property {number} ttl the life of access tokens
 * @property {number} window the reuse window
 * @property {number} maxDelay for how long a message may be on its way
 * @property {number} late the share of requests that are late
 * @property {number} lateness by how much at most
 * @property {number} killed how often a client is killed after a burst
 * @property {number} copied the share of clients that a thief copies
 * @property {number} stubborn the share of thieves who do not look again when told to
 * @property {number} alone for how long an owner lives before the copy, at most
 * @property {number} patience for how long both may go on when both have refreshed twice
 * @property {number} [leaves] the share of honest clients that sign out after each burst
 * @property {(answer: import('./client.mjs').Answer) => void} [answered]
 */

/** Honest clients and thieves, and what became of them. */
export class Crowd {
  counts = {
    requests: 0,
    lost: 0,
    refreshes: 0,
    errors: 0,
    honestLogouts: 0,
    late: 0,
    killed: 0,
    looksAgain: 0,
    copied: 0,
    caught: 0,
    lockedOut: 0,
    missed: 0,
    left: 0,
    cameBack: 0,
  };
  /** From when both have refreshed twice until one of them was refused, for each thief who was caught. */
  detection = [];
  #habits;
  #world;
  /** Ends all pauses, so that nobody lives on for long. */
  #end = new AbortController();
  #isCopying = true;
  /** How many thieves are at work. */
  #undecided = 0;
  /** Copies of clients that have signed out since. */
  #leavers = [];

  /** @param {Habits} habits */
  constructor(habits) {
    this.#habits = habits;
    // Each client listens for it.
    setMaxListeners(0, this.#end.signal);
    this.#world = {
      url: new URL(habits.url),
      agent: new Agent({ keepAlive: true, maxSockets: 512 }),
      counts: this.counts,
      late: habits.late,
      lateness: habits.lateness,
      // Browsers write their cookies to disk late.
      remembers: (habits.window * 4) / 9,
      answered: habits.answered,
    };
  }

  /**
   * That many clients live until {@link Crowd.stop} is called. They come one after the other, within the life of an access token:
   * otherwise all would refresh in the same moment, and a short fault might come between two of these.
   */
  async live(clients) {
    const { ttl } = this.#habits;
    const live = async (_, place) => {
      await pause((place / clients) * ttl);
      await this.#liveInOnePlace();
    };
    await Promise.all(Array.from({ length: clients }, live));
  }

  stop() {
    this.#end.abort();
  }

  /** There are no new thieves from now on. */
  stopCopying() {
    this.#isCopying = false;
  }

  /** Waits until each thief has been caught, locked out or missed. @param {number} longest in milliseconds */
  async decided(longest) {
    const end = Date.now() + longest;
    while (this.#undecided > 0 && Date.now() < end) await pause(100);
  }

  /** Those who have signed out try what they had. None may be let in, once all processes have had the time to hear of it. */
  async tryLeavers() {
    for (const leaver of this.#leavers) {
      const { status } = await leaver.get('/me');
      if (status === 200) this.counts.cameBack++;
    }
  }

  close() {
    this.#world.agent.destroy();
  }

  /** Clients one after the other: each lives until it is caught up in a theft, or the crowd is told to stop. */
  async #liveInOnePlace() {
    while (!this.#isOver) {
      const owner = new Client(this.#world);
      if (!(await owner.signIn())) {
        await this.#pause(1_000);
        continue;
      }
      const isCopied = this.#isCopying && Math.random() < this.#habits.copied;
      await (isCopied ? this.#livePossiblyStolen(owner) : this.#liveHonestly(owner));
    }
  }

  async #liveHonestly(client) {
    const { killed, maxDelay, window, ttl, leaves = 0 } = this.#habits;
    while (!this.#isOver) {
      const burst = client.burst();
      if (Math.random() < killed) {
        await this.#pause(Math.random() * maxDelay * 4);
        client.kill((window * 4) / 9);
      }
      if (this.#wasSignedOut(await burst)) return;
      await this.#pause(Math.random() * 2 * ttl);
      if (Math.random() < leaves) {
        await this.#leave(client);
        return;
      }
    }
  }

  async #leave(client) {
    const copy = client.copy();
    const { status } = await client.post('/logout');
    // Otherwise nobody knows whether it was done: what failed to answer in time may be carried out later.
    if (status !== 204) return;
    this.counts.left++;
    this.#leavers.push(copy);
  }

  async #livePossiblyStolen(owner) {
    const { counts, detection } = this;
    const { alone, maxDelay, stubborn, patience, ttl } = this.#habits;
    const isMissed = () => bothTwiceAt !== undefined && Date.now() - bothTwiceAt > patience;
    // The owner lives alone for a while, then a thief copies the cookies at a random moment, also in the middle of a burst.
    const copiedAt = Date.now() + Math.random() * alone;
    while (Date.now() < copiedAt && !this.#isOver) {
      if (this.#wasSignedOut(await owner.burst())) return;
      await this.#pause(Math.random() * ttl);
    }
    const lastBurst = owner.burst();
    await this.#pause(Math.random() * maxDelay);
    const thief = owner.copy();
    thief.looksAgain = Math.random() >= stubborn;
    counts.copied++;
    this.#undecided++;
    owner.refreshes = 0;
    let isCaught = false;
    let isLockedOut = false;
    let bothTwiceAt;
    const act = async (party) => {
      while (!isCaught && !isMissed() && !this.#isOver) {
        const answers = await party.burst();
        if (isOut(answers)) {
          isCaught = true;
          if (bothTwiceAt !== undefined) detection.push(Date.now() - bothTwiceAt);
          return;
        }
        // A thief who does not look again gets nothing; the owner goes on.
        if (!party.looksAgain && answers.every(({ status }) => status === 307 || status === 0)) {
          isLockedOut ||= answers.some(({ status }) => status === 307);
          if (isLockedOut) return;
        }
        if (owner.refreshes >= 2 && thief.refreshes >= 2) bothTwiceAt ??= Date.now();
        await this.#pause(Math.random() * 1.5 * ttl);
      }
    };
    await lastBurst;
    await Promise.all([act(owner), act(thief)]);
    this.#undecided--;
    if (isCaught) counts.caught++;
    else if (isLockedOut) counts.lockedOut++;
    else if (isMissed()) counts.missed++;
  }

  get #isOver() {
    return this.#end.signal.aborted;
  }

  async #pause(milliseconds) {
    await pause(milliseconds, undefined, { signal: this.#end.signal }).catch(() => {});
  }

  #wasSignedOut(answers) {
    if (!isOut(answers)) return false;
    this.counts.honestLogouts++;
    const { code, reason } = answers.find(({ status }) => status === 401);
    console.log(`AN HONEST CLIENT WAS SIGNED OUT (${code}, ${reason})`);
    return true;
  }
}

/** Whether an answer says that the session is over. */
function isOut(answers) {
  return answers.some(({ status }) => status === 401);
}
