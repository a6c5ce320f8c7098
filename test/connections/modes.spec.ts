import { Controller, Get, Sse, UseGuards } from '@nestjs/common';
import { type ActiveSession, type RevocationMode, SessionGuard, SessionModule } from 'nestjs-session-tokens';
import { interval, map, type Observable } from 'rxjs';
import { afterEach, describe, expect, it } from 'vitest';
import { accountApps } from '../http/account-app.js';
import { databases } from '../support/databases.js';
import { pass } from '../support/time.js';
import { AUDIENCE, ISSUER, issuing, JWKS_PATH, startService } from '../verifier/service-app.js';
import { openStream } from './stream.js';
import { StreamsController } from './streams.controller.js';

const metadata = { controllers: [StreamsController] };
const modes: readonly RevocationMode[] = ['feed', 'database', 'none'];

/** The routes of a service without the database. */
@Controller('streams')
@UseGuards(SessionGuard)
class ServiceStreamsController {
  @Sse('sse')
  events(): Observable<{ data: string }> {
    return interval(5).pipe(map((n) => ({ data: `beat ${n}` })));
  }

  @Get('short')
  short(): object {
    return {};
  }
}

/** Closes what a test has opened, before its applications close, because they wait for that. */
function useClosers() {
  const closers: { close(): unknown }[] = [];
  afterEach(async () => {
    for (const each of closers.splice(0).toReversed()) await each.close();
  });
  return {
    use: (each: { close(): unknown }) => void closers.push(each),
    open: async (...args: Parameters<typeof openStream>) => {
      const stream = await openStream(...args);
      closers.push(stream);
      return stream;
    },
  };
}

describe.each(databases)('streams on $name', (kind) => {
  const start = accountApps('express', kind);
  const { open } = useClosers();

  it.each(modes)(
    'end with their session in mode "%s", here and in another process, and no others',
    async (revocation) => {
      const options = { revocation, revocationInterval: 0.05 };
      const app = await start(options, { metadata });
      const other = await start(options, { metadata, database: app.database });
      const [alice, bob, cleo] = [
        await app.signIn(),
        await app.signIn({ userId: 'bob' }),
        await app.signIn({ userId: 'cleo' }),
      ];
      const { id } = (await alice.get('/me')).body as ActiveSession;
      const openBoth = async (browser: typeof alice) =>
        Promise.all([app, other].map(({ url }) => open(browser, '/streams/sse', { at: url })));
      const [ofAlice, ofBob, ofCleo] = [await openBoth(alice), await openBoth(bob), await openBoth(cleo)];
      const ended = async (streams: typeof ofAlice) => Promise.all(streams.map((stream) => stream.ended));
      await app.sessions.revoke(id);
      pass('1s');
      await ended(ofAlice);
      await other.sessions.revokeAllForUser('bob');
      pass('1s');
      await ended(ofBob);
      await Promise.all(ofCleo.map((stream) => stream.more()));
      expect(ofCleo.map(({ isOpen }) => isOpen)).toEqual([true, true]);
      // Its access token has expired by then.
      pass('31d');
      await ended(ofCleo);
    },
  );
});

describe('a stream of somebody who acts as another user', () => {
  const start = accountApps('fastify');
  const { open } = useClosers();

  it.each([
    { name: 'the access token expires', end: async () => pass('16m') },
    {
      name: 'the session of the actor is revoked',
      end: async (sessions: { revokeAllForUser(user: string): Promise<unknown> }) =>
        sessions.revokeAllForUser('alice'),
    },
    {
      name: 'all sessions of the user are revoked',
      end: async (sessions: { revokeAllForUser(user: string): Promise<unknown> }) =>
        sessions.revokeAllForUser('bob'),
    },
  ])('ends when $name', async ({ end }) => {
    const app = await start({ revocationInterval: 0.05 }, { metadata });
    const browser = await app.signIn();
    const answer = await browser.post('/streams/act');
    expect((answer.body as ActiveSession).userId).toBe('bob');
    const stream = await open(browser, '/streams/sse');
    const own = await open(await app.signIn({ userId: 'cleo' }), '/streams/sse');
    await end(app.sessions);
    pass('1s');
    await stream.ended;
    await own.more();
  });
});

describe('a stream of a service without the database', () => {
  const start = accountApps('express');
  const { open, use } = useClosers();
  const PATH = '/.well-known/session-revocations';

  const setUp = async (hears: boolean) => {
    const app = await start({ ...issuing, revocationsPath: PATH, revocationInterval: 0.05 });
    const revocations = hears && { revocations: { uri: app.url + PATH, interval: 0.05 } };
    const uris = { jwksUri: app.url + JWKS_PATH, issuer: ISSUER, audience: AUDIENCE };
    const module = SessionModule.forVerifier({ ...uris, ...revocations });
    const service = await startService('express', module, { controllers: [ServiceStreamsController] });
    use(service);
    const browser = await app.signIn();
    return { app, browser, stream: await open(browser, '/streams/sse', { at: service.url }) };
  };

  it('ends when the session is revoked, where the service hears of that', async () => {
    const { app, stream } = await setUp(true);
    await app.sessions.revokeAllForUser('alice');
    pass('1s');
    expect(await stream.ended).toEqual({ isComplete: true });
  });

  it.each([true, false])('ends when the access token expires (hears of revocations: %s)', async (hears) => {
    const { stream } = await setUp(hears);
    pass('14m');
    await stream.more();
    pass('2m');
    expect(await stream.ended).toEqual({ isComplete: true });
  });
});
