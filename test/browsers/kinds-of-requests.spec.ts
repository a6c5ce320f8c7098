import type { Browser, BrowserContext, Page } from 'playwright-core';
import { SessionService } from 'nestjs-session-tokens';
import { afterAll, beforeAll, describe, expect, it } from 'vitest';
import type { Adapter } from '../support/app.js';
import { launchChromium } from './support/chromium.js';
import { digestOfLoad, type SERVICE_WORKERS } from './support/page.js';
import { moveOn, signIn, until, untilTrue, visits } from './support/people.js';
import { chromiumPath } from './support/programs.js';
import { type HeldRequest, type HoldingProxy, startHoldingProxy } from './support/proxy.js';
import { type Site, startSite } from './support/site.js';

const MEGABYTE = 2 ** 20;

/** A way in which a browser sends a request. */
interface Kind {
  readonly kind: string;
  /** A function in the page, which gets the URL. */
  readonly send: string;
  /** What the handler answers with. @default text */
  readonly as?: string;
  /** What the page then sees. @default the text of the response */
  readonly sees?: unknown;
  /** @default GET */
  readonly method?: string;
  /** Size of the request's content. @default no content */
  readonly size?: number;
  /** Whether the request goes to another origin. @default false */
  readonly isCrossOrigin?: boolean;
  /** The service worker between the page and the network. @default none */
  readonly serviceWorker?: keyof typeof SERVICE_WORKERS;
  /** Statuses of the responses, in order. @default it is told to look again, looks again, and gets its response */
  readonly statuses?: readonly number[];
}

const kinds: readonly Kind[] = [
  { kind: 'fetch', send: '(url) => fetch(url).then((answer) => answer.text())' },
  {
    kind: 'fetch, POST with JSON',
    send: `(url) => fetch(url, {
      method: 'POST',
      headers: { 'content-type': 'application/json' },
      body: JSON.stringify({ load: load(50_000) }),
    }).then((answer) => answer.text())`,
    method: 'POST',
    size: 50_000,
  },
  {
    kind: 'fetch, keepalive',
    send: `(url) => fetch(url, { method: 'POST', keepalive: true, body: load(32_000) }).then((answer) => answer.text())`,
    method: 'POST',
    size: 32_000,
  },
  {
    kind: 'fetch, PUT of 5 MB',
    send: `(url) => fetch(url, { method: 'PUT', body: file(${5 * MEGABYTE}) }).then((answer) => answer.text())`,
    method: 'PUT',
    size: 5 * MEGABYTE,
  },
  {
    kind: 'fetch, multipart upload of 5 MB',
    send: `(url) => {
      const body = new FormData();
      body.append('load', file(${5 * MEGABYTE}));
      return fetch(url, { method: 'POST', body }).then((answer) => answer.text());
    }`,
    method: 'POST',
    size: 5 * MEGABYTE,
  },
  {
    kind: 'fetch from another origin',
    send: `(url) => fetch(url, { credentials: 'include' }).then((answer) => answer.text())`,
    isCrossOrigin: true,
  },
  {
    kind: 'fetch from another origin, with preflight',
    send: `(url) => fetch(url, {
      method: 'PUT',
      credentials: 'include',
      headers: { 'content-type': 'application/json', 'x-client': 'page' },
      body: JSON.stringify({ load: load(50_000) }),
    }).then((answer) => answer.text())`,
    method: 'PUT',
    size: 50_000,
    isCrossOrigin: true,
  },
  {
    kind: 'XMLHttpRequest',
    send: `(url) => {
      const request = new XMLHttpRequest();
      request.open('PUT', url);
      request.setRequestHeader('content-type', 'application/json');
      request.send(JSON.stringify({ load: load(50_000) }));
      return once(request, 'loadend').then(() => request.responseText);
    }`,
    method: 'PUT',
    size: 50_000,
  },
  {
    kind: 'EventSource',
    as: 'events',
    send: `(url) => {
      const source = new EventSource(url);
      return once(source, 'message', 'error').then((event) => (source.close(), event.data));
    }`,
  },
  {
    kind: 'a frame',
    as: 'html',
    send: `(url) => insert('iframe', { src: url }).then(([, frame]) => frame.contentDocument.body.textContent)`,
  },
  {
    kind: 'a form',
    as: 'html',
    send: `(url) => submit({ action: url }, { load: load(50_000) })`,
    method: 'POST',
    size: 50_000,
  },
  {
    kind: 'a form with a file of 5 MB',
    as: 'html',
    send: `(url) => submit({ action: url, enctype: 'multipart/form-data' }, { load: file(${5 * MEGABYTE}) })`,
    method: 'POST',
    size: 5 * MEGABYTE,
  },
  {
    kind: 'a script',
    as: 'script',
    send: `(url) => insert('script', { src: url }).then(() => 'did ' + globalThis.did)`,
  },
  {
    kind: 'a style sheet',
    as: 'style',
    send: `(url) => insert('link', { rel: 'stylesheet', href: url }).then(() => getComputedStyle(document.body).color)`,
    sees: 'rgb(1, 2, 3)',
  },
  {
    kind: 'an image',
    as: 'image',
    send: `(url) => insert('img', { src: url }).then(([, image]) => image.naturalWidth)`,
    sees: 7,
  },
  {
    kind: 'a worker',
    as: 'worker',
    send: `(url) => once(new Worker(url), 'message', 'error').then((event) => event.data)`,
  },
  {
    kind: 'a beacon',
    send: `(url) => navigator.sendBeacon(url, load(32_000))`,
    sees: true,
    method: 'POST',
    size: 32_000,
  },
  {
    kind: 'fetch that follows no redirection',
    send: `(url) => fetch(url, { redirect: 'manual' }).then(({ type }) => type)`,
    sees: 'opaqueredirect',
    statuses: [307],
  },
  {
    kind: 'fetch that fails at a redirection',
    send: `(url) => fetch(url, { redirect: 'error' }).catch(() => 'failed')`,
    sees: 'failed',
    statuses: [307],
  },
  {
    kind: 'fetch by way of a service worker',
    send: '(url) => fetch(url).then((answer) => answer.text())',
    serviceWorker: 'passing',
  },
  {
    kind: 'fetch, POST of 1 MB by way of a service worker',
    send: `(url) => fetch(url, { method: 'POST', body: file(${MEGABYTE}) }).then((answer) => answer.text())`,
    method: 'POST',
    size: MEGABYTE,
    serviceWorker: 'passing',
  },
  {
    kind: 'fetch by way of a service worker that sends again what was not answered well',
    send: `(url) => fetch(url, { method: 'POST', body: load(50_000) }).then((answer) => answer.text())`,
    method: 'POST',
    size: 50_000,
    serviceWorker: 'persistent',
  },
  {
    kind: 'fetch by way of a service worker that loses patience, and sends it again',
    send: `(url) => fetch(url, { method: 'POST', body: load(50_000) }).then((answer) => answer.text())`,
    method: 'POST',
    size: 50_000,
    serviceWorker: 'impatient',
    // The first request is still in progress then, and nobody waits for it.
    statuses: [200, 307],
  },
];

