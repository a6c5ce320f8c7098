import { IncomingMessage } from 'node:http';
import { setTimeout as sleep } from 'node:timers/promises';
import {
  All,
  Body,
  Controller,
  Get,
  Header,
  HttpCode,
  Inject,
  Post,
  Put,
  Query,
  Req,
  Res,
  UseGuards,
} from '@nestjs/common';
import {
  type HttpRequest,
  type HttpResponse,
  Session,
  SessionGuard,
  SessionService,
  SkipSession,
} from 'nestjs-session-tokens';
import { Signal } from './signal.js';
import { digest, PAGE, SERVICE_WORKERS } from './page.js';

type Incoming = HttpRequest & {
  readonly query: Readonly<Record<string, string | undefined>>;
  readonly method: string;
  readonly originalUrl: string;
  readonly body?: unknown;
};

/** A request that a handler has handled. */
export interface Handled {
  readonly id: string | undefined;
  readonly method: string;
  /** Path and query, as the server sees them. */
  readonly url: string;
  readonly userId: string;
  /** The headers by which the browser tells where the request comes from. */
  readonly fetchSite: string | undefined;
  /** SHA-256 of the request's content; `undefined` without content. */
  readonly digest: string | undefined;
}

/** Controls how long the slow handler waits. */
interface Hindrance {
  /** How many requests wait. */
  waiting: number;
  readonly end: Signal;
}

/** The state of the handlers, which tests read and control. */
export class Work {
  readonly handled: Handled[] = [];
  private readonly hindrances = new Map<string, Hindrance>();

  /** The hindrance for the requests of a user. */
  hindrance(userId: string): Hindrance {
    let hindrance = this.hindrances.get(userId);
    if (!hindrance) this.hindrances.set(userId, (hindrance = { waiting: 0, end: new Signal() }));
    return hindrance;
  }

  /** Records a request. Its content has been read completely. */
  async note(userId: string, request: Incoming): Promise<void> {
    const { method, originalUrl: url, headers } = request;
    const load = await loadOf(request);
    this.handled.push({
      id: askedFor(request).id,
      method,
      url,
      userId,
      fetchSite: headers['sec-fetch-site'],
      digest: load && digest(load),
    });
  }
}

/** The kinds of responses that browsers can use. */
const TYPES: Readonly<Record<string, { readonly type: string; readonly text: (id?: string) => string }>> = {
  text: { type: 'text/plain', text: (id) => `did ${id}` },
  html: { type: 'text/html', text: (id) => `<!doctype html><title>page</title><body>did ${id}` },
  script: { type: 'text/javascript', text: (id) => `globalThis.did = '${id}';` },
  worker: { type: 'text/javascript', text: (id) => `postMessage('did ${id}');` },
  style: { type: 'text/css', text: () => 'body { color: rgb(1, 2, 3) }' },
  image: {
    type: 'image/svg+xml',
    text: () => '<svg xmlns="http://www.w3.org/2000/svg" width="7" height="7"/>',
  },
  events: { type: 'text/event-stream', text: (id) => `retry: 60000\ndata: did ${id}\n\n` },
};

const LATE = ['late', 'late/*'];

/** A site with a session, a slow handler, and a handler that accepts every kind of request of browsers. */
@Controller()
@UseGuards(SessionGuard)
export class SiteController {
  constructor(
    private readonly sessions: SessionService,
    @Inject(Work) private readonly work: Work,
  ) {}

  @SkipSession()
  @Get()
  @Header('content-type', 'text/html')
  page(): string {
    return PAGE;
  }

  @SkipSession()
  @Post('login')
  @HttpCode(200)
  async login(
    @Body() input: { userId: string },
    @Req() request: HttpRequest,
    @Res({ passthrough: true }) response: HttpResponse,
  ): Promise<{ expiresAt: number }> {
    const { tokenExpiresAt } = await this.sessions.create(request, response, input);
    return { expiresAt: tokenExpiresAt.getTime() };
  }

