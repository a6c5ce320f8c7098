import type { ResolvedOptions } from '../options/resolved-options.js';
import type { Device } from '../types/device.js';
import { logger } from '../util/logger.js';
import type { DeviceInput } from './session.types.js';

/** The sizes of the columns. */
const MAX_LENGTH = { userAgent: 255, ip: 64 } as const;
type Fact = keyof typeof MAX_LENGTH;

/** What the application wants to know of clients, before it is stored or told. */
export class Devices {
  private readonly failed = new Set<Fact>();

  constructor(private readonly options: ResolvedOptions['devices']) {}

  /** A client as it is stored, and told of in events. */
  describe(device: DeviceInput | undefined): Device {
    return { userAgent: this.keep('userAgent', device), ip: this.keep('ip', device) };
  }

  /** A client that was stored, perhaps under other options. What is switched off since is not told of any more. */
  recall({ userAgent, ip }: Device): Device {
    return {
      userAgent: this.options.userAgent === false ? null : userAgent,
      ip: this.options.ip === false ? null : ip,
    };
  }

  private keep(fact: Fact, device: DeviceInput | undefined): string | null {
    const text: unknown = device?.[fact];
    const keeps = this.options[fact];
    if (keeps === false || typeof text !== 'string') return null;
    const kept = typeof keeps === 'function' ? this.transform(fact, keeps, text) : text;
    return kept === null ? null : printable(kept, MAX_LENGTH[fact]);
  }

  /** A function that fails neither stops the sign-in, nor lets the value through. */
  private transform(fact: Fact, change: (text: string) => unknown, text: string): string | null {
    let result: unknown;
    try {
      result = change(text);
      if (typeof result === 'string' || result === null) return result;
      // Nobody waits for it, and a rejection that nobody handles ends the process.
      if (result instanceof Promise) result.catch(() => undefined);
      this.report(fact, 'has returned neither a text nor null');
    } catch (error) {
      this.report(fact, `has thrown an error (${error instanceof Error ? error.name : typeof error})`);
    }
    return null;
  }

  /** Once for each function, because it may fail for every request. The error itself may quote the value, so it is not logged. */
  private report(fact: Fact, what: string): void {
    if (this.failed.has(fact)) return;
    this.failed.add(fact);
    logger.error(
      `The function devices.${fact} ${what}. While it fails, nothing is kept in its place. This is logged once.`,
    );
  }
}

/** Replaces every character that is not printable ASCII by `?`, because a column may have any character set. */
function printable(text: string, maxLength: number): string {
  return text.slice(0, maxLength).replace(/[^\x20-\x7e]/g, '?');
}
