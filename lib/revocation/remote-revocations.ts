import { randomBytes } from 'node:crypto';
import type { FeedState } from '../diagnostics/channels.js';
import { RevocationsUnavailableError } from '../errors/session.errors.js';
import type { VerificationKeys } from '../keys/signing-key.js';
import { digestOfUser, type RevocationList } from '../protocol/revocation-list.codec.js';
import type { ResolvedRemoteRevocations } from '../options/resolved-verifier-options.js';
import type { SessionEnd } from '../storage/session.store.js';
import { verifyRevocations } from '../tokens/signed-revocations.js';
import type { Clock } from '../util/clock.js';
import { fetchText } from '../util/fetch-text.js';
import { BoundedWait } from '../util/bounded-wait.js';
import { Trouble } from '../util/trouble.js';
import type { RevocationNews } from './revocation-checker.js';
import { type RevocableSession, RevocationMemory } from './revocation-memory.js';

/** The longest list, in bytes: about half a million revoked sessions. */
const LONGEST_LIST = 16 * 1_024 * 1_024;

/**
 * The revocations that an issuer lists, for a service without the database. Requests cause the service to ask for what is new,
 * at most once per interval. Lists are signed, and each has the nonce of its request, so that nobody in between can pass off an
 * old one as new.
 */
export class RemoteRevocations implements RevocationNews {
  private readonly trouble: Trouble;
  private readonly reads = { succeeded: 0, failed: 0 };
  private readonly memory = new RevocationMemory(digestOfUser);
  private askedAt = Number.NEGATIVE_INFINITY;
  /** When the newest list was true. */
  private trueAt = Number.NEGATIVE_INFINITY;
  private cursor: string | undefined;
  private etag: string | undefined;
  /** Tells whether there was a good list. */
  private asking: Promise<boolean> | undefined;
  /** What tokens wait for. */
  private readonly wait: BoundedWait;
  private readonly listeners: (() => void)[] = [];
  /** For how long revocations matter, in milliseconds. */
  private keep = 0;

  /** @param issuer the `iss` of lists and tokens */
  constructor(
    private readonly keys: VerificationKeys,
    private readonly issuer: string | undefined,
    private readonly options: ResolvedRemoteRevocations,
    private readonly clock: Clock,
  ) {
    const { uri, whenStale, patience } = options;
    this.wait = new BoundedWait(patience);
    const consequence =
      whenStale === 'accept'
        ? 'revoked sessions are accepted until their access tokens expire'
        : 'requests will be answered 503';
    this.trouble = new Trouble({
      // Without the query of the address.
      begins: `The revocations at ${uri.origin}${uri.pathname} could not be read. If that goes on, ${consequence}.`,
      ends: 'The revocations of the issuer can be read again.',
    });
  }

  /** How the requests for lists have gone. */
  state(): FeedState {
    const now = this.clock.now();
    const since = this.trouble.since ?? (this.asking ? this.askedAt : now);
    return { reads: { ...this.reads }, lag: Math.max(0, now - since) };
  }

  /** Asks for the first list, so that the first request need not wait. If that fails, the service starts all the same. */
  async start(): Promise<void> {
    this.ask(this.clock.now());
    await this.asking;
  }

  /**
   * When and why a session ended, or `undefined` if it is not known to be over.
   *
   * @returns a promise only if something must be waited for
   * @throws {@link RevocationsUnavailableError} when the last list is too old, and the service is to refuse tokens then
   */
  endOf(session: RevocableSession, now: number): SessionEnd | undefined | Promise<SessionEnd | undefined> {
    this.askIfDue(now);
    const { current } = this.wait;
    return current ? current.then(() => this.judge(session)) : this.judge(session, now);
  }

  onNews(listener: () => void): void {
    this.listeners.push(listener);
  }

  freshen(now: number): Promise<void> | undefined {
    this.askIfDue(now);
    return this.wait.current;
  }

  remembered(session: RevocableSession): SessionEnd | undefined {
    return this.memory.endOf(session);
  }

  get heardAt(): number {
    return this.trueAt;
  }

  get dueAt(): number {
    return this.askedAt + this.options.interval;
  }

  private judge(session: RevocableSession, now = this.clock.now()): SessionEnd | undefined {
    const end = this.memory.endOf(session) ?? (session.actor && this.memory.endOf(session.actor));
    if (!end && this.options.whenStale === 'refuse' && now - this.trueAt > this.options.maxStaleness)
      throw new RevocationsUnavailableError();
    return end;
  }

  private askIfDue(now: number): void {
    if (!this.asking && Math.abs(now - this.askedAt) >= this.options.interval) this.ask(now);
  }

  private ask(now: number): void {
    this.askedAt = now;
    this.asking = this.fetch(now).then(
      () => {
        this.reads.succeeded++;
        this.trouble.worked(this.clock.now());
        return true;
      },
      (error: unknown) => {
        this.reads.failed++;
        this.trouble.failed(error, this.clock.now());
        return false;
      },
    );
    const asked = this.asking.then((hasWorked) => {
      this.asking = undefined;
      this.memory.forget(this.clock.now() - this.keep);
      return hasWorked;
    });
    this.wait.begin(asked, (error) => this.trouble.failed(error, this.clock.now()));
  }

  private async fetch(now: number): Promise<void> {
    const { uri, timeout, maxStaleness } = this.options;
    const nonce = randomBytes(12).toString('base64url');
    const address = new URL(uri);
    address.searchParams.set('nonce', nonce);
    if (this.cursor !== undefined) address.searchParams.set('since', this.cursor);
    const headers: Record<string, string> = { accept: 'application/jwt' };
    // "Nothing is new" is not signed. So it is only good for half of the time that the service trusts a list.
    if (this.etag !== undefined && now - this.trueAt < maxStaleness / 2) headers['if-none-match'] = this.etag;
    const response = await fetchText(address, { headers, timeout, longest: LONGEST_LIST });
    if (response.status === 304) return;
    const list = await verifyRevocations(this.keys, response.text, this.clock.now());
    if (!list || list.issuer !== this.issuer)
      throw new Error('The response is no list of revocations that the issuer has signed.');
    // A revocation is never taken back. So an old list does no harm, but it is not news.
    this.learn(list);
    if (list.nonce !== nonce) throw new Error('The list answers another request. It may be an old one.');
    if (list.since !== undefined && list.since !== this.cursor)
      throw new Error('The list begins elsewhere than was asked for.');
    this.cursor = list.cursor;
    this.etag = response.headers.get('etag') ?? undefined;
    this.trueAt = now - list.age;
    if (list.age > maxStaleness) {
      throw new Error(
        `The issuer itself has not heard of revocations for ${Math.round(list.age / 1_000)} s.`,
      );
    }
  }

  private learn({ sessions, notBefores, keep }: RevocationList): void {
    const now = this.clock.now();
    const { size } = this.memory;
    this.keep = Math.max(this.keep, keep);
    for (const { id, reason } of sessions) this.memory.add(id, { endedAt: now, reason }, now);
    for (const { user, notBefore, except, reason } of notBefores) {
      const id = `${notBefore}.${except}`;
      this.memory.addNotBefore({ id, userId: user, notBefore, except, reason }, now, now);
    }
    if (this.memory.size > size) {
      for (const listener of this.listeners) listener();
    }
  }
}
