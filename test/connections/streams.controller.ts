import { PassThrough, Readable } from 'node:stream';
import { Controller, Get, Res, Sse, StreamableFile, UseGuards } from '@nestjs/common';
import { OptionalSession, SessionGuard, SkipSession } from 'nestjs-session-tokens';
import { interval, map, type Observable } from 'rxjs';

/** How often something is sent, in milliseconds. */
const BEAT = 5;

const beats = (): Observable<{ data: string }> => interval(BEAT).pipe(map((n) => ({ data: `beat ${n}` })));

/** A body without an end. */
function endless(): Readable {
  const body = new PassThrough();
  const timer = setInterval(() => body.write('beat\n'), BEAT);
  body.once('close', () => clearInterval(timer));
  return body;
}

/** Responses that go on until somebody ends them, in each way that handlers have. */
@Controller('streams')
@UseGuards(SessionGuard)
export class StreamsController {
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
    const raw = response.raw ?? response;
    if (response.hijack) response.hijack();
    raw.writeHead(200, { 'content-type': 'text/plain' });
    const timer = setInterval(() => raw.write('beat\n'), BEAT);
    raw.once('close', () => clearInterval(timer));
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
}

interface RawResponse {
  readonly raw?: RawResponse;
  hijack?(): void;
  writeHead(status: number, headers: object): void;
  write(text: string): void;
  once(event: 'close', listener: () => void): void;
}
