/** The tokens of one session. They are stored together, so that they are never of two. */
export interface Tokens {
  readonly access: string;
  readonly refresh: string;
}

/** Where the device keeps them. To save `undefined` is to forget them. */
export interface TokenStore {
  load(): Promise<Tokens | undefined>;
  save(tokens: Tokens | undefined): Promise<void>;
}

export class SessionClient {
  private renewing: Promise<Response | undefined> | undefined;

  constructor(
    private readonly url: string,
    private readonly store: TokenStore,
  ) {}

  /** `fetch()` with the session of this device. A body must be one that can be sent twice: a text, not a stream. */
  async fetch(path: string, init: RequestInit = {}): Promise<Response> {
    const tokens = await this.store.load();
    const answer = await this.send(path, init, tokens);
    if ((await codeOf(answer)) !== 'try_refresh') return answer;
    // One for all requests that are refused in the meantime.
    this.renewing ??= this.renew(tokens).finally(() => (this.renewing = undefined));
    const refusal = await this.renewing;
    return refusal?.clone() ?? this.send(path, init, await this.store.load());
  }

  /** @returns the refusal, if there is one */
  private async renew(expired?: Tokens, lookAgain = ''): Promise<Response | undefined> {
    const tokens = await this.store.load();
    // Another request has been faster, or another process of this device.
    if (!lookAgain && tokens?.access !== expired?.access) return undefined;
    const headers = { 'refresh-token': tokens?.refresh ?? '', 'look-again': lookAgain };
    const send = async () => this.send('/auth/refresh', { method: 'POST', headers }, tokens);
    // If the response is lost, the same token is good once more.
    const answer = await send().catch(send);
    const isOld = (await codeOf(answer)) === 'look_again';
    if (isOld) return this.renew(tokens, answer.headers.get('look-again')!);
    return answer.ok ? undefined : answer;
  }

  private async send(path: string, init: RequestInit, tokens?: Tokens): Promise<Response> {
    const headers = new Headers(init.headers);
    headers.set('session-transport', 'header');
    if (tokens) headers.set('authorization', `Bearer ${tokens.access}`);
    const answer = await fetch(this.url + path, { ...init, headers, credentials: 'omit' });
    const isOver = /^(session_over|token_theft)$/.test(await codeOf(answer));
    const access = answer.headers.get('access-token');
    const refresh = answer.headers.get('refresh-token') ?? tokens?.refresh;
    if (!isOver && !(access && refresh)) return answer;
    // A late answer must not touch the tokens of a sign-in or a renewal that has been faster.
    const isLate = (await this.store.load())?.refresh !== tokens?.refresh;
    if (!isLate) await this.store.save(access && refresh ? { access, refresh } : undefined);
    return answer;
  }
}

/** The code of a refusal: `session_over`, `try_refresh`, … */
async function codeOf(answer: Response): Promise<string> {
  if (answer.status !== 401) return '';
  const body = (await answer
    .clone()
    .json()
    .catch(() => ({}))) as { code?: string };
  return body.code ?? '';
}
