import type { IncomingHttpHeaders, IncomingMessage, ServerResponse } from 'node:http';

/**
 * What the requests of Express, Fastify and Node have in common. The application passes the adapter's own request object.
 * This package imports no adapter.
 */
export interface HttpRequest {
  readonly headers: IncomingHttpHeaders;
  readonly method?: string | undefined;
  readonly url?: string | undefined;
  /** The URL that the client requested. Express shortens `url` for mounted routers. */
  readonly originalUrl?: string | undefined;
  /** Host with port. Behind a trusted proxy, the host that the client requested. */
  readonly host?: string | undefined;
  readonly ip?: string | undefined;
}

/** A response of Express or Node. */
interface NodeResponse {
  readonly headersSent: boolean;
  getHeader(name: string): number | string | string[] | undefined;
  setHeader(name: string, value: string | string[]): unknown;
  removeHeader?(name: string): unknown;
}

/** A reply of Fastify. Do not set headers on its raw response: Fastify overwrites them when it sends. */
interface FastifyReply {
  readonly sent: boolean;
  readonly raw: { readonly headersSent: boolean };
  getHeader(name: string): number | string | string[] | undefined;
  header(name: string, value: string | string[]): unknown;
  removeHeader(name: string): unknown;
}

/** A response of either adapter. */
export type HttpResponse = NodeResponse | FastifyReply;

/** The value of a request header; the first one if there are several. */
export function requestHeader(request: HttpRequest, name: string): string | undefined {
  const value = request.headers[name];
  return Array.isArray(value) ? value[0] : value;
}

/** The path that the client requested, without query. */
export function pathOf({ originalUrl, url = '/' }: HttpRequest): string {
  return (originalUrl ?? url).split('?')[0]!;
}

export function responseHeader(response: HttpResponse, name: string): string[] {
  const value = response.getHeader(name);
  if (value === undefined) return [];
  return Array.isArray(value) ? value : [String(value)];
}

/** Replaces a response header. */
export function setResponseHeader(response: HttpResponse, name: string, value: string | string[]): void {
  if (isFastify(response)) {
    // Fastify appends to an existing Set-Cookie header instead of replacing it.
    response.removeHeader(name);
    response.header(name, value);
  } else {
    response.setHeader(name, value);
  }
}

export function removeResponseHeader(response: HttpResponse, name: string): void {
  response.removeHeader?.(name);
}

export function setResponseStatus(response: HttpResponse, status: number): void {
  // Replies of Fastify have this member, too.
  (response as { statusCode?: number }).statusCode = status;
}

export function areHeadersSent(response: HttpResponse): boolean {
  return isFastify(response) ? response.sent || response.raw.headersSent : response.headersSent;
}

/** Node's request. Other objects that look like a request may lack some of its members. */
export function rawRequest(request: HttpRequest): Partial<IncomingMessage> & Pick<IncomingMessage, 'once'> {
  return ('raw' in request ? request.raw : request) as IncomingMessage;
}

/** Node's response. Both adapters send their headers with it. */
export function rawResponse(response: HttpResponse): ServerResponse {
  return (isFastify(response) ? response.raw : response) as ServerResponse;
}

function isFastify(response: HttpResponse): response is FastifyReply {
  return 'raw' in response && 'removeHeader' in response;
}
