import { readAccessToken } from './access-token.js';

/** The names of the session's cookies, without prefix. */
export interface CookieNames {
  readonly accessName: string;
  readonly refreshName: string;
  readonly lookAgainName: string;
  readonly indicatorName: string | undefined;
}

export interface PageCookieSettings {
  readonly names: CookieNames;
  /** Names of further cookies that the API gets. */
  readonly passedOn: readonly string[];
  /** Whether nothing can be handed back to the browser, so that nothing may be exchanged. */
  readonly isReadOnly: boolean;
  /** W, in milliseconds. */
  readonly reuseWindow: number;
  /** Until when calls are sent with the page's own cookies: epoch milliseconds. For ever, unless they were renewed in front of it. */
  readonly ownUntil: number;
}

/** What a response has made of one cookie. */
interface Change {
  readonly name: string;
  /** `undefined` when the cookie was removed. */
  readonly value: string | undefined;
  readonly lines: readonly string[];
  /** Until when calls are sent with it, and until when the browser gets it: epoch milliseconds. */
  readonly usedUntil: number;
  readonly handedOnUntil: number;
}

type Pair = readonly [name: string, value: string];

const EVER = Number.POSITIVE_INFINITY;

/** D where W is 0, in milliseconds. */
const LONGEST_DELAY = 10_000;

/**
 * The cookies of one page: those with which it was requested, and what the API has made of them since. Renewed ones count for
 * some time only:
 *
 * - The browser gets them for W / 9 (D). Later, it may have newer ones from another tab.
 * - Calls are sent with them for W / 3. A use after W would prove that the *browser* has kept them, and it may never get them:
 *   then it would come back with the cookies of before, like a thief. Nor does it harm to renew them again.
 *
 * Cookies of a sign-in and of a sign-out count for ever: nothing but the page has them.
 */
export class PageCookies {
  private readonly own: readonly Pair[];
  private readonly changes: Change[] = [];

  constructor(
    header: string | null,
    private readonly settings: PageCookieSettings,
  ) {
    this.own = pairsOf(header ?? '');
  }

  /** The API has told the browser to repeat the page's request with the cookies that it has then. */
  get looksAgain(): boolean {
    return this.changes.findLast(({ name }) => this.isMarker(name))?.value !== undefined;
  }

  /** Takes over what a response says. @param sentAt when its request was sent: its tokens are not older */
  take(lines: readonly string[], status: number, sentAt: number): void {
    const named = new Map<string, string[]>();
    for (const line of lines) {
      const name = nameOf(line);
      named.set(name, [...(named.get(name) ?? []), line]);
    }
    const values = new Map([...named].map(([name, [...all]]) => [name, valueOf(all.at(-1)!)]));
    const access = [...values].find(([name]) => this.is(name, 'accessName'))?.[1];
    const token = access === undefined ? undefined : readAccessToken(access);
    const hasRefresh = [...values].some(
      ([name, value]) => this.is(name, 'refreshName') && value !== undefined,
    );
    const isRenewal = token !== undefined && (token.isUnproven || !hasRefresh);
    // The default of the reuse window is no longer than half of an access token's life.
    const window = Math.min(this.settings.reuseWindow, (token?.life ?? EVER) / 2);
    const delay = window === 0 ? LONGEST_DELAY : window / 9;
    for (const [name, all] of named) {
      const isOurs = this.isOfSession(name) && !this.isMarker(name);
      this.changes.push({
        name,
        value: values.get(name),
        lines: all,
        usedUntil: isOurs && isRenewal ? sentAt + window / 3 : EVER,
        // A refusal that removes cookies could remove those of another sign-in later.
        handedOnUntil: isOurs && (isRenewal || status === 401) ? sentAt + delay : EVER,
      });
    }
  }

  /** The `Cookie` header of a call to the API. */
  forApi(now: number): string {
    return text(this.present(now).filter(([name]) => this.isPassedOn(name)));
  }

  /** The `Cookie` header of the page's request, as if it had come with the cookies of now. */
  forPage(now: number): string {
    return text(this.present(now));
  }

  /** Until when all of the cookies of now are used: epoch milliseconds, or infinity. */
  usedUntil(now: number): number {
    const ends = this.changes.map(({ usedUntil }) => usedUntil).filter((end) => now < end);
    return Math.min(this.settings.ownUntil, ...ends);
  }

  /** The `Set-Cookie` lines for the browser. */
  lines(now: number): string[] {
    const latest = new Map<string, readonly string[]>();
    for (const { name, lines, handedOnUntil } of this.changes) {
      if (now <= handedOnUntil) latest.set(name, lines);
    }
    return [...latest.values()].flat();
  }

  /** Whether the access token ends before that time, and there is something to renew it with. */
  endsBefore(time: number, now: number): boolean {
    const present = this.present(now);
    if (this.looksAgain || present.some(([name]) => this.isImpersonation(name))) return false;
    if (!present.some(([name]) => this.is(name, 'refreshName'))) return false;
    return !present.some(
      ([name, value]) => this.is(name, 'accessName') && (readAccessToken(value)?.expiresAt ?? 0) > time,
    );
  }

  private present(now: number): Pair[] {
    // The marker of this page's cookies is for the browser. With it, the page itself would come back with them, like a thief.
    const changes = this.changes.filter(({ name, usedUntil }) => !this.isMarker(name) && now < usedUntil);
    const changed = new Map(changes.map(({ name, value }) => [name, value]));
    const kept = this.own.filter(
      ([name]) => !changed.has(name) && (now < this.settings.ownUntil || !this.isOfSession(name)),
    );
    const added = [...changed].flatMap(([name, value]) =>
      value === undefined ? [] : [[name, value] as const],
    );
    return [...kept, ...added];
  }

  private isPassedOn(name: string): boolean {
    if (this.settings.passedOn.includes(name)) return true;
    if (this.settings.isReadOnly) return this.is(name, 'accessName') || this.isImpersonation(name);
    return this.isOfSession(name);
  }

  private isOfSession(name: string): boolean {
    const names = Object.keys(this.settings.names) as (keyof CookieNames)[];
    return names.some((key) => this.is(name, key)) || this.isImpersonation(name);
  }

  private isMarker(name: string): boolean {
    return this.is(name, 'lookAgainName');
  }

  private isImpersonation(name: string): boolean {
    return bare(name) === `${bare(this.settings.names.accessName)}_as`;
  }

  private is(name: string, key: keyof CookieNames): boolean {
    return bare(name) === bare(this.settings.names[key] ?? '');
  }
}

/** A cookie's name without prefix. */
function bare(name: string): string {
  return name.replace(/^__(?:Host-Http|Host|Http|Secure)-/i, '');
}

function pairsOf(header: string): Pair[] {
  return header.split(';').flatMap((part) => {
    const equals = part.indexOf('=');
    return equals < 1 ? [] : [[part.slice(0, equals).trim(), part.slice(equals + 1).trim()] as const];
  });
}

function text(pairs: readonly Pair[]): string {
  return pairs.map(([name, value]) => `${name}=${value}`).join('; ');
}

function nameOf(line: string): string {
  return line.slice(0, line.indexOf('=')).trim();
}

/** @returns `undefined` when the line removes the cookie */
function valueOf(line: string): string | undefined {
  const [pair = '', ...attributes] = line.split(';');
  const value = pair.slice(pair.indexOf('=') + 1).trim();
  return attributes.some((each) => /^\s*max-age\s*=\s*0*\s*$/i.test(each)) ? undefined : value;
}
