import { randomUUID } from 'node:crypto';
import { Injectable } from '@nestjs/common';
import { CookieJar } from './cookie-jar.js';

/** Somebody with a copy of the cookies of one session. */
export interface Thief {
  /** Not guessable: who has it may let the thief act. */
  readonly id: string;
  readonly sessionId: string;
  readonly jar: CookieJar;
  /** The CSRF token that went with the cookies, if any. */
  readonly antiCsrf: string | undefined;
  readonly since: number;
}

const MAX_THIEVES = 100;
const MAX_AGE = 30 * 60_000;

/** The thieves at large. They live in this process's memory, few of them and not for long. */
@Injectable()
export class Thieves {
  /** In the order of their copying. */
  private readonly thieves = new Map<string, Thief>();

  add(loot: Pick<Thief, 'sessionId' | 'jar' | 'antiCsrf'>): Thief {
    const thief = { ...loot, id: randomUUID(), since: Date.now() };
    for (const each of this.thieves.values()) {
      const isOver = each.sessionId === thief.sessionId || !isFresh(each);
      if (isOver || this.thieves.size >= MAX_THIEVES) this.thieves.delete(each.id);
    }
    this.thieves.set(thief.id, thief);
    return thief;
  }

  find(id: string): Thief | undefined {
    const thief = this.thieves.get(id);
    return thief && isFresh(thief) ? thief : undefined;
  }
}

function isFresh({ since }: Thief): boolean {
  return Date.now() - since < MAX_AGE;
}
