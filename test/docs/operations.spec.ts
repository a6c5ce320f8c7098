import { readFileSync } from 'node:fs';
import { ActiveSession, SessionService } from 'nestjs-session-tokens';
import { describe, expect, it } from 'vitest';
import { SessionTokens } from '../../lib/module/session-tokens.js';
import { type Message, readMessages } from './messages.js';

const read = (path: string) => readFileSync(new URL(path, import.meta.url), 'utf8');
const page = read('../../docs/operations.md');
const { lines, refusals, passed } = readMessages();

/** Log calls that pass on what is found elsewhere in the sources, but for the error about a damaged column. */
const PASSED = [
  { file: 'module/session-verifier.module.ts', code: 'logger.warn(warning)' },
  { file: 'module/session.runtime.ts', code: 'logger.log(note)' },
  { file: 'module/session.runtime.ts', code: 'logger.warn(warning)' },
  { file: 'storage/session.store.ts', code: 'logger.error(message)' },
];
const DAMAGED = 'The column for the … of session … is damaged: its value is not JSON.';

/** Methods that the page names and that are not ours. */
const OF_OTHERS = new Set(['close', 'enableShutdownHooks', 'createApplicationContext', 'corsOptions']);

const ofSources = (messages: readonly Message[]) =>
  [...new Set(messages.map(({ level, text }) => `${level}: ${text}`))].toSorted();
const rows = [...page.matchAll(/^\| (debug|log|warn|error) +\| `([^`]+)` +\|([^|]*)\|([^|]*)\|$/gm)];

describe('the page about operations', () => {
  it('has each log line of the sources once, with its level, and no other', () => {
    // What ends a trouble is in the table. How long it lasted is added to each.
    const known = lines.filter(({ file }) => file !== 'util/trouble.ts');
    const listed = rows.map(([, level, text]) => `${level}: ${text}`);
    expect(listed.toSorted()).toEqual([...ofSources(known), `error: ${DAMAGED}`].toSorted());
    expect(read('../../lib/storage/session.store.ts')).toContain(
      DAMAGED.replace('…', '${column}').replace('…', '${entity.id}'),
    );
  });

  it('says what to do about each', () => {
    expect(rows.filter(([, , , , whatToDo]) => whatToDo!.trim() === '')).toEqual([]);
  });

  it('misses no log call whose text is not a literal', () => {
    expect(passed).toEqual(PASSED);
  });

  it('has each refusal of the sources, and no other', () => {
    const [, list] = /<summary>Refusals<\/summary>(.*?)<\/details>/s.exec(page)!;
    const listed = [...list!.matchAll(/^- `([^`]+)`$/gm)].map(([, text]) => `start: ${text}`);
    expect(listed.toSorted()).toEqual(ofSources(refusals));
  });

  it('has the code that is compiled and tested, and all of it', () => {
    const regions = [...read('runbook.ts').matchAll(/^\/\/ #region [\w-]+\n(.*?)\n\/\/ #endregion/gms)];
    const blocks = [
      ...page.matchAll(
        /^ *```ts\nimport type \{ [\w, ]+ \} from 'nestjs-session-tokens';\n\n(.*?)\n *```/gms,
      ),
    ];
    expect(blocks.map(([, code]) => code!).toSorted()).toEqual(regions.map(([, code]) => code!).toSorted());
  });

  it('names no method that does not exist', () => {
    const methods = new Set(
      [SessionService, SessionTokens, ActiveSession].flatMap(({ prototype }) =>
        Object.getOwnPropertyNames(prototype),
      ),
    );
    const named = [...page.matchAll(/`(?:[\w]+\.)?(\w+)\([^`]*\)`/g)].map(([, name]) => name!);
    expect(named).toContain('revokeAll');
    expect(named.filter((name) => !methods.has(name) && !OF_OTHERS.has(name))).toEqual([]);
  });

  it('names no metric that the dashboard does not have', () => {
    const dashboard = read('../../docs/grafana/dashboard.json') + read('../../docs/grafana/alerts.yaml');
    const named = [...page.matchAll(/\bsession_tokens_\w+/g)].map(([name]) => name);
    expect(named).not.toEqual([]);
    expect(named.filter((name) => !dashboard.includes(name))).toEqual([]);
  });
});
