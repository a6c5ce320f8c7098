/** What is asked for, and how much of an answer is accepted. */
export interface TextRequest {
  readonly headers: Readonly<Record<string, string>>;
  /** For all of the response, in milliseconds. */
  readonly timeout: number;
  /** In bytes, after decompression. */
  readonly longest: number;
}

/** `text` is empty with status 304. */
export interface TextResponse {
  readonly status: number;
  readonly text: string;
  readonly headers: Headers;
}

/**
 * Fetches a text. The server may be broken, or somebody else's by now: so it is not followed elsewhere, and it can take neither
 * much memory nor much time.
 *
 * @throws Error that says what is wrong with the response: one whose status is neither 200 nor, if that was asked for, 304
 */
export async function fetchText(uri: URL, { headers, timeout, longest }: TextRequest): Promise<TextResponse> {
  const signal = AbortSignal.timeout(timeout);
  try {
    const response = await fetch(uri, { headers, redirect: 'manual', signal });
    const { status } = response;
    if (status === 200) return { status, text: await bodyOf(response, longest), headers: response.headers };
    await response.body?.cancel();
    if (status === 304 && 'if-none-match' in headers) return { status, text: '', headers: response.headers };
    throw new Error(`The response has the status ${status} in place of 200.`);
  } catch (error) {
    if (!signal.aborted) throw error;
    throw new Error(`The response was not complete within ${timeout} ms.`, { cause: error });
  }
}

/** Counts the bytes after decompression, so that few compressed bytes cannot become many. */
async function bodyOf(response: Response, longest: number): Promise<string> {
  const chunks: Uint8Array[] = [];
  let length = 0;
  // Leaving the loop by an error closes the connection.
  for await (const chunk of response.body ?? []) {
    length += chunk.byteLength;
    if (length > longest) throw new Error(`The response is longer than ${longest} bytes.`);
    chunks.push(chunk);
  }
  return Buffer.concat(chunks).toString();
}
