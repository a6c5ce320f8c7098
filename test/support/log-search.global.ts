import { mkdtempSync, readdirSync, readFileSync, rmSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { findSecrets, LOG_FOLDER, type LoggedText, SECRETS, TEXTS } from './log-search.js';

/** How many finds are shown. */
const SHOWN = 20;

/**
 * Searches everything that the suites have written for secrets, tokens and cookies at the end of the run. The run fails if
 * there are any. Output of workers, and of processes that inherit it, comes to the streams of this process.
 */
export default function setup(): () => void {
  const folder = mkdtempSync(join(tmpdir(), 'session-tokens-log-'));
  process.env[LOG_FOLDER] = folder;
  const taps = [tap(process.stdout, 'stdout'), tap(process.stderr, 'stderr')];
  return () => {
    const written = taps.map((end) => end());
    const files = readdirSync(folder);
    const read = (end: string): unknown[] =>
      files
        .filter((name) => name.endsWith(end))
        .flatMap((name) => readFileSync(join(folder, name), 'utf8').split('\n'))
        .filter((line) => line !== '')
        .map((line) => JSON.parse(line) as unknown);
    const texts = [...written, ...(read(TEXTS) as LoggedText[])];
    const secrets = new Set(read(SECRETS) as string[]);
    rmSync(folder, { recursive: true });

    const lines = texts.flatMap(({ text, source }) =>
      text
        .split('\n')
        .filter((line) => line.trim() !== '')
        .map((line) => ({ line, source })),
    );
    const finds = lines.flatMap(({ line, source }) =>
      findSecrets(line, secrets).map((find) => `${source}: ${find}`),
    );
    if (finds.length === 0) {
      console.log(`Log searched: ${lines.length} lines, nothing secret in them`);
      return;
    }
    for (const find of finds.slice(0, SHOWN)) console.error(`SECRET IN THE LOG: ${find}`);
    console.error(`Log searched: ${lines.length} lines, ${finds.length} SECRETS IN THEM`);
    process.exitCode = 1;
  };
}

/** Keeps what is written to a stream. @returns ends it, and gives all of it */
function tap(stream: NodeJS.WriteStream, source: string): () => LoggedText {
  let text = '';
  const write = stream.write.bind(stream);
  stream.write = (chunk: string | Uint8Array, ...rest: unknown[]): boolean => {
    text += typeof chunk === 'string' ? chunk : Buffer.from(chunk).toString();
    return (write as (...all: unknown[]) => boolean)(chunk, ...rest);
  };
  return () => {
    stream.write = write;
    return { text, source };
  };
}
