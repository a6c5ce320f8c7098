import { decodeJwt } from 'jose';
import { afterEach, describe, expect, it } from 'vitest';
import { ACCESS, accountApps, cookieOf, REFRESH } from '../http/account-app.js';
import { adapters } from '../support/app.js';
import { parseSetCookie } from '../support/browser.js';
import { pass } from '../support/time.js';
import { openStream, type Stream } from './stream.js';
import { beginning, StreamsController } from './streams.controller.js';

const metadata = { controllers: [StreamsController] };

/** The names of the cookies on the headers of a stream. */
const namesOf = ({ headers }: Stream) =>
  headers
    .getSetCookie()
    .map((line) => parseSetCookie(line).name)
    .toSorted();

describe.each(adapters)('a stream on %s', (adapter) => {
  const start = accountApps(adapter);
  const streams: Stream[] = [];
  afterEach(() => {
    beginning.waits = undefined;
    for (const stream of streams.splice(0)) stream.close();
  });
  const open = async (...args: Parameters<typeof openStream>) => {
    const stream = await openStream(...args);
    streams.push(stream);
    return stream;
  };

  it.each(['/streams/sse', '/streams/file', '/streams/writes', '/streams/events', '/streams/pipeline'])(
    'of %s that refreshes has the cookies on its headers, and the client goes on with them',
    async (path) => {
      const app = await start({}, { metadata });
      const browser = await app.signIn();
      pass('16m');
      const stream = await open(browser, path);
      expect(stream.status).toBe(200);
      // Fastify does not send what was set on its reply when the handler takes the response over.
      const isTakenOver = adapter === 'fastify' && !['/streams/sse', '/streams/file'].includes(path);
      expect(namesOf(stream)).toEqual(isTakenOver ? [] : [ACCESS, REFRESH]);
      await stream.more();
      const answer = await browser.get('/me');
      expect(answer.status).toBe(200);
      expect(answer.setCookies.length > 0).toBe(isTakenOver);
      expect(stream.isOpen).toBe(true);
    },
  );

  it('that is the first use of a new access token has the proven one on its headers', async () => {
    const app = await start({}, { metadata });
    const browser = await app.signIn();
    pass('16m');
    await browser.get('/me');
    pass('2m');
    const stream = await open(browser, '/streams/sse');
    expect(namesOf(stream)).toEqual([ACCESS]);
    expect((await browser.get('/me')).setCookies).toEqual([]);
  });

  it('that changes claims before it begins has the new access token on its headers', async () => {
    const app = await start({}, { metadata });
    const browser = await app.signIn();
    const stream = await open(browser, '/streams/claims');
    expect(namesOf(stream)).toEqual([ACCESS]);
    expect(decodeJwt(cookieOf(browser, 'session_access').value)).toMatchObject({ role: 'admin' });
  });

  it('that begins late leaves without the tokens of its refresh, and the client goes on', async () => {
    const app = await start({}, { metadata });
    const browser = await app.signIn();
    pass('16m');
    beginning.waits = async () => pass('30s');
    const stream = await open(browser, '/streams/late');
    expect([stream.status, namesOf(stream)]).toEqual([200, []]);
    await stream.more();
    const answer = await browser.get('/me');
    expect([answer.status, answer.setCookies.map(({ name }) => name).toSorted()]).toEqual([
      200,
      [ACCESS, REFRESH],
    ]);
    expect(stream.isOpen).toBe(true);
  });

  it('whose headers the client has lost does no harm', async () => {
    const app = await start({ revocationInterval: 0.05 }, { metadata });
    const browser = await app.signIn();
    pass('16m');
    // The same cookies, but what comes is lost.
    const lost = await open(browser.copy(), '/streams/sse');
    expect(namesOf(lost)).toEqual([ACCESS, REFRESH]);
    for (let times = 0; times < 5; times++) {
      expect((await browser.get('/me')).status).toBe(200);
      pass('2m');
    }
    // It is one session.
    await lost.more();
    await app.sessions.revokeAllForUser('alice');
    pass('1s');
    await lost.ended;
  });

  it('with an expired access token does not begin where refreshing has a route of its own', async () => {
    const app = await start({ refresh: 'endpoint', refreshPath: '/refresh' }, { metadata });
    const browser = await app.signIn();
    pass('16m');
    const stream = await open(browser, '/streams/sse');
    await stream.ended;
    expect([stream.status, JSON.parse(stream.text)]).toEqual([
      401,
      expect.objectContaining({ code: 'try_refresh' }),
    ]);
    expect(stream.headers.get('content-type')).toContain('json');
    expect((await browser.post('/refresh')).status).toBeLessThan(300);
    await (await open(browser, '/streams/sse')).more();
  });
});
