import { createHash } from 'node:crypto';
import { isIPv6 } from 'node:net';
import { HttpException, HttpStatus, Injectable } from '@nestjs/common';
import { RateLimiterMemory, type RateLimiterRes } from 'rate-limiter-flexible';
import { Settings } from './settings.js';

/** Too many failed attempts to sign in. The response body has the code `too_many_attempts`. */
export class TooManyAttemptsError extends HttpException {
  /** In whole seconds: the next attempt may be made then. */
  readonly retryAfter: number;

  constructor(waitMs: number) {
    super(
      {
        statusCode: HttpStatus.TOO_MANY_REQUESTS,
        code: 'too_many_attempts',
        message: 'Too many attempts to sign in have failed. Wait, and try again.',
      },
      HttpStatus.TOO_MANY_REQUESTS,
    );
    this.retryAfter = Math.ceil(waitMs / 1_000);
  }
}

/**
 * Slows down whoever guesses passwords: only so many attempts may fail within a time, for a name from one address, and for
 * an address with any names. Successful sign-ins do not count. A name has no limit over all addresses: with one, anybody
 * could lock its owner out.
 *
 * The numbers are in the memory of this process. With n processes, a guesser has n times as many attempts, and a restart
 * forgets them. An application with several processes takes a store of `rate-limiter-flexible` that they share.
 */
@Injectable()
export class SignInLimiter {
  private readonly ofName: RateLimiterMemory;
  private readonly ofAddress: RateLimiterMemory;

  constructor({ signIn: { attempts, attemptsPerAddress, window } }: Settings) {
    const duration = window / 1_000;
    this.ofName = new RateLimiterMemory({ points: attempts, duration });
    this.ofAddress = new RateLimiterMemory({ points: attemptsPerAddress, duration });
  }

  /**
   * Does `verify`, and counts it where its result is `undefined`. Names that nobody has count like any other.
   *
   * Attempts that run at the same time are counted before they are answered. So no more answers than allowed tell that a
   * password is wrong, however many attempts are sent at once, and none tells that it is right when they are used up.
   *
   * @throws {@link TooManyAttemptsError} also for the right password
   */
  async limit<T>(
    name: string,
    address: string | undefined,
    verify: () => Promise<T | undefined>,
  ): Promise<T | undefined> {
    const network = networkOf(address);
    // Names may be long, and some people type their password there.
    const nameKey = createHash('sha256').update(`${network} ${name}`).digest('base64url');
    await this.checkOpen(nameKey, network);
    const result = await verify();
    if (result === undefined) {
      await this.count(nameKey, network);
    } else {
      await this.checkOpen(nameKey, network);
      await this.ofName.delete(nameKey);
    }
    return result;
  }

  private async checkOpen(nameKey: string, network: string): Promise<void> {
    const counts = [await this.ofName.get(nameKey), await this.ofAddress.get(network)];
    refuse(counts.filter((count) => count !== null && count.remainingPoints <= 0));
  }

  private async count(nameKey: string, network: string): Promise<void> {
    const counts = [
      { count: await this.ofName.penalty(nameKey), points: this.ofName.points },
      { count: await this.ofAddress.penalty(network), points: this.ofAddress.points },
    ];
    refuse(counts.flatMap(({ count, points }) => (count.consumedPoints > points ? [count] : [])));
  }
}

/** @throws {@link TooManyAttemptsError} if one of the counts has reached its limit and is not over yet */
function refuse(reached: readonly (RateLimiterRes | null)[]): void {
  const wait = Math.max(0, ...reached.map((count) => count?.msBeforeNext ?? 0));
  if (wait > 0) throw new TooManyAttemptsError(wait);
}

/** Who counts as one address: of IPv6, the network of 64 bits, because a customer gets at least all of those. */
function networkOf(address = ''): string {
  const plain = address.replace(/^::ffff:(?=\d+\.)/i, '').replace(/%.*$/, '');
  if (!isIPv6(plain)) return plain;
  // Each address can be written in many ways; a URL has one.
  const [head = '', tail] = new URL(`http://[${plain}]`).hostname.slice(1, -1).split('::');
  const [groups, rest] = [head, tail ?? ''].map((text) => text.split(':').filter((group) => group !== ''));
  const zeros = Array.from({ length: 8 - groups!.length - rest!.length }, () => '0');
  return [...groups!, ...zeros, ...rest!].slice(0, 4).join(':');
}
