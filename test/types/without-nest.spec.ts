import { mkdir, readFile, rm, writeFile } from 'node:fs/promises';
import { dirname, join } from 'node:path';
import { fileURLToPath } from 'node:url';
import ts from 'typescript';
import { afterAll, beforeAll, describe, expect, it } from 'vitest';

const root = fileURLToPath(new URL('../..', import.meta.url));
const folder = join(root, 'dist', `types-${process.pid}`);
const ENTRIES = ['client', 'ssr'] as const;

/** The types that programs have: those of browsers, those of Node, or both. */
const TYPES: readonly [name: string, options: ts.CompilerOptions][] = [
  ['browsers', { lib: ['lib.es2022.d.ts', 'lib.dom.d.ts', 'lib.dom.iterable.d.ts'], types: [] }],
  ['Node', { lib: ['lib.es2022.d.ts'], types: ['node'] }],
  ['both', { lib: ['lib.es2022.d.ts', 'lib.dom.d.ts', 'lib.dom.iterable.d.ts'], types: ['node'] }],
];

/** More than the pages of the documentation need. */
const USES = `
import { createSessionFetch, type SessionEnd, type SessionFetch, type SessionFetchOptions } from 'nestjs-session-tokens/client';
import { ForwardError, type ForwardErrorCode, type ForwardedSession, type ForwardOptions, forwardSession, type PageHeaders } from 'nestjs-session-tokens/ssr';
export const options: SessionFetchOptions = { refreshPath: '/r', onSessionEnd: (end: SessionEnd) => void end.code, fetch: (request) => fetch(request) };
export const sessionFetch: SessionFetch & typeof fetch = createSessionFetch(options);
export const forward = (headers: PageHeaders, given: ForwardOptions): ForwardedSession => forwardSession(headers, given);
export const plain = forwardSession({ cookie: 'a=b', accept: undefined, 'set-cookie': ['a'] }, { baseUrl: new URL('http://a'), fetch });
export const other: { fetch: typeof fetch } = { fetch: plain.fetch };
export const code = (error: unknown): ForwardErrorCode | undefined => (error instanceof ForwardError ? error.code : undefined);
`;

async function firstBlockOf(page: string): Promise<string> {
  return /^```ts\n(.*?)^```/ms.exec(await readFile(join(root, 'docs', page), 'utf8'))![1]!;
}

/** What is wrong in our own files. The compiler does not look at those of others. */
function messagesOf(program: ts.Program): string[] {
  const ours = program.getSourceFiles().filter(({ fileName }) => fileName.startsWith(folder));
  const found = ours.flatMap<ts.Diagnostic>((file) => program.getSemanticDiagnostics(file));
  return found.map(({ messageText, file, start }) => {
    const line = file && start !== undefined ? file.getLineAndCharacterOfPosition(start).line + 1 : 0;
    return `${file?.fileName}:${line} ${ts.flattenDiagnosticMessageText(messageText, '\n')}`;
  });
}

describe('the entries for programs without Nest', () => {
  const programs: string[] = [];

  beforeAll(async () => {
    const { options } = ts.parseJsonConfigFileContent(
      ts.readConfigFile(join(root, 'lib/tsconfig.lib.json'), (path) => ts.sys.readFile(path)).config,
      ts.sys,
      join(root, 'lib'),
    );
    const entries = ENTRIES.map((entry) => join(root, `lib/${entry}/index.ts`));
    const emit = { ...options, emitDeclarationOnly: true, outDir: join(folder, 'lib') };
    expect(ts.createProgram(entries, emit).emit().diagnostics).toEqual([]);
    const texts = {
      uses: USES,
      ssr: await firstBlockOf('ssr.md'),
      client: await firstBlockOf('browser-client.md'),
    };
    for (const [name, text] of Object.entries(texts)) {
      const file = join(folder, `${name}.ts`);
      await mkdir(dirname(file), { recursive: true });
      await writeFile(file, text);
      programs.push(file);
    }
  }, 60_000);
  afterAll(() => rm(folder, { recursive: true, force: true }));

  it.each(TYPES)(
    'have declarations that compile with the types of %s, as do the documentation’s programs',
    (_, types) => {
      const options: ts.CompilerOptions = {
        ...types,
        target: ts.ScriptTarget.ES2022,
        module: ts.ModuleKind.NodeNext,
        moduleResolution: ts.ModuleResolutionKind.NodeNext,
        strict: true,
        noEmit: true,
        skipLibCheck: false,
        typeRoots: [join(root, 'node_modules/@types')],
        paths: Object.fromEntries(
          ENTRIES.map((entry) => [
            `nestjs-session-tokens/${entry}`,
            [join(folder, `lib/${entry}/index.d.ts`)],
          ]),
        ),
      };
      const program = ts.createProgram(programs, options);
      const ours = program.getSourceFiles().filter(({ fileName }) => fileName.startsWith(folder));
      expect(ours.map(({ fileName }) => fileName)).toContain(join(folder, 'lib/ssr/forward-session.d.ts'));
      expect(messagesOf(program)).toEqual([]);
    },
  );
});
