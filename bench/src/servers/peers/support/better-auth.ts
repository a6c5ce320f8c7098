// better-auth with its PostgreSQL adapter. The guard is what its documentation's Nest integration does: one call.
import { createHash } from 'node:crypto';
import {
  Body,
  Controller,
  Get,
  HttpCode,
  Inject,
  Injectable,
  type OnModuleInit,
  Post,
  Req,
  Res,
  UnauthorizedException,
} from '@nestjs/common';
import { betterAuth } from 'better-auth';
import { getMigrations } from 'better-auth/db/migration';
import { fromNodeHeaders } from 'better-auth/node';
import type { Request, Response } from 'express';
import { readEnvironment } from '../../support/environment.js';
import type { Login } from './login.js';
import { servePeer } from './peer-server.js';
import { Pool } from './pool.js';

const PASSWORD = 'wonderland';

/** Stands in for scrypt, whose tens of milliseconds are the price of a password, and would hide that of a session. */
const cheapPassword = {
  hash: async (password: string) => createHash('sha256').update(password).digest('base64url'),
  verify: async ({ hash, password }: { hash: string; password: string }) =>
    hash === (await cheapPassword.hash(password)),
};

function createAuth({ pg: database }: Pool, cookieCache: boolean) {
  return betterAuth({
    database,
    secret: readEnvironment().secret,
    // As in production; it makes cookies `Secure`.
    baseURL: 'https://bench.example.com',
    emailAndPassword: { enabled: true, password: cheapPassword },
    // What others call claims is a field of the user here; the cookie cache carries it.
    user: { additionalFields: { claims: { type: 'string', required: false, input: false } } },
    // As long as the access tokens of the others, so that it is the same cache for all of a race.
    session: { cookieCache: { enabled: cookieCache, maxAge: 15 * 60 } },
    // Not the default, but half of the queries: a join instead of one query for each table.
    advanced: { database: { joins: true } },
    telemetry: { enabled: false },
  });
}

type Auth = ReturnType<typeof createAuth>;

/** Users are made so many at a time, so that nearly nothing of it is in a measurement. */
const BATCH = 1_000;

/** Users, which are rows here and must be there to sign in. The names that the benchmark gives them end with a number. */
@Injectable()
class Users {
  private readonly known = new Map<string, Promise<unknown>>();

  constructor(@Inject(Pool) private readonly pool: Pool) {}

  /** Sees to it that the user is there with these claims. @returns the user's address */
  async ensure({ userId, claims }: Login): Promise<string> {
    const [, name = userId, number] = /^(.*-)(\d+)$/.exec(userId) ?? [];
    const text = JSON.stringify(claims);
    const batch = number === undefined ? undefined : Math.floor(Number(number) / BATCH);
    const key = `${name} ${batch} ${text}`;
    let made = this.known.get(key);
    if (!made) this.known.set(key, (made = this.make(idsOf(name, batch), text)));
    await made;
    return addressOf(userId);
  }

  private async make(ids: string[], claims: string): Promise<void> {
    await this.pool.pg.query(
      `INSERT INTO "user" (id, name, email, "emailVerified", claims, "createdAt", "updatedAt")
       SELECT id, id, email, true, $3, now(), now() FROM unnest($1::text[], $2::text[]) AS users (id, email)
       ON CONFLICT (id) DO UPDATE SET claims = $3`,
      [ids, ids.map(addressOf), claims],
    );
    await this.pool.pg.query(
      `INSERT INTO account (id, "accountId", "providerId", "userId", password, "createdAt", "updatedAt")
       SELECT id, id, 'credential', id, $2, now(), now() FROM unnest($1::text[]) AS users (id)
       ON CONFLICT (id) DO NOTHING`,
      [ids, await cheapPassword.hash(PASSWORD)],
    );
  }
}

function addressOf(userId: string): string {
  return `${userId.toLowerCase()}@bench.example.com`;
}

function idsOf(name: string, batch: number | undefined): string[] {
  if (batch === undefined) return [name];
  return Array.from({ length: BATCH }, (_, index) => `${name}${batch * BATCH + index}`);
}

export function serveBetterAuth(cookieCache: boolean): void {
  @Injectable()
  class BetterAuth implements OnModuleInit {
    readonly auth: Auth;

    constructor(@Inject(Pool) pool: Pool) {
      this.auth = createAuth(pool, cookieCache);
    }

    async onModuleInit(): Promise<void> {
      const { runMigrations } = await getMigrations(this.auth.options);
      await runMigrations();
    }
  }

  @Controller()
  class BetterAuthController {
    private readonly api: Auth['api'];

    constructor(
      @Inject(BetterAuth) { auth }: BetterAuth,
      @Inject(Users) private readonly users: Users,
    ) {
      this.api = auth.api;
    }

    @Post('login')
    @HttpCode(204)
    async login(@Body() login: Login, @Req() req: Request, @Res({ passthrough: true }) res: Response) {
      const email = await this.users.ensure(login);
      const body = { email, password: PASSWORD };
      const { headers } = await this.api.signInEmail({
        body,
        headers: fromNodeHeaders(req.headers),
        returnHeaders: true,
      });
      setCookies(res, headers);
    }

    @Get('me')
    async me(@Req() req: Request) {
      const session = await this.api.getSession({ headers: fromNodeHeaders(req.headers) });
      if (!session) throw new UnauthorizedException();
      return { userId: session.user.id };
    }

    /** What happens when the cookie cache has expired: the session is read, and the cache signed anew. */
    @Post('renew')
    @HttpCode(204)
    async renew(@Req() req: Request, @Res({ passthrough: true }) res: Response) {
      const { headers, response } = await this.api.getSession({
        headers: fromNodeHeaders(req.headers),
        query: { disableCookieCache: true },
        returnHeaders: true,
      });
      if (!response) throw new UnauthorizedException();
      setCookies(res, headers);
    }

    @Post('logout')
    @HttpCode(204)
    async logout(@Req() req: Request, @Res({ passthrough: true }) res: Response) {
      const { headers } = await this.api.signOut({
        headers: fromNodeHeaders(req.headers),
        returnHeaders: true,
      });
      setCookies(res, headers);
    }

    @Get('devices')
    async devices(@Req() req: Request) {
      return this.api.listSessions({ headers: fromNodeHeaders(req.headers) });
    }
  }

  servePeer({
    description: 'with a cheap password hash, and joins turned on',
    controllers: [BetterAuthController],
    providers: [Pool, Users, BetterAuth],
  });
}

function setCookies(res: Response, headers: Headers): void {
  const cookies = headers.getSetCookie();
  if (cookies.length > 0) res.setHeader('set-cookie', cookies);
}