  @Get('me')
  me(@Session('userId') userId: string): { userId: string } {
    return { userId };
  }

  /** Somebody opens the site in a tab. */
  @Get('home')
  @Header('content-type', 'text/html')
  // Without this, Firefox would revalidate the page.
  @Header('cache-control', 'no-store')
  home(): string {
    return PAGE;
  }

  @SkipSession()
  @Get('worker.js')
  @Header('content-type', 'text/javascript')
  serviceWorker(@Query('answers') answers: keyof typeof SERVICE_WORKERS): string {
    return SERVICE_WORKERS[answers];
  }

  /** Waits while there is a hindrance: some requests until its end, others for a moment. */
  @All('slow')
  @HttpCode(200)
  async slow(
    @Session('userId') userId: string,
    @Query() { id, moment }: { id: string; moment?: string },
    @Req() request: Incoming,
  ): Promise<string> {
    const hindrance = this.work.hindrance(userId);
    hindrance.waiting++;
    await Promise.race([hindrance.end.given, ...(moment === undefined ? [] : [sleep(Number(moment))])]);
    hindrance.waiting--;
    await this.work.note(userId, request);
    return `did ${id}`;
  }

  /** Handles requests that browsers make in different ways. */
  @Get(LATE)
  async get(
    @Session('userId') userId: string,
    @Req() request: Incoming,
    @Res({ passthrough: true }) response: HttpResponse,
  ): Promise<string> {
    return this.answer(userId, request, response);
  }

  @Post(LATE)
  @HttpCode(200)
  async post(
    @Session('userId') userId: string,
    @Req() request: Incoming,
    @Res({ passthrough: true }) response: HttpResponse,
  ): Promise<string> {
    return this.answer(userId, request, response);
  }

  @Put(LATE)
  async put(
    @Session('userId') userId: string,
    @Req() request: Incoming,
    @Res({ passthrough: true }) response: HttpResponse,
  ): Promise<string> {
    return this.answer(userId, request, response);
  }

  private async answer(userId: string, request: Incoming, response: HttpResponse): Promise<string> {
    const { id, as } = askedFor(request);
    await this.work.note(userId, request);
    const { type, text } = TYPES[as ?? 'text'] ?? TYPES['text']!;
    if ('raw' in response) response.header('content-type', type);
    else response.setHeader('content-type', type);
    return text(id);
  }
}

/** Answers all other requests. */
@Controller()
@UseGuards(SessionGuard)
export class CatchAllController {
  constructor(@Inject(Work) private readonly work: Work) {}

  @Get('*')
  async get(@Session('userId') userId: string, @Req() request: Incoming): Promise<string> {
    await this.work.note(userId, request);
    return 'did it';
  }
}

/** The requested id and kind of response: in the query, or in the path, `/late/id/as`. */
function askedFor({ originalUrl, query }: Incoming): { id?: string | undefined; as?: string | undefined } {
  const [, first, id, as] = originalUrl.split('?')[0]!.split('/');
  return first === 'late' && id !== undefined ? { id, as } : query;
}

/** The content of a request. With Express it is the request itself for uploads, with Fastify `body`. */
async function loadOf(request: Incoming): Promise<Uint8Array | string | undefined> {
  const { body } = request;
  if (isRecord(body) && !('pipe' in body)) return body['load'] as string | undefined;
  const stream = body ?? ('raw' in request ? undefined : request);
  if (typeof stream === 'string') return stream;
  const chunks: Buffer[] = [];
  if (stream) for await (const chunk of stream as IncomingMessage) chunks.push(chunk as Buffer);
  const bytes = Buffer.concat(chunks);
  if (bytes.length === 0) return undefined;
  const type = request.headers['content-type'] ?? '';
  if (!type.startsWith('multipart/')) return bytes;
  const form = await new Response(bytes, { headers: { 'content-type': type } }).formData();
  return new Uint8Array(await (form.get('load') as Blob).arrayBuffer());
}

function isRecord(value: unknown): value is Record<string, unknown> {
  return typeof value === 'object' && value !== null;
}
