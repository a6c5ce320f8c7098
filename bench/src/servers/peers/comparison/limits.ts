import { setTimeout as delay } from 'node:timers/promises';
import { Browser, isSuccess } from '../../../bytes/browser.js';
import { CLAIMS } from '../../../load/client.js';
import type { ServerProcess } from '../../../run/server-process.js';

/** What a contender does where speed is not the question: found out by doing it. */
export interface Limits {
  /** Statements sent to the database for a `GET` of a client that is signed in. */
  readonly queries: string;
  /** A copy of the credentials that was made before the user signed out, used after it. */
  readonly afterLogout: string;
  /** The same, at another process of the application. */
  readonly elsewhere: string | undefined;
  /** Somebody copies the credentials and goes on in the user's place. */
  readonly theft: string;
  /** The answer to a renewal never arrives, and the client tries again. */
  readonly lostAnswer: string | undefined;
}

/** A contender's processes, and what to expect of it. */
export interface Subject {
  readonly server: ServerProcess;
  /** Another process on the same database, where there is one. */
  readonly other: ServerProcess | undefined;
  /** Whether there is something to renew. */
  readonly renews: boolean;
}

/** Options of our module here: seconds instead of minutes. */
export const QUICK_OPTIONS = { accessToken: { ttl: '2s', jitter: 0 }, reuseWindow: '500ms' };

/** Longer than an access token lives then: who comes so much later has to renew. */
const LATER = 2_100;

/** Longer than the reuse window: who uses new tokens after that has shown that they have arrived. */
const IN_USE = 600;

/** Time for a server that answers before it has written what it was asked to. */
const SETTLED = 100;

/** How long another process is asked again. */
const PATIENCE = 3_000;

export async function findLimits({ server, other, renews }: Subject): Promise<Limits> {
  let users = 0;
  const signIn = async () => {
    const browser = new Browser(server.port, `user-${users++}`);
    await browser.login(CLAIMS);
    return browser;
  };
  return {
    queries: await queriesPerGet(server, await signIn()),
    afterLogout: await afterLogout(await signIn(), renews),
    elsewhere: other && (await elsewhere(await signIn(), other)),
    theft: await theft(await signIn(), renews),
    lostAnswer: renews ? await lostAnswer(await signIn()) : undefined,
  };
}

async function queriesPerGet(server: ServerProcess, browser: Browser): Promise<string> {
  const gets = 20;
  await browser.me();
  await delay(SETTLED);
  const before = await server.sample();
  for (let get = 0; get < gets; get++) await browser.me();
  await delay(SETTLED);
  const after = await server.sample();
  return ((after.queries! - before.queries!) / gets).toLocaleString('en-GB', { maximumFractionDigits: 1 });
}

async function afterLogout(user: Browser, renews: boolean): Promise<string> {
  const copy = user.copy();
  await user.logout();
  await delay(SETTLED);
  const isAccepted = isSuccess(await copy.me());
  if (renews && isSuccess(await copy.renew())) return 'accepted, and can be renewed';
  return isAccepted ? 'accepted until it expires' : 'refused at once';
}

async function elsewhere(user: Browser, other: ServerProcess): Promise<string> {
  const copy = user.copy(other.port);
  if (!isSuccess(await copy.me())) throw new Error(`Another process does not know ${user.userId}.`);
  await user.logout();
  const start = performance.now();
  for (let asked = 0; performance.now() - start < PATIENCE; asked++) {
    if (!isSuccess(await copy.me())) {
      return asked === 0
        ? 'refused at once'
        : `refused after ${((performance.now() - start) / 1e3).toFixed(1)} s`;
    }
    await delay(SETTLED);
  }
  return 'accepted until it expires';
}

async function theft(user: Browser, renews: boolean): Promise<string> {
  const goOn = async (browser: Browser) => {
    await delay(LATER);
    return isSuccess(renews ? await browser.renew() : await browser.me());
  };
  const thief = user.copy();
  await goOn(thief);
  await delay(IN_USE);
  await thief.me();
  const isUserIn = await goOn(user);
  // Only now the server can know of both. A refusal takes cookies away; a thief keeps copies.
  const present = thief.copy();
  const isThiefIn = await goOn(thief);
  const hasAccess = isSuccess(await present.me());
  if (isUserIn) return isThiefIn ? 'unnoticed: both go on' : 'noticed: the thief is out';
  if (isThiefIn) return 'unnoticed: the user is out, the thief goes on';
  return hasAccess
    ? 'noticed: both are out, the thief when the access token expires'
    : 'noticed: both are out at once';
}

async function lostAnswer(user: Browser): Promise<string> {
  await delay(LATER);
  // The copy has the answer; the browser itself knows nothing of it.
  await user.copy().renew();
  const goesOn = isSuccess(await user.renew()) && isSuccess(await user.me());
  return goesOn ? 'goes on' : 'the user is signed out';
}
