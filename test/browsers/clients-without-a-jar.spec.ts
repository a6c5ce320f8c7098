import { request as httpRequest } from 'node:http';
import { connect } from 'node:net';
import { once } from 'node:events';
import { afterAll, beforeAll, describe, expect, it } from 'vitest';
import { adapters } from '../support/app.js';
import { Browser } from '../support/browser.js';
import { moveOn, until } from './support/people.js';
import { type HoldingProxy, startHoldingProxy } from './support/proxy.js';
import { type Site, startSite } from './support/site.js';

/** What Chromium sends with a navigation, and with a page's own request. */
const USER_AGENT =
  'Mozilla/5.0 (X11; Linux x86_64) AppleWebKit/537.36 (KHTML, like Gecko) Chrome/156.0.0.0 Safari/537.36';
const NAVIGATION = {
  'user-agent': USER_AGENT,
  'sec-fetch-site': 'same-origin',
  'sec-fetch-mode': 'navigate',
  'sec-fetch-user': '?1',
  'sec-fetch-dest': 'document',
  'upgrade-insecure-requests': '1',
};
const PAGE_REQUEST = {
  'user-agent': USER_AGENT,
  'sec-fetch-site': 'same-origin',
  'sec-fetch-mode': 'cors',
  'sec-fetch-dest': 'empty',
};

describe.each(adapters)('a client without a cookie jar, over %s', (adapter) => {
  let site: Site;
  let proxy: HoldingProxy;
  /** The owner of the cookies that the client has copied. The owner has proven later generations since. */
  let owner: Browser;
  let cookie: string;

  beforeAll(async () => {
    site = await startSite({ adapter, options: { accessToken: { ttl: '2s' }, reuseWindow: '1s' } });
    proxy = await startHoldingProxy(() => site.port);
    owner = new Browser(`http://127.0.0.1:${site.port}`);
    const { body } = await owner.post('/login', { userId: 'alice' });
    cookie = owner.cookieHeader('/');
    await until((body as { expiresAt: number }).expiresAt);
    await moveOn(site, 'alice', () => owner.get('/me'));
  }, 20_000);
  afterAll(async () => {
    for (const each of [proxy, site]) await each?.close();
  }, 20_000);

  const statusesOf = (id: string) => proxy.passed(`id=${id}`).map(({ status }) => status);

  /** Expects that the owner is not affected. */
  async function expectSignedIn(): Promise<void> {
    expect(await owner.get('/me')).toMatchObject({ status: 200 });
    expect(site.told('alice', 'theft')).toEqual([]);
  }

  it.each<[string, Record<string, string>]>([
    ['as it is', {}],
    ['that names itself after a browser', { 'user-agent': USER_AGENT }],
    ['that passes on the headers of a navigation, as rendering servers do', NAVIGATION],
  ])('is told to look again, and is sent nowhere: fetch %s', async (what, headers) => {
    const id = encodeURIComponent(what);
    for (let times = 1; times <= 3; times++) {
      const answer = await fetch(`${proxy.url}/late?id=${id}`, { headers: { ...headers, cookie } });
      expect(answer.status).toBe(401);
      expect(await answer.json()).toMatchObject({ code: 'look_again' });
      expect(statusesOf(id)).toHaveLength(times);
    }
    await expectSignedIn();
  });

  // The server cannot tell it from the page's own request. It loops as often as its client allows, with no other effect.
  it('ends by itself: fetch that passes on the headers of a page’s request', async () => {
    const answer = fetch(`${proxy.url}/late?id=circle.`, { headers: { ...PAGE_REQUEST, cookie } });
    await expect(answer).rejects.toThrow('fetch failed');
    expect(statusesOf('circle.').length).toBeLessThanOrEqual(21);
    await expectSignedIn();
  });

  it.each(['GET', 'POST'])(
    'gets nothing for the headers of a browser, however often it comes: %s',
    async (method) => {
      const url = `${proxy.url}/late?id=plain-${method}.`;
      for (let times = 0; times < 5; times++) {
        const outgoing = httpRequest(url, {
          method,
          headers: { ...PAGE_REQUEST, origin: proxy.url, cookie },
        }).end();
        const [answer] = await once(outgoing, 'response');
        expect(answer.statusCode).toBe(307);
        // Relative to the request's own URL: no host, no path from the root.
        expect(answer.headers.location).toMatch(/^[.?#]/);
        expect(new URL(answer.headers.location, url).href).toBe(url);
        expect(answer.headers['cache-control']).toBe('no-store');
        answer.resume();
      }
      expect(site.work.handled).toEqual([]);
      await expectSignedIn();
    },
  );

  // nginx is such a client: it sends an upload without a break, and asks to close the connection.
  it('can send the whole of an upload before it reads the answer', async () => {
    const size = 5 * 2 ** 20;
    const socket = connect(site.port, '127.0.0.1');
    await once(socket, 'connect');
    const failure = once(socket, 'error').then(([error]) => String(error));
    socket.pause();
    const headers = {
      host: 'localhost',
      ...PAGE_REQUEST,
      cookie,
      'content-length': size,
      connection: 'close',
    };
    socket.write(`POST /late?id=upload. HTTP/1.0\r\n`);
    for (const [name, value] of Object.entries(headers)) socket.write(`${name}: ${value}\r\n`);
    socket.write('\r\n');
    const answered = new Promise<string>((resolve) => {
      let text = '';
      socket.write(Buffer.alloc(size), () => socket.resume());
      socket
        .setEncoding('utf8')
        .on('data', (chunk: string) => (text += chunk))
        .once('end', () => resolve(text));
    });
    expect(await Promise.race([answered, failure])).toMatch(/^HTTP\/1\.1 307 /);
    await expectSignedIn();
  });
});
