import { logger } from './logger.js';

/** What the log says of a trouble. Both are sentences. */
export interface TroubleTexts {
  readonly begins: string;
  /** How long it lasted is added. */
  readonly ends: string;
}

/**
 * Something that fails again and again while a cause lasts, such as reads while the database is down. The log has one line
 * when it begins and one when it is over, however often it is tried in between.
 */
export class Trouble {
  private began: number | undefined;

  constructor(private readonly texts: TroubleTexts) {}

  /** When it began, in epoch milliseconds; `undefined` while there is none. */
  get since(): number | undefined {
    return this.began;
  }

  /** It failed. @param cause for the log. It must have no secrets */
  failed(cause: unknown, now: number): void {
    if (this.began !== undefined) return;
    this.began = now;
    logger.error(this.texts.begins, cause);
  }

  /** It worked. */
  worked(now: number): void {
    if (this.began === undefined) return;
    const seconds = Math.round(Math.abs(now - this.began) / 1_000);
    this.began = undefined;
    logger.log(`${this.texts.ends} The trouble lasted ${seconds} s.`);
  }
}
