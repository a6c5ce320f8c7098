import { logger } from './logger.js';

/** What the log says of a trouble. Both are sentences. */
export interface TroubleTexts {
  readonly begins: string;
  /** How long it lasted is added. */
  readonly ends: string;
}

/** A trouble that begins again within this time comes and goes, in milliseconds. It is over when it has not come for as long. */
export const CALM = 60_000;

/**
 * Something that fails again and again while a cause lasts, such as reads while the database is down. The log has one line
 * when it begins and one when it is over, however often it is tried in between.
 *
 * If some tries work and others fail, as where the last free connection is taken now and then, the log has no line for each: the
 * second time that the trouble begins, its end is only told after a calm.
 */
export class Trouble {
  private began: number | undefined;
  private failedAt = Number.NEGATIVE_INFINITY;
  private endedAt = Number.NEGATIVE_INFINITY;
  /** The first success after the last failure. */
  private workedAt: number | undefined;
  private comesAndGoes = false;

  constructor(private readonly texts: TroubleTexts) {}

  /** When it began, in epoch milliseconds; `undefined` while there is none. */
  get since(): number | undefined {
    return this.workedAt === undefined ? this.began : undefined;
  }

  /** Whether the log has its beginning, and not its end. */
  get isOpen(): boolean {
    return this.began !== undefined;
  }

  /** It failed. @param cause for the log. It must have no secrets */
  failed(cause: unknown, now: number): void {
    this.failedAt = now;
    this.workedAt = undefined;
    if (this.began !== undefined) return;
    this.began = now;
    this.comesAndGoes = Math.abs(now - this.endedAt) < CALM;
    const { begins } = this.texts;
    logger.error(
      this.comesAndGoes
        ? `${begins} This comes and goes; its end is told after a minute without it.`
        : begins,
      cause,
    );
  }

  /** It worked. */
  worked(now: number): void {
    if (this.began === undefined) return;
    this.workedAt ??= now;
    // abs(): after a clock was set back, it must not wait until the clock has caught up.
    if (this.comesAndGoes && Math.abs(now - this.failedAt) < CALM) return;
    const seconds = Math.round(Math.abs(this.workedAt - this.began) / 1_000);
    this.began = undefined;
    this.workedAt = undefined;
    this.endedAt = now;
    logger.log(`${this.texts.ends} The trouble lasted ${seconds} s.`);
  }
}
