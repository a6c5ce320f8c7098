import { once } from 'node:events';
import { createServer, type IncomingMessage, type Server, type ServerResponse } from 'node:http';
import type { AddressInfo } from 'node:net';
import {
  type ForwardedSession,
  ForwardError,
  type ForwardOptions,
  forwardSession,
} from 'nestjs-session-tokens/ssr';

/** What a page does while it is rendered. Its result is the page. */
export type Page = (session: ForwardedSession, request: IncomingMessage) => Promise<unknown>;

/**
 * How a rendering server hands cookies back:
 *
 * - `end`: with the headers of the finished page, as loaders and hooks do.
 * - `start`: with the headers, before the page is rendered (streaming).
 * - `never`: it forgets to. Nobody should.
 * - `read-only`: it cannot, and says so.
 * - `middleware`: something in front of the page renews the cookies, and sends them with the page, however long that takes. The
 *   page itself is read-only. So does Next.js.
 */
export type Kind = 'end' | 'start' | 'never' | 'read-only' | 'middleware';

/** A small rendering server in front of the API. */
export class RenderingServer {
  readonly pages: Record<string, Page> = {};
  /** How the next pages hand cookies back. */
  kind: Kind = 'end';
  url = '';
  private readonly server: Server;

  constructor(private readonly options: ForwardOptions) {
    this.server = createServer((request, response) => {
      this.answer(request, response).catch((error: unknown) => {
        if (!response.headersSent) {
          response.statusCode = error instanceof ForwardError && error.code === 'csrf_failed' ? 403 : 500;
        }
        response.end(JSON.stringify(error instanceof ForwardError ? error.code : String(error)));
      });
    });
  }

  async listen(): Promise<this> {
    await once(this.server.listen(0, '127.0.0.1'), 'listening');
    this.url = `http://127.0.0.1:${(this.server.address() as AddressInfo).port}`;
    return this;
  }

  async close(): Promise<void> {
    this.server.closeAllConnections();
    await new Promise((resolve) => this.server.close(resolve));
  }

  private async answer(request: IncomingMessage, response: ServerResponse): Promise<void> {
    const page = this.pages[request.url!.split('?')[0]!];
    if (!page) {
      response.statusCode = 404;
      response.end();
      return;
    }
    // Whoever can set cookies: the page itself, or the middleware in front of it.
    const outer = forwardSession(request.headers, { ...this.options, readOnly: this.kind === 'read-only' });
    let inner = outer;
    let lines: string[] = [];
    if (this.kind === 'middleware') {
      await outer.renew('/refresh');
      lines = outer.cookies();
      inner = forwardSession(outer.requestHeaders(), { ...this.options, readOnly: true });
    }
    response.setHeader('content-type', 'application/json');
    if (this.kind === 'start') {
      await outer.fetch('/me');
      response.setHeader('set-cookie', outer.cookies());
      response.flushHeaders();
    }
    const body = outer.looksAgain ? undefined : await page(inner, request);
    if (outer.looksAgain && !response.headersSent) {
      const again = await outer.lookAgainResponse(request.url!);
      response.statusCode = again.status;
      response.setHeader('set-cookie', again.headers.getSetCookie());
      response.setHeader('location', again.headers.get('location')!);
      response.setHeader('cache-control', again.headers.get('cache-control')!);
      response.end();
      return;
    }
    if (this.kind === 'end') lines = outer.cookies();
    if (lines.length > 0) response.setHeader('set-cookie', lines);
    response.end(JSON.stringify(body ?? null));
  }
}
