import type { ServerProcess } from '../run/server-process.js';
import { type Answer, Browser } from './browser.js';
import { CLAIMS_100 } from './claims.js';

/** How much of a session goes over the wire, in bytes of header values; names and line ends are not counted. */
export interface Weight {
  /** Cookies that a login sets, with their attributes. */
  readonly setCookie: number;
  /** A token in the body of its answer. */
  readonly body: number | undefined;
  /** Other headers of its answer with something of the session. */
  readonly other: number | undefined;
  readonly otherNames: readonly string[];
  /** What each request carries from then on: `Cookie` and `Authorization`. */
  readonly request: number;
  /** The values that the client holds: of cookies by name, and `token` of the body. */
  readonly tokens: ReadonlyMap<string, number>;
}

/** Random bytes in percent-encoding are now longer, now shorter: the median of so many logins is given. */
const LOGINS = 25;

/** Signs in, and weighs what goes back and forth. */
export async function weigh(server: ServerProcess): Promise<Weight> {
  const weights: Weight[] = [];
  for (let login = 0; login < LOGINS; login++) weights.push(await weighLogin(server));
  return weights.toSorted((a, b) => a.request - b.request)[Math.floor(LOGINS / 2)]!;
}

async function weighLogin(server: ServerProcess): Promise<Weight> {
  const browser = new Browser(server.port, 'user-1');
  const login = await browser.login(CLAIMS_100);
  const credentials = browser.headersFor('/me');
  const me = await browser.me();
  if (me.status !== 200) throw new Error(`The server answers ${me.status} to its own credentials.`);
  return {
    setCookie: total(login.setCookies),
    body: login.token?.length,
    other: login.otherHeaders.size === 0 ? undefined : total([...login.otherHeaders.values()]),
    otherNames: [...login.otherHeaders.keys()],
    request: total(Object.values(credentials)),
    tokens: tokensOf(login),
  };
}

function tokensOf({ setCookies, token }: Answer): ReadonlyMap<string, number> {
  const tokens = new Map<string, number>();
  for (const line of setCookies) {
    const [pair = ''] = line.split(';');
    const equals = pair.indexOf('=');
    tokens.set(pair.slice(0, equals), pair.length - equals - 1);
  }
  if (token !== undefined) tokens.set('token', token.length);
  return tokens;
}

function total(values: readonly string[]): number {
  return values.reduce((sum, value) => sum + Buffer.byteLength(value), 0);
}
