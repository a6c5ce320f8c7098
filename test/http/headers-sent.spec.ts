import {
  Controller,
  HttpCode,
  Inject,
  type INestApplication,
  Post,
  Query,
  Req,
  Res,
  UseGuards,
} from '@nestjs/common';
import { IncomingMessage, ServerResponse } from 'node:http';
import { Socket } from 'node:net';
import {
  ActiveSession,
  type HttpRequest,
  type HttpResponse,
  Session,
  SessionError,
  SessionGuard,
  SessionService,
} from 'nestjs-session-tokens';
import { afterEach, describe, expect, it, vi } from 'vitest';
import { LateResponses } from '../../lib/http/late-responses.js';
import { SYSTEM_CLOCK } from '../../lib/util/clock.js';
import { resolveOptions } from '../../lib/options/resolved-options.js';
import { type Adapter, adapters } from '../support/app.js';
import { LogCapture } from '../support/log-capture.js';
import { pass } from '../support/time.js';
import { ACCESS, accountApps, cookieOf, MARKER, REFRESH } from './account-app.js';

type Sender = (response: HttpResponse) => ServerResponse;

const rawOf = (response: HttpResponse) => ('raw' in response ? response.raw : response) as ServerResponse;

/** Ways to send the headers of a response. Each returns what the handler writes to from then on. */
const senders: Record<string, { adapters: readonly Adapter[]; send: Sender }> = {
  write: {
    adapters,
    send(response) {
      const raw = rawOf(response);
      raw.write('first\n');
      return raw;
    },
  },
  flush: {
    adapters,
    send(response) {
      const raw = rawOf(response);
      raw.flushHeaders();
      return raw;
    },
  },
  writeHead: { adapters, send: (response) => rawOf(response).writeHead(200, { 'x-own': '1' }) },
  hijack: {
    adapters: ['fastify'],
    send(response) {
      (response as unknown as { hijack(): void }).hijack();
      return rawOf(response);
    },
  },
};

async function outcomeOf(action: () => unknown): Promise<string> {
  try {
    await action();
    return 'done';
  } catch (error) {
    return error instanceof SessionError ? error.code : String(error);
  }
}

@Controller()
class LateController {
  constructor(@Inject(SessionService) private readonly sessions: SessionService) {}

  @Post('late')
  @HttpCode(200)
  async late(
    @Req() request: HttpRequest,
    @Res() response: HttpResponse,
    @Query('sender') sender: string,
    @Query('action') action: string,
  ): Promise<void> {
    const raw = senders[sender]!.send(response);
    raw.end(await outcomeOf(() => this.act(action, request, response)));
  }

  @UseGuards(SessionGuard)
  @Post('late-with-session')
  @HttpCode(200)
  async lateWithSession(
    @Session() session: ActiveSession,
    @Res() response: HttpResponse,
    @Query('sender') sender: string,
    @Query('action') action: string,
  ): Promise<void> {
    const raw = senders[sender]!.send(response);
    raw.end(
      await outcomeOf(async () =>
        action === 'revoke' ? session.revoke() : session.updateClaims({ step: 1 }),
      ),
    );
  }

  private async act(action: string, request: HttpRequest, response: HttpResponse): Promise<void> {
    switch (action) {
      case 'create':
        await this.sessions.create(request, response, { userId: 'bob' });
        break;
      case 'impersonate':
        await this.sessions.impersonate(request, response, { userId: 'bob' });
        break;
      case 'endImpersonation':
        await this.sessions.endImpersonation(request, response);
        break;
      case 'refresh':
        await this.sessions.refresh(request, response);
        break;
      case 'authenticate':
        await this.sessions.authenticate(request, response);
        break;
      case 'signOut':
        await this.sessions.signOut(request, response);
        break;
      case 'clearCookies':
        this.sessions.clearCookies(response);
        break;
    }
  }
}

/** Who sends the request: what its cookies are. */
type Client = 'signed in' | 'expired' | 'stale' | 'over' | 'nobody';

interface Row {
  readonly action: string;
  readonly client: Client;
  readonly outcome: string;
  /** How many of the sessions are live afterwards. */
  readonly live: number;
}

const rows: Row[] = [
  { action: 'create', client: 'nobody', outcome: 'headers_sent', live: 0 },
  { action: 'create', client: 'signed in', outcome: 'headers_sent', live: 1 },
  { action: 'impersonate', client: 'nobody', outcome: 'no_credentials', live: 0 },
  { action: 'impersonate', client: 'signed in', outcome: 'headers_sent', live: 1 },
  { action: 'endImpersonation', client: 'signed in', outcome: 'done', live: 1 },
  { action: 'refresh', client: 'signed in', outcome: 'headers_sent', live: 1 },
  { action: 'refresh', client: 'expired', outcome: 'headers_sent', live: 1 },
  { action: 'refresh', client: 'stale', outcome: 'headers_sent', live: 1 },
  { action: 'refresh', client: 'over', outcome: 'headers_sent', live: 0 },
  { action: 'refresh', client: 'nobody', outcome: 'no_credentials', live: 0 },
  { action: 'authenticate', client: 'signed in', outcome: 'done', live: 1 },
  { action: 'authenticate', client: 'expired', outcome: 'try_refresh', live: 1 },
  { action: 'authenticate', client: 'stale', outcome: 'try_refresh', live: 1 },
  { action: 'authenticate', client: 'nobody', outcome: 'no_credentials', live: 0 },
  { action: 'signOut', client: 'signed in', outcome: 'done', live: 0 },
  { action: 'signOut', client: 'expired', outcome: 'done', live: 0 },
  { action: 'clearCookies', client: 'signed in', outcome: 'done', live: 1 },
  { action: 'claims', client: 'signed in', outcome: 'done', live: 1 },
  { action: 'revoke', client: 'signed in', outcome: 'done', live: 0 },
];

