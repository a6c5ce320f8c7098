import type { IncomingHttpHeaders, IncomingMessage, ServerResponse } from 'node:http';

/**
 * What a request of Express, of Fastify, or of Node has in common. Passing the adapter's own request object is all an
 * application does; nothing here imports an adapter.
 */
export interface HttpRequest {
  readonly headers: IncomingHttpHeaders;
  readonly method?: string | undefined;
  readonly url?: string | undefined;
  /** What the client asked for, where `url` is only what the handler is concerned with. */
  readonly originalUrl?: string | undefined;
  /** With port; behind a trusted proxy what the client asked for. */
  readonly host?: string | undefined;
  readonly ip?: string | undefined;
}

/** A response of Express or Node. */
interface NodeResponse {
  readonly headersSent: boolean;
  getHeader(name: string): number | string | string[] | undefined;
  setHeader(name: string, value: string | string[]): unknown;
}

/** A reply of Fastify. Its headers must not be set on the raw response: it would overwrite them when it sends. */
interface FastifyReply {
  readonly sent: boolean;
  readonly raw: { readonly headersSent: boolean };
  getHeader(name: string): number | string | string[] | undefined;
  header(name: string, value: string | string[]): unknown;
  removeHeader(name: string): unknown;
}

/** A response of either adapter. */
export type HttpResponse = NodeResponse | FastifyReply;

/** The value of a request header, the first where there are several. */
export function requestHeader(request: HttpRequest, name: string): string | undefined {
  const value = request.headers[name];
  return Array.isArray(value) ? value[0] : value;
}

export function responseHeader(response: HttpResponse, name: string): string[] {
  const value = response.getHeader(name);
  if (value === undefined) return [];
  return Array.isArray(value) ? value : [String(value)];
}

/** Replaces a response header. */
export function setResponseHeader(response: HttpResponse, name: string, value: string | string[]): void {
  if (isFastify(response)) {
    // Fastify adds to an existing Set-Cookie header instead of replacing it.
    response.removeHeader(name);
    response.header(name, value);
  } else {
    response.setHeader(name, value);
  }
}

export function areHeadersSent(response: HttpResponse): boolean {
  return isFastify(response) ? response.sent || response.raw.headersSent : response.headersSent;
}

/** Node's own request. Whatever else looks like a request has less of it. */
export function rawRequest(request: HttpRequest): Partial<IncomingMessage> & Pick<IncomingMessage, 'once'> {
  return ('raw' in request ? request.raw : request) as IncomingMessage;
}

/** Node's own response, whose headers leave when either adapter is ready. */
export function rawResponse(response: HttpResponse): ServerResponse {
  return (isFastify(response) ? response.raw : response) as ServerResponse;
}

function isFastify(response: HttpResponse): response is FastifyReply {
  return 'raw' in response && 'removeHeader' in response;
}
