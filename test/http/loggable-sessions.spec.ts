import { inspect } from 'node:util';
import {
  ClassSerializerInterceptor,
  ConsoleLogger,
  Controller,
  Get,
  Inject,
  Injectable,
  Req,
  UseGuards,
  UseInterceptors,
  UsePipes,
  ValidationPipe,
} from '@nestjs/common';
import {
  ActiveSession,
  CurrentSession,
  type HttpRequest,
  SESSION_AUTHENTICATOR,
  SessionGuard,
  SessionService,
} from 'nestjs-session-tokens';
import { afterEach, describe, expect, it, vi } from 'vitest';
import { adapters } from '../support/app.js';
import { pass } from '../support/time.js';
import { accountApps, cookieOf } from './account-app.js';

const SECRET = 'the secret of thirty-two characters, or more';

/** The objects that an application may log. */
let logged: { session: ActiveSession; request: HttpRequest; controller: object };

@Injectable()
class OwnGuard extends SessionGuard {}

@Controller('logged')
@UseGuards(OwnGuard)
class LoggedController {
  constructor(
    readonly sessions: SessionService,
    readonly guard: OwnGuard,
    @Inject(SESSION_AUTHENTICATOR) readonly authenticator: object,
  ) {}

  @Get()
  get(@CurrentSession() session: ActiveSession, @Req() request: HttpRequest): object {
    logged = { session, request, controller: { sessions: this.sessions, guard: this.guard } };
    return {};
  }

  @Get('serialized')
  @UseInterceptors(ClassSerializerInterceptor)
  serialized(@CurrentSession() session: ActiveSession): object {
    return session;
  }

  @Get('plain')
  plain(@CurrentSession() session: ActiveSession): object {
    return session;
  }

  @Get('validated')
  @UsePipes(
    new ValidationPipe({ validateCustomDecorators: true, whitelist: true, forbidUnknownValues: true }),
  )
  async validated(
    @CurrentSession() session: ActiveSession,
    @CurrentSession('userId') userId: string,
  ): Promise<object> {
    return { userId, info: (await session.getInfo()).id === session.id };
  }

  @Get('transformed')
  @UsePipes(new ValidationPipe({ validateCustomDecorators: true, transform: true }))
  async transformed(
    @CurrentSession() session: ActiveSession,
    @CurrentSession('userId') userId: string,
  ): Promise<object> {
    return { userId, info: (await session.getInfo()).id === session.id };
  }
}

const everything = { depth: Number.POSITIVE_INFINITY, showHidden: true, maxStringLength: null } as const;

/** Ways to convert an object to text. */
const WAYS: Record<string, (value: object) => string> = {
  inspect: (value) => inspect(value),
  'inspect with all that it can show': (value) => inspect(value, everything),
  'inspect without custom functions': (value) => inspect(value, { ...everything, customInspect: false }),
  JSON: (value) => JSON.stringify(value) ?? '',
  'a copy of its members': (value) => inspect({ ...value }, everything),
  'Nest’s logger': (value) => writtenBy(new ConsoleLogger(), value),
  'Nest’s logger as JSON': (value) => writtenBy(new ConsoleLogger({ json: true }), value),
};

function writtenBy(logger: ConsoleLogger, value: object): string {
  const written: string[] = [];
  const streams = [process.stdout, process.stderr].map((stream) =>
    vi.spyOn(stream, 'write').mockImplementation((text) => written.push(String(text)) > 0),
  );
  try {
    logger.log(value);
    logger.error({ value });
  } finally {
    for (const stream of streams) stream.mockRestore();
  }
  return written.join('');
}

describe.each(adapters)('over %s', (adapter) => {
  const apps = accountApps(adapter);
  const start = () =>
    apps({ secret: SECRET }, { metadata: { controllers: [LoggedController], providers: [OwnGuard] } });
  afterEach(() => vi.restoreAllMocks());

  /** Texts that must not be in any log. */
  async function signedIn(pause: string) {
    const app = await start();
    const browser = await app.signIn({ userId: 'alice', claims: { role: 'admin' } });
    pass(pause);
    expect((await browser.get('/logged')).status).toBe(200);
    const [row] = await app.rows();
    const [access, refresh] = (['session_access', 'session_refresh'] as const).map(
      (name) => cookieOf(browser, name).value,
    );
    return { secrets: [SECRET, row!.secretHash, access!, refresh!, access!.split('.')[2]!] };
  }

  describe.each(['0s', '16m'])('after %s', (pause) => {
    it.each(Object.entries(WAYS))('a session can be logged: %s', async (_, write) => {
      const { secrets } = await signedIn(pause);
      const text = write(logged.session) + write({ session: logged.session });
      for (const secret of secrets) expect(text).not.toContain(secret);
      expect(text).toContain('alice');
      expect(text).toContain(logged.session.id);
      expect(text).not.toMatch(/manager|options|transport|eyJ/);
    });

    it.each(Object.entries(WAYS))('and so can the parts that are injected: %s', async (_, write) => {
      const { secrets } = await signedIn(pause);
      const text = write(logged.controller);
      for (const secret of secrets) expect(text).not.toContain(secret);
      expect(text).not.toMatch(/secretHash|options/);
    });

    it('and a request, which shows no more than it carries itself', async () => {
      const { secrets } = await signedIn(pause);
      const [secret, hash] = secrets;
      const text = inspect(logged.request, { ...everything, showHidden: false });
      expect(text).not.toContain(secret);
      expect(text).not.toContain(hash);
      expect(text).toMatch(/Symbol\(nestjs-session-tokens\.session\)\]?: Attached \{\}/);
    });
  });

  it('has its id, user and claims as members of its own', async () => {
    await signedIn('0s');
    expect(Object.keys(logged.session)).toEqual(['id', 'userId', 'claims']);
    expect(inspect(logged.session)).toMatch(/^ActiveSession \{\s+id: '[^']+',\s+userId: 'alice'/);
  });

  it.each([
    ['plain', { userId: 'alice', claims: { role: 'admin' } }],
    ['serialized', { userId: 'alice', claims: { role: 'admin' } }],
    ['validated', { userId: 'alice', info: true }],
    ['transformed', { userId: 'alice', info: true }],
  ])('a handler can return a session, and pipes leave it alone: %s', async (path, body) => {
    const app = await start();
    const browser = await app.signIn({ userId: 'alice', claims: { role: 'admin' } });
    expect(await browser.get(`/logged/${path}`)).toMatchObject({ status: 200, body });
  });
});
