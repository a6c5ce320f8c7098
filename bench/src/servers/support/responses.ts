interface NodeResponse {
  setHeader(name: string, value: string | string[]): unknown;
}

interface FastifyReply {
  readonly raw: unknown;
  header(name: string, value: string | string[]): unknown;
}

/** A response of either adapter. */
export type AnyResponse = NodeResponse | FastifyReply;

/** Sets a response header on either adapter. */
export function setHeader(response: AnyResponse, name: string, value: string | string[]): void {
  if ('raw' in response) response.header(name, value);
  else response.setHeader(name, value);
}