describe('a response whose headers have been sent', () => {
  afterEach(() => {
    vi.useRealTimers();
  });

  // Somebody updates claims while server-sent events go out: nothing can be removed from the headers any more.
  it.each([
    { headersSent: true, questions: 0 },
    { headersSent: false, questions: 3 },
  ])('is not watched: $headersSent', ({ headersSent, questions }) => {
    vi.useFakeTimers();
    const isOver = vi.fn<() => Promise<boolean>>(async () => Promise.resolve(false));
    const { rotation } = resolveOptions({ secret: false }).options;
    const responses = new LateResponses(
      { hear: () => undefined },
      isOver,
      () => undefined,
      rotation,
      SYSTEM_CLOCK,
    );
    const response = new ServerResponse(new IncomingMessage(new Socket()));
    if (headersSent) response.writeHead(200);
    responses.watch(response, 'session');
    vi.advanceTimersByTime(3_000);
    expect(isOver).toHaveBeenCalledTimes(questions);
  });
});

describe.each(adapters)('a response whose headers have been sent, over %s', (adapter) => {
  const apps = accountApps(adapter);
  const names = Object.keys(senders).filter((name) => senders[name]!.adapters.includes(adapter));

  async function start(configure: (app: INestApplication) => void = () => undefined) {
    const log = new LogCapture();
    const app = await apps(
      { csrf: { mode: 'token' } },
      {
        metadata: { controllers: [LateController] },
        configure: (nest) => (nest.useLogger(log), configure(nest)),
      },
    );
    return { app, log };
  }

  async function clientOf(app: Awaited<ReturnType<typeof start>>['app'], client: Client) {
    const browser = app.browser();
    if (client === 'nobody') return { browser, csrf: '' };
    const login = await browser.post('/login', { userId: 'alice' });
    const csrf = login.headers.get('anti-csrf')!;
    if (client === 'expired') pass('16m');
    if (client === 'over') {
      await app.sessions.revokeAllForUser('alice');
      pass('16m');
    }
    if (client === 'stale') {
      const copy = browser.copy();
      pass('16m');
      await copy.get('/me');
      pass('91s');
      await copy.get('/me');
      pass('16m');
    }
    return { browser, csrf };
  }

  it.each(names.flatMap((sender) => rows.map((row) => Object.assign({ sender }, row))))(
    'gets nothing more: $sender, then $action of a client that is $client',
    async ({ sender, action, client, outcome, live }) => {
      const { app, log } = await start();
      const { browser, csrf } = await clientOf(app, client);
      const before = browser.cookies.map(({ name, value }) => `${name}=${value}`);
      const hasSession = action === 'claims' || action === 'revoke';
      const path = `/late${hasSession ? '-with-session' : ''}?sender=${sender}&action=${action}`;
      const answer = await browser.post(path, undefined, { headers: { 'anti-csrf': csrf } });
      expect(answer.status).toBe(200);
      expect((answer.body as string).replace('first\n', '')).toBe(outcome);
      expect(answer.setCookies).toEqual([]);
      expect(browser.cookies.map(({ name, value }) => `${name}=${value}`)).toEqual(before);
      const sessions = (await app.sessions.findAllForUser('alice')).sessions;
      expect(sessions).toHaveLength(live);
      expect((await app.sessions.findAllForUser('bob')).sessions).toEqual([]);
      expect(log.lines.filter((line) => /ERR_HTTP_HEADERS_SENT|Error/.test(line))).toEqual([]);
    },
  );

  it('leaves the refresh token good', async () => {
    const { app } = await start();
    for (const action of ['refresh', 'authenticate', 'create']) {
      const { browser, csrf } = await clientOf(app, 'expired');
      const token = cookieOf(browser, 'session_refresh').value;
      await browser.post(`/late?sender=write&action=${action}`, undefined, {
        headers: { 'anti-csrf': csrf },
      });
      expect(cookieOf(browser, 'session_refresh').value).toBe(token);
      expect(await browser.get('/me')).toMatchObject({ status: 200, body: { userId: 'alice' } });
      expect(cookieOf(browser, 'session_refresh').value).not.toBe(token);
    }
  });

  // On Fastify, middleware that has sent the headers must not call the route at all.
  const clients: Client[] = adapter === 'express' ? ['signed in', 'expired', 'stale', 'over', 'nobody'] : [];
  it.each(clients)('is not changed by the guard, where middleware has sent them: %s', async (client) => {
    const { app, log } = await start((nest) => {
      nest.use('/me', (_request: unknown, response: ServerResponse, next: () => void) => {
        response.write(' ');
        next();
      });
    });
    const { browser } = await clientOf(app, client);
    const answer = await browser.get('/me');
    expect(answer.status).toBe(200);
    for (const name of ['set-cookie', 'www-authenticate', 'location', 'access-token']) {
      expect(answer.headers.get(name), `header ${name}`).toBeNull();
    }
    const ours = log.lines.filter((line) => [ACCESS, REFRESH, MARKER].some((name) => line.includes(name)));
    expect(ours).toEqual([]);
  });
});
