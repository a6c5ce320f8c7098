import { Controller, Get, Post, UseGuards } from '@nestjs/common';
import { DocumentBuilder, type OpenAPIObject, SwaggerModule } from '@nestjs/swagger';
import {
  NoImpersonation,
  RequireFresh,
  SessionGuard,
  SessionModule,
  type SessionModuleExtras,
  type SessionModuleOptions,
  SkipSession,
  UnguardedRouteError,
} from 'nestjs-session-tokens';
import { withSessions } from 'nestjs-session-tokens/openapi';
import { describe, expect, it } from 'vitest';
import { type AccountApp, accountApps } from '../http/account-app.js';
import { adapters } from '../support/app.js';
import type { Answer, Browser } from '../support/browser.js';
import { connect } from '../support/databases.js';
import { pass } from '../support/time.js';
import { answersOf, fits, operationOf } from './openapi.js';

@UseGuards(SessionGuard)
@Controller('routes')
class Routes {
  @Get()
  read() {}

  @RequireFresh('5m')
  @Get('fresh')
  fresh() {}

  @NoImpersonation()
  @Post('own')
  own() {}

  @SkipSession(true, 'default')
  @UseGuards(SessionGuard.of('partner'))
  @Get('partner')
  partner() {}
}

const ISSUER = 'https://accounts.example';
const OPTIONS: SessionModuleOptions & SessionModuleExtras = {
  refreshPath: '/refresh',
  jwksPath: '/keys',
  revocationsPath: '/revocations',
  accessToken: { issuer: ISSUER, audience: ISSUER },
};
/** A service whose issuer cannot be reached. */
const PARTNER = SessionModule.forVerifier({
  name: 'partner',
  isGlobal: true,
  jwksUri: 'http://127.0.0.1:9/keys',
  issuer: ISSUER,
  audience: ISSUER,
});

const fromElsewhere = { headers: { origin: 'https://evil.example' } };
const isNotFollowed = { follows: false };

/** A browser whose cookies have been overtaken by those of a copy. */
async function overtaken(app: AccountApp): Promise<Browser> {
  const owner = await app.signIn();
  const late = owner.copy();
  pass('16m');
  await owner.get('/me');
  pass('90s');
  await owner.get('/me');
  return late;
}

/** A browser in which somebody acts as another user. */
async function acting(app: AccountApp): Promise<Browser> {
  const browser = await app.signIn({ userId: 'admin' });
  const { id } = (await browser.get('/me')).body as { id: string };
  const { accessToken } = await app.sessions.tokens.impersonate(id, { userId: 'alice' });
  const actor = app.browser();
  actor.receive(`__Host-Http-session_access_as=${accessToken.token}; Path=/; Secure; HttpOnly`);
  return actor;
}

/** Sends a request while a table is away. */
async function withoutTable(app: AccountApp, table: string, send: () => Promise<Answer>): Promise<Answer> {
  const admin = await connect(app.database);
  try {
    await admin.query(`ALTER TABLE ${table} RENAME TO away`);
    return await send();
  } finally {
    await admin.query(`ALTER TABLE away RENAME TO ${table}`);
    await admin.destroy();
  }
}

async function expired(app: AccountApp): Promise<Browser> {
  const browser = await app.signIn();
  pass('16m');
  return browser;
}

type Story = (app: AccountApp, method: 'GET' | 'POST', path: string) => Promise<Answer>;

const signedIn: Story = async (app, method, path) => (await app.signIn()).request(method, path);
const nobody: Story = async (app, method, path) => app.browser().request(method, path);
const old: Story = async (app, method, path) => (await overtaken(app)).request(method, path, isNotFollowed);
const forged: Story = async (app, method, path) => (await app.signIn()).request(method, path, fromElsewhere);
const impersonated: Story = async (app, method, path) => (await acting(app)).request(method, path);
const noDatabase: Story = async (app, method, path) => {
  const browser = await expired(app);
  return withoutTable(app, 'user_session', () => browser.request(method, path));
};
const notFresh: Story = async (app, method, path) => {
  const browser = await app.signIn();
  pass('6m');
  return browser.request(method, path);
};
const bearer =
  (token: (app: AccountApp) => Promise<string>): Story =>
  async (app, method, path) =>
    app.browser().request(method, path, { headers: { authorization: `Bearer ${await token(app)}` } });
