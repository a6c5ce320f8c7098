import { get } from 'node:http';
import { PassThrough, Readable } from 'node:stream';
import { pipeline } from 'node:stream/promises';
import { createGzip } from 'node:zlib';
import { Controller, Get, Post, Req, Res, Sse, StreamableFile, UseGuards } from '@nestjs/common';
import {
  ActiveSession,
  type HttpRequest,
  type HttpResponse,
  OptionalSession,
  Session,
  SessionGuard,
  SessionService,
  SkipSession,
} from 'nestjs-session-tokens';
import { finalize, interval, map, type Observable } from 'rxjs';

/** How often something is sent, in milliseconds. */
const BEAT = 5;

/** The size of a body that no socket takes at once, in bytes. */
export const LARGE = 32 * 1_024 * 1_024;

/** What sources are at work. */
export const atWork = new Set<object>();

/** What a late stream waits for. */
export const beginning: { waits: (() => Promise<void>) | undefined } = { waits: undefined };

const beats = (): Observable<{ data: string }> => {
  const source = {};
  atWork.add(source);
  return interval(BEAT).pipe(
    // A browser comes back soon.
    map((n) => ({ data: `beat ${n}`, retry: 50 })),
    finalize(() => atWork.delete(source)),
  );
};

/** A body without an end. */
function endless(): Readable {
  const body = new PassThrough();
  atWork.add(body);
  const timer = setInterval(() => body.write('beat\n'), BEAT);
  body.once('close', () => {
    clearInterval(timer);
    atWork.delete(body);
  });
  return body;
}

/** Node's response, which Fastify leaves to the handler. */
function rawOf(response: RawResponse): NodeJS.WritableStream & RawResponse {
  response.hijack?.();
  return (response.raw ?? response) as NodeJS.WritableStream & RawResponse;
}

/** Responses that go on until somebody ends them, in each way that handlers have. */
@Controller('streams')
@UseGuards(SessionGuard)
export class StreamsController {
  constructor(private readonly sessions: SessionService) {}

  @Sse('sse')
  events(): Observable<{ data: string }> {
    return beats();
  }

  @Get('file')
  file(): StreamableFile {
    return new StreamableFile(endless());
  }

  /** With the response itself, as for progress or exports. */
  @Get('writes')
  writes(@Res() response: RawResponse): void {
    const raw = rawOf(response);
    raw.writeHead(200, { 'content-type': 'text/plain' });
    this.write(raw, 'beat\n');
  }

  /** Sends something, and then nothing for long. */
  @Get('quiet')
  quiet(@Res() response: RawResponse): void {
    const raw = rawOf(response);
    raw.writeHead(200, { 'content-type': 'text/plain' });
    raw.write('beat\n');
  }

  /** Events without Nest. */
  @Get('events')
  ownEvents(@Res() response: RawResponse): void {
    const raw = rawOf(response);
    raw.writeHead(200, { 'Content-Type': 'text/event-stream; charset=utf-8' });
    this.write(raw, 'data: beat\n\n');
  }

  /** The same, with the headers set before. */
  @Get('events-by-header')
  eventsByHeader(@Res() response: RawResponse): void {
    const raw = rawOf(response);
    raw.setHeader('content-type', 'text/event-stream');
    this.write(raw, 'data: beat\n\n');
  }

  /** Writes on, whether or not anybody is there. */
  @Get('careless')
  careless(@Res() response: RawResponse): void {
    const raw = rawOf(response);
    raw.writeHead(200, { 'content-type': 'text/event-stream' });
    const timer = setInterval(() => raw.write('data: beat\n\n'), BEAT);
    setTimeout(() => clearInterval(timer), 2_000).unref();
  }

  @Get('pipeline')
  async pipeline(@Res() response: RawResponse): Promise<void> {
    const raw = rawOf(response);
    raw.writeHead(200, { 'content-type': 'text/plain' });
    await pipeline(endless(), raw).catch(() => undefined);
  }

  @Get('pipe')
  pipe(@Res() response: RawResponse): void {
    const source = endless();
    const raw = rawOf(response);
    raw.once('close', () => source.destroy());
    raw.writeHead(200, { 'content-type': 'text/event-stream' });
    source.pipe(raw);
  }

  @Get('zipped')
  async zipped(@Res() response: RawResponse): Promise<void> {
    const raw = rawOf(response);
    raw.writeHead(200, { 'content-type': 'text/plain', 'content-encoding': 'gzip' });
    await pipeline(endless(), createGzip({ flush: 2 }), raw).catch(() => undefined);
  }

  /** Hands on what another server sends. */
  @Get('proxied')
  proxied(
    @Req() request: { readonly headers: { readonly host: string } },
    @Res() response: RawResponse,
  ): void {
    const raw = rawOf(response);
    get(`http://${request.headers.host}/streams/open`, { agent: false }, (answer) => {
      raw.writeHead(200, { 'content-type': 'text/plain' });
      pipeline(answer, raw).catch(() => undefined);
    });
  }

  /** Complete at once, and more than a socket takes. */
  @Get('large')
  large(@Res() response: RawResponse): void {
    const raw = rawOf(response);
    raw.writeHead(200, { 'content-type': 'application/octet-stream', 'content-length': String(LARGE) });
    raw.end(Buffer.alloc(LARGE, 'x'));
  }

  @Sse('claims')
  async claims(@Session() session: ActiveSession): Promise<Observable<{ data: string }>> {
    await session.updateClaims({ role: 'admin' });
    return beats();
  }

  /** Begins when {@link beginning} does. */
  @Sse('late')
  async late(): Promise<Observable<{ data: string }>> {
    await beginning.waits?.();
    return beats();
  }

  @Post('act')
  async act(
    @Req() request: HttpRequest,
    @Res({ passthrough: true }) response: HttpResponse,
  ): Promise<ActiveSession> {
    return this.sessions.impersonate(request, response, { userId: 'bob' });
  }

  /** Ends the session, and says good-bye at length. */
  @Get('farewell')
  async farewell(@Session() session: ActiveSession, @Res() response: RawResponse): Promise<void> {
    await session.revoke();
    const raw = rawOf(response);
    raw.writeHead(200, { 'content-length': String(LARGE), connection: 'close' });
    raw.end(Buffer.alloc(LARGE, 'x'));
  }

  @Get('short')
  short(): object {
    return {};
  }

  @OptionalSession()
  @Sse('optional')
  optional(): Observable<{ data: string }> {
    return beats();
  }

  @SkipSession()
  @Sse('open')
  open(): Observable<{ data: string }> {
    return beats();
  }

  private write(raw: NodeJS.WritableStream & RawResponse, text: string): void {
    atWork.add(raw);
    const timer = setInterval(() => raw.write(text), BEAT);
    raw.once('close', () => {
      clearInterval(timer);
      atWork.delete(raw);
    });
  }
}

interface RawResponse {
  readonly raw?: RawResponse;
  hijack?(): void;
  setHeader(name: string, value: string): void;
  writeHead(status: number, headers: object): void;
  once(event: 'close', listener: () => void): unknown;
}
