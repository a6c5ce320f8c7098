import type { Server } from 'node:http';
import type { AddressInfo } from 'node:net';
import { Controller, HttpCode, NotFoundException, Post, Req, Res, UseGuards } from '@nestjs/common';
import { HttpAdapterHost } from '@nestjs/core';
import {
  type HttpRequest,
  type HttpResponse,
  type JsonValue,
  CurrentSession,
  SessionGuard,
} from 'nestjs-session-tokens';
import { badRequest, JsonBody } from '../json-body.decorator.js';
import { Settings } from '../settings.js';
import { CookieJar, type TokenKind } from './cookie-jar.js';
import { type Thief, Thieves } from './thieves.js';

type Step = 'use' | 'refresh';
type Change = 'kept' | 'renewed' | 'lost';

/** What became of a request that the thief made. Tokens are told apart here; none is ever sent to the page. */
export interface TheftReport {
  readonly status: number;
  readonly code: string | undefined;
  readonly userId: string | undefined;
  readonly accessToken: Change;
  readonly refreshToken: Change;
}

const HEADER = 'anti-csrf';

@Controller()
export class TheftDemoController {
  constructor(
    private readonly thieves: Thieves,
    private readonly settings: Settings,
    private readonly host: HttpAdapterHost,
  ) {}

  /** Copies the cookies of this request, as a thief with access to the browser's files could. */
  // The second path is below the refresh route: in endpoint mode the refresh cookie travels nowhere else.
  @UseGuards(SessionGuard)
  @Post(['demo/theft/copy', 'auth/refresh/theft-copy'])
  @HttpCode(200)
  copy(
    @CurrentSession('id') sessionId: string,
    @Req() request: HttpRequest,
    @Res({ passthrough: true }) response: HttpResponse,
  ): object {
    const jar = new CookieJar(request.headers.cookie);
    // The guard may just have renewed the tokens; the thief is to have what the browser will have.
    jar.store([response.getHeader('set-cookie') ?? []].flat().map(String));
    const antiCsrf = request.headers[HEADER]?.toString();
    return { thiefId: this.thieves.add({ sessionId, jar, antiCsrf }).id };
  }

  /** Lets the thief act. Needs no session: the point is what the thief can do when the owner has none any more. */
  @Post('demo/theft/act')
  @HttpCode(200)
  async act(@JsonBody() body: JsonValue): Promise<TheftReport> {
    const { thiefId, step } = readOrder(body);
    const thief = this.thieves.find(thiefId);
    if (!thief) {
      throw new NotFoundException({
        statusCode: 404,
        code: 'thief_not_found',
        message: 'This process has no such copy of cookies (any more). Copy them again.',
      });
    }
    const { jar } = thief;
    const before = { access: jar.token('access'), refresh: jar.token('refresh') };
    const change = (kind: TokenKind): Change => {
      const now = jar.token(kind);
      return now === undefined ? 'lost' : now === before[kind] ? 'kept' : 'renewed';
    };
    if (step === 'refresh') jar.drop('access');
    const isEndpoint = this.settings.session.refresh === 'endpoint';
    const send = async () =>
      step === 'refresh' && isEndpoint
        ? this.send(thief, 'POST', '/auth/refresh')
        : this.send(thief, 'GET', '/me');
    let answer = await send();
    // This thief does as told. One that does not gets nothing, and the owner goes on.
    if (answer.code === 'look_again') answer = await send();
    return { ...answer, accessToken: change('access'), refreshToken: change('refresh') };
  }

  /**
   * Makes this browser's access token unusable, as if its time were over. The next requests have to renew it: the page need
   * not wait to show that.
   */
  @UseGuards(SessionGuard)
  @Post('demo/theft/owner-refresh')
  @HttpCode(204)
  forgetAccessToken(@Req() request: HttpRequest, @Res({ passthrough: true }) response: HttpResponse): void {
    const name = new CookieJar(request.headers.cookie).nameOf('access');
    if (!name) return; // the guard has just renewed it
    const secure = this.settings.session.cookies?.secure ? '; Secure' : '';
    this.host.httpAdapter.appendHeader(
      response,
      'set-cookie',
      `${name}=expired; Path=/; HttpOnly; SameSite=Lax${secure}`,
    );
  }

  /** A real request over the network, from somebody else's machine as far as the server can tell. */
  private async send(
    { jar, antiCsrf }: Thief,
    method: string,
    path: string,
  ): Promise<Pick<TheftReport, 'status' | 'code' | 'userId'>> {
    const response = await fetch(this.ownUrl() + path, {
      method,
      headers: {
        cookie: jar.toString(),
        'user-agent': 'Thief/1.0 (somewhere else)',
        ...(antiCsrf !== undefined && { [HEADER]: antiCsrf }),
      },
      signal: AbortSignal.timeout(10_000),
    });
    jar.store(response.headers.getSetCookie());
    const text = await response.text();
    const { code, userId } = (text === '' ? {} : JSON.parse(text)) as Partial<TheftReport>;
    return { status: response.status, code, userId };
  }

  private ownUrl(): string {
    const server = this.host.httpAdapter.getHttpServer() as Server;
    const { address, family, port } = server.address() as AddressInfo;
    const host = { '0.0.0.0': '127.0.0.1', '::': '::1' }[address] ?? address;
    return `http://${family === 'IPv6' ? `[${host}]` : host}:${port}`;
  }
}

function readOrder(body: JsonValue): { thiefId: string; step: Step } {
  const { thiefId, step } = (body ?? {}) as Record<string, unknown>;
  if (typeof thiefId !== 'string' || (step !== 'use' && step !== 'refresh')) {
    throw badRequest('Send { "thiefId": "…", "step": "use" or "refresh" }.');
  }
  return { thiefId, step };
}