const tokenOf = async ({ sessions }: AccountApp) =>
  (await sessions.tokens.issue({ userId: 'alice' })).accessToken.token;
const nothingNew: Story = async (app, method, path) => {
  const { headers } = await app.browser().request(method, path);
  return app.browser().request(method, path, { headers: { 'if-none-match': headers.get('etag')! } });
};

/** For each operation, a request for each response that the document has. */
const stories: Record<string, Readonly<Record<number, Story>>> = {
  'get /routes': { 200: signedIn, 307: old, 401: nobody, 503: noDatabase },
  'get /routes/fresh': { 200: signedIn, 307: old, 401: notFresh, 403: impersonated, 503: noDatabase },
  'post /routes/own': { 201: signedIn, 307: old, 401: nobody, 403: impersonated, 503: noDatabase },
  'post /orders': { 200: signedIn, 307: old, 401: nobody, 403: forged, 503: noDatabase },
  'post /refresh': { 204: signedIn, 307: old, 401: nobody, 403: forged, 503: noDatabase },
  'get /keys': { 200: nobody },
};

const all = Object.entries(stories).flatMap(([operation, each]) =>
  Object.entries(each).map(([status, story]) => [operation, Number(status), story] as const),
);

describe.each(adapters)('on %s, the document', (adapter) => {
  const start = accountApps(adapter);

  async function startDescribed(): Promise<{ app: AccountApp; document: OpenAPIObject }> {
    let document: OpenAPIObject | undefined;
    const app = await start(OPTIONS, {
      metadata: { controllers: [Routes], imports: [PARTNER] },
      configure: (each) => {
        document = withSessions(each, () =>
          SwaggerModule.createDocument(each, new DocumentBuilder().build()),
        );
      },
    });
    return { app, document: document! };
  }

  it.each(all)('says of %s what comes with %i', async (operation, status, story) => {
    const { app, document } = await startDescribed();
    const [method, path] = operation.split(' ') as [string, string];
    const answer = await story(app, method.toUpperCase() as 'GET', path);
    expect(answer.status).toBe(status);
    expect(fits(operationOf(document, operation), answer)).toEqual([]);
  });

  it.each(Object.keys(stories))('says of %s nothing else', async (operation) => {
    const { document } = await startDescribed();
    expect(Object.keys(operationOf(document, operation).responses)).toEqual(Object.keys(stories[operation]!));
  });

  it('says of the list of revocations what comes, and what a service may ask with', async () => {
    const { app, document } = await startDescribed();
    const operation = operationOf(document, 'get /revocations');
    for (const [story, status] of [
      [nobody, 200],
      [nothingNew, 304],
    ] as const) {
      const answer = await story(app, 'GET', '/revocations');
      expect(answer.status).toBe(status);
      expect(fits(operation, answer)).toEqual([]);
    }
    expect(operation.parameters?.map(({ name }) => name)).toEqual(['since', 'nonce', 'if-none-match']);
    expect(operation.security).toEqual([]);
  });

  it('says of a service without the database what comes', async () => {
    const { app, document } = await startDescribed();
    const operation = operationOf(document, 'get /routes/partner');
    const unknownKey = await bearer(tokenOf)(app, 'GET', '/routes/partner');
    const answers = [unknownKey, await nobody(app, 'GET', '/routes/partner')];
    expect(answers.map(({ status }) => status)).toEqual([503, 401]);
    expect(answers.flatMap((answer) => fits(operation, answer))).toEqual([]);
    expect(answersOf(operation)).not.toHaveProperty('403');
  });

  it('has no response for a fault of the application', async () => {
    const { document } = await startDescribed();
    const error = new UnguardedRouteError();
    expect(operationOf(document, 'get /routes').responses[error.getStatus()]).toBeUndefined();
  });
});
