import { request } from 'node:http';
import type { Browser } from '../support/browser.js';

/** A response that a client reads for as long as it lasts. */
export interface Stream {
  readonly status: number;
  readonly headers: Headers;
  /** What has come so far. */
  readonly text: string;
  readonly isOpen: boolean;
  /** When the last bytes came, in epoch milliseconds. */
  readonly lastByteAt: number;
  /** Resolves when it has ended. @returns whether its body is complete */
  readonly ended: Promise<{ readonly isComplete: boolean }>;
  /** Resolves when more has come. */
  more(): Promise<void>;
  close(): void;
}

/** Opens a stream with the cookies of a browser, at this or at another process, and waits for its first bytes. */
export async function openStream(
  browser: Browser,
  path: string,
  { at = browser.url, headers = {} }: { at?: string; headers?: Record<string, string> } = {},
): Promise<Stream> {
  return new Promise((resolve, reject) => {
    // Whatever comes: also a body that is no stream of events.
    const accept = 'text/event-stream';
    const cookie = browser.cookieHeader(path);
    const sent = { accept, 'user-agent': 'Mozilla/5.0 (test)', ...(cookie !== '' && { cookie }), ...headers };
    const outgoing = request(at + path, { headers: sent, agent: false }, (answer) => {
      let text = '';
      let lastByteAt = 0;
      let isOpen = true;
      const received = new Headers();
      for (const [name, values] of Object.entries(answer.headersDistinct)) {
        for (const value of values ?? []) received.append(name, value);
      }
      for (const line of received.getSetCookie()) browser.receive(line);
      const ended = new Promise<{ isComplete: boolean }>((end) => {
        answer.once('close', () => {
          isOpen = false;
          end({ isComplete: answer.complete });
        });
      });
      const stream: Stream = {
        status: answer.statusCode!,
        headers: received,
        get text() {
          return text;
        },
        get lastByteAt() {
          return lastByteAt;
        },
        get isOpen() {
          return isOpen;
        },
        ended,
        more: async () =>
          new Promise((done, fail) => {
            const close = () => fail(new Error('The stream has ended.'));
            answer.once('close', close);
            answer.once('data', () => {
              answer.off('close', close);
              done();
            });
          }),
        close: () => outgoing.destroy(),
      };
      answer.setEncoding('utf8').on('error', () => undefined);
      answer.on('data', (chunk: string) => {
        text += chunk;
        lastByteAt = Date.now();
        resolve(stream);
      });
      answer.once('close', () => resolve(stream));
    });
    outgoing.once('error', reject);
    outgoing.end();
  });
}
