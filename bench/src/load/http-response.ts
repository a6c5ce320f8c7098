/** A whole HTTP/1.1 response. */
export interface HttpResponse {
  readonly status: number;
  /** Values by lower-case name, in the order they came. */
  headers(name: string): string[];
  readonly body: string;
  /** Whether the server ends the connection after it. */
  readonly closes: boolean;
}

const HEAD_END = Buffer.from('\r\n\r\n');

/** Takes one response apart; gives `undefined` while it is not complete. Knows what the contenders' servers send, no more. */
export function parseResponse(bytes: Buffer): HttpResponse | undefined {
  const end = bytes.indexOf(HEAD_END);
  if (end === -1) return undefined;
  const lines = bytes.toString('latin1', 0, end).split('\r\n');
  const status = Number(lines[0]!.slice(9, 12));
  const headers = (name: string) =>
    lines
      .filter((line) => line.length > name.length && line[name.length] === ':')
      .filter((line) => line.slice(0, name.length).toLowerCase() === name)
      .map((line) => line.slice(name.length + 1).trim());

  const start = end + HEAD_END.length;
  let body: string | undefined;
  const [length] = headers('content-length');
  if (status === 204 || status === 304) body = '';
  else if (length !== undefined) body = fixed(bytes, start, Number(length));
  else if (headers('transfer-encoding')[0] === 'chunked') body = chunked(bytes, start);
  else throw new Error(`A response of unknown length: ${lines.join(' | ')}`);
  if (body === undefined) return undefined;
  return { status, headers, body, closes: headers('connection')[0]?.toLowerCase() === 'close' };
}

function fixed(bytes: Buffer, start: number, length: number): string | undefined {
  if (bytes.length < start + length) return undefined;
  return bytes.toString('utf8', start, start + length);
}

function chunked(bytes: Buffer, start: number): string | undefined {
  const parts: Buffer[] = [];
  for (let at = start; ;) {
    const lineEnd = bytes.indexOf('\r\n', at);
    if (lineEnd === -1) return undefined;
    const size = Number.parseInt(bytes.toString('latin1', at, lineEnd), 16);
    const next = lineEnd + 2 + size + 2;
    if (bytes.length < next) return undefined;
    if (size === 0) return Buffer.concat(parts).toString('utf8');
    parts.push(bytes.subarray(lineEnd + 2, lineEnd + 2 + size));
    at = next;
  }
}