/** A browser has six connections to an origin. */
const KINDS_PER_ORIGIN = 5;
const plain = kinds.filter(({ serviceWorker }) => !serviceWorker);
const plainOrigins = Math.ceil(plain.length / KINDS_PER_ORIGIN);
const origins = [
  ...Array.from({ length: plainOrigins }, (_, i) => ({
    serviceWorker: undefined,
    kinds: plain.slice(i * KINDS_PER_ORIGIN, (i + 1) * KINDS_PER_ORIGIN),
  })),
  ...(['passing', 'persistent', 'impatient'] as const).map((serviceWorker) => ({
    serviceWorker,
    kinds: kinds.filter((kind) => kind.serviceWorker === serviceWorker),
  })),
];

/** A request on its way. */
interface Late {
  readonly kind: Kind;
  readonly id: string;
  readonly proxy: HoldingProxy;
  readonly answer: Promise<unknown>;
}

interface Navigation {
  readonly tab: Page;
  readonly proxy: HoldingProxy;
  readonly url: string;
  /** The length of the tab's history before the request. */
  readonly before: number;
  readonly loads: Promise<unknown>;
}

// One browser sends all of them with the same cookies. They arrive when it has proven a later generation.
describe.skipIf(!chromiumPath).each<[Adapter, string, (id: string, as: string) => string]>([
  ['express', 'with a query', (id, as) => `/late?id=${id}&as=${as}`],
  ['fastify', 'without a query', (id, as) => `/late/${id}/${as}`],
])('late requests of all kinds, in Chromium, over %s, %s', { timeout: 30_000 }, (adapter, _, pathOf) => {
  let chromium: Browser;
  let context: BrowserContext;
  let site: Site;
  /** The site, under several origins. */
  let proxies: HoldingProxy[];
  let tabs: Page[];
  const sent = new Map<string, Late>();
  const navigations: Navigation[] = [];

  beforeAll(async () => {
    chromium = await launchChromium();
    context = await chromium.newContext();
    proxies = await Promise.all(origins.map(async () => startHoldingProxy(() => site.port)));
    site = await startSite({
      adapter,
      options: {
        accessToken: { ttl: '4s' },
        reuseWindow: '1s',
        csrf: { trustedOrigins: proxies.map(({ url }) => url) },
      },
      configure: (app) => app.enableCors(app.get(SessionService).corsOptions(['x-client'])),
    });
    tabs = await Promise.all(proxies.map(async (proxy, i) => openTab(proxy, origins[i]!.serviceWorker)));
    const { expiresAt } = await signIn(tabs[0]!, proxies[0]!.url, 'alice');
    // With free connections, without and with a service worker.
    const spare = [plainOrigins - 1, plainOrigins].map((i) => proxies[i]!);
    const navigating = await Promise.all(spare.map(async (each) => [await openTab(each), each] as const));
    await until(expiresAt);

    const held: HeldRequest[] = [];
    for (const [tab, proxy] of navigating) held.push(await navigate(tab, proxy));
    for (const [i, origin] of origins.entries()) {
      // An impatient client sends its request again and gets new tokens. The others must have their tokens before that.
      if (origin.serviceWorker === 'impatient') await Promise.all(held.map(({ arrives }) => arrives));
      held.push(...origin.kinds.map((kind) => send(kind, i)));
    }
    await Promise.all(held.map(({ arrives }) => arrives));
    await moveOn(site, 'alice', () => tabs[0]!.evaluate(`fetch('/me')`));
    for (const { release } of held) release();
  }, 60_000);
  afterAll(async () => {
    await chromium?.close();
    for (const each of [...(proxies ?? []), site]) await each?.close();
  }, 30_000);

  async function openTab(proxy: HoldingProxy, serviceWorker?: string): Promise<Page> {
    const tab = await context.newPage();
    await tab.goto(`${proxy.url}/`);
    if (serviceWorker) await tab.evaluate(`installServiceWorker('${serviceWorker}')`);
    return tab;
  }

  function send(kind: Kind, origin: number): HeldRequest {
    const id = `kind${sent.size}.`;
    const tab = tabs[origin]!;
    // The last one has free connections.
    const proxy = proxies.at(kind.isCrossOrigin ? -1 : origin)!;
    const held = proxy.hold(id);
    const url = (kind.isCrossOrigin ? proxy.url : '') + pathOf(id, kind.as ?? 'text');
    const answer = tab.evaluate(`(${kind.send})(${JSON.stringify(url)})`);
    // A failure before the await must not be an unhandled rejection.
    answer.catch(() => undefined);
    sent.set(kind.kind, { kind, id, proxy, answer });
    return held;
  }

  async function navigate(tab: Page, proxy: HoldingProxy): Promise<HeldRequest> {
    const id = `navigation${navigations.length}.`;
    const url = `${proxy.url}${pathOf(id, 'html')}#here`;
    const held = proxy.hold(id);
    const before = await tab.evaluate<number>('history.length');
    const loads = tab.waitForEvent('load');
    loads.catch(() => undefined);
    await tab.evaluate(`location.assign(${JSON.stringify(url)})`);
    navigations.push({ tab, proxy, url, before, loads });
    return held;
  }

  const handledOf = (id: string) => site.work.handled.filter((each) => each.id === id);

  it.each(kinds.map(({ kind }) => kind))('are answered: %s', async (name) => {
    const { kind, id, proxy, answer } = sent.get(name)!;
    const { sees = `did ${id}`, method = 'GET', size, statuses = [307, 200] } = kind;
    expect(await answer).toBe(sees);
    // Nobody waits for the response to a beacon.
    await untilTrue(() => proxy.passed(id).length >= statuses.length);
    expect(proxy.passed(id).map(({ status }) => status)).toEqual(statuses);
    const digest = size === undefined ? undefined : digestOfLoad(size);
    const once = [expect.objectContaining({ userId: 'alice', method, digest })];
    expect(handledOf(id)).toEqual(statuses.includes(200) ? once : []);
  });

  it.each([0, 1])('are answered: a navigation, which shows no trace (service workers: %i)', async (i) => {
    const { tab, url, before, loads, proxy } = navigations[i]!;
    const id = `navigation${i}.`;
    await loads;
    expect(await tab.evaluate('document.body.textContent')).toBe(`did ${id}`);
    expect(tab.url()).toBe(url);
    expect(proxy.passed(id).map(({ status }) => status)).toEqual([307, 200]);
    expect(await tab.evaluate('history.length')).toBe(before + 1);
    expect(await tab.evaluate('document.referrer')).toBe(`${new URL(url).origin}/`);
    expect(handledOf(id)).toHaveLength(1);
  });

  it('sign nobody out', async () => {
    for (const [i, tab] of tabs.entries()) expect(await visits(tab, proxies[i]!.url)).toBe(200);
    // Also requests that do not follow redirects.
    const manual = `fetch('/late', { redirect: 'manual' }).then(({ status }) => status)`;
    expect(await tabs[0]!.evaluate(manual)).toBe(200);
    expect(site.told('alice', 'stale')).toHaveLength(sent.size + navigations.length);
    expect(site.told('alice', 'theft')).toEqual([]);
  });
});
