import { readFileSync } from 'node:fs';
import { join } from 'node:path';
import ts from 'typescript';
import { beforeAll, describe, expect, it } from 'vitest';

/** Code that compiles, and code that does not, with the expected error codes of the compiler. */
type Case = [what: string, code: string, ...errors: number[]];

const PRELUDE = `
import {
  type ActiveSession, type AnySessionError, type AuthenticatedSession, CurrentSession, type SessionClaims, type SessionData,
  type SessionEvent, type SessionInfo, type SessionInput, SessionModule, type SessionService, type SessionVerifier, truncateIp,
  type UserId,
} from 'nestjs-session-tokens';
declare const session: ActiveSession;
declare const sessions: SessionService;
declare const verifier: SessionVerifier;
declare const req: { headers: {} };
declare const res: { headersSent: boolean; getHeader(name: string): undefined; setHeader(name: string, value: string | string[]): void };
type Is<A, B> = [A] extends [B] ? ([B] extends [A] ? true : false) : false;
const is = <T extends true>() => undefined as unknown as T;
interface AdminClaims { level: 1 | 2; team?: string }
declare const admin: ActiveSession<AdminClaims>;
interface Cart { items: string[] }
declare const cart: Cart;
`;

const REGISTER = `
declare module 'nestjs-session-tokens' {
  interface Register {
    claims: { role: 'admin' | 'user'; team?: string };
    userId: string;
    data: { theme: string };
  }
}
`;

/** TS2322 and TS2345: not assignable. TS2561: unknown member, did you mean? TS2353: unknown member. TS2339: no such member. */
const [NOT_ASSIGNABLE, NO_ARGUMENT, MISSPELT_MEMBER, NO_SUCH_MEMBER, NO_MEMBER] = [
  2322, 2345, 2561, 2353, 2339,
];

const byDefault: Case[] = [
  [
    'claims are an object',
    'is<Is<ActiveSession["claims"], { [key: string]: import("nestjs-session-tokens").JsonValue }>>()',
  ],
  ['a claim is JSON', 'const role: string = session.claims.role', NOT_ASSIGNABLE],
  ['a user id is a string or a number', 'is<Is<UserId, string | number>>()'],
  [
    'claims are updated from the present ones',
    "session.updateClaims((present) => ({ ...present, role: 'admin' }))",
  ],
  [
    '... by a function that waits',
    "session.updateClaims(async (present) => ({ ...present, role: 'admin' }))",
  ],
  ['... by a value', "session.updateClaims({ role: 'admin' })"],
  ['... by an interface', 'session.updateClaims(cart)'],
  ['... by no text', "session.updateClaims('admin')", NO_ARGUMENT],
  [
    'data is updated from the present one',
    'session.updateData(({ count }) => ({ count: Number(count) + 1 }))',
  ],
  ['the service does so, too', "sessions.updateClaims('id', (present) => ({ ...present, role: 'admin' }))"],
  ['sign-in takes what it needs', 'sessions.create(req, res, { userId: 1 })'],
  [
    '... claims and data of any interface',
    "sessions.create(req, res, { userId: 'a', claims: cart, data: cart })",
  ],
  ['... and nothing else', 'sessions.create(req, res, { userId: 1, clams: {} })', MISSPELT_MEMBER],
  ['... no boolean for a user', 'sessions.create(req, res, { userId: true })', NOT_ASSIGNABLE],
  ['generics type the claims of a session', 'const level: 1 | 2 = admin.claims.level'],
  ['... and their updates', 'admin.updateClaims((present) => ({ ...present, level: 2 }))'],
  ['... a wrong value is found', 'admin.updateClaims((present) => ({ ...present, level: 3 }))', NO_ARGUMENT],
  [
    '... a misspelt claim is found',
    'admin.updateClaims((present) => ({ ...present, levle: 2 }))',
    NO_ARGUMENT,
  ],
  ['... and in a function that waits', 'admin.updateClaims(async (p) => ({ ...p, levle: 2 }))', NO_ARGUMENT],
  ['... and in a value', 'admin.updateClaims({ level: 1, levle: 2 })', NO_ARGUMENT],
  ['... and a missing one', "admin.updateClaims({ team: 'a' })", NO_ARGUMENT],
  [
    'claims that are no object, by generics',
    "declare const list: ActiveSession<string[]>; list.updateClaims((p) => [...p, 'a'])",
  ],
  ['data can be asked for by type', 'session.getData<Cart>().then(({ items }) => items[0])'],
  [
    'a token’s times and a session’s are told apart',
    'const d: Date = session.tokenExpiresAt; session.getInfo().then(({ expiresAt }) => expiresAt)',
  ],
  ['... no `expiresAt` of a session’s token', 'session.expiresAt', NO_MEMBER],
  [
    'service and verifier verify to the same',
    'is<Is<ReturnType<typeof sessions.tokens.verify>, ReturnType<typeof verifier.verify>>>()',
  ],
  [
    'the decorator takes the names of properties',
    "class A { a(@CurrentSession('userId') id: string, @CurrentSession({ module: 'x', property: 'claims' }) c: object) {} }",
  ],
  ['... no others', "class A { a(@CurrentSession('user') id: string) {} }", NO_ARGUMENT],
  [
    'errors are told apart by their code',
    "declare const e: AnySessionError; if (e.code === 'token_theft') e.stale.tokenId; if (e.code === 'look_again') e.location",
  ],
  [
    '... and have no members of others',
    "declare const e: AnySessionError; if (e.code === 'csrf_failed') e.stale",
    NO_MEMBER,
  ],
  ['nothing secret is a member', 'session.manager', NO_MEMBER],
  [
    'sessions are listed in pages',
    "sessions.findAllForUser(1, { limit: 10, after: 'a', current: session.id }).then(({ sessions: list, next }) => { const after: string | null = next; list[0]?.label; })",
  ],
  ['... with no other options', 'sessions.findAllForUser(1, { offset: 10 })', NO_SUCH_MEMBER],
  ['... which are no list', 'sessions.findAllForUser(1).then((page) => page.length)', NO_MEMBER],
  [
    'browser, system and label may be unknown',
    'declare const info: SessionInfo; is<Is<typeof info.browser | typeof info.system | typeof info.label, string | null>>()',
  ],
  [
    '... and so may be which session asks',
    'declare const info: SessionInfo; is<Is<typeof info.current, boolean | undefined>>()',
  ],
  ['a device has a name', "sessions.create(req, res, { userId: 1, device: { label: 'Ann’s phone' } })"],
  ['... or none', 'session.rename(null)'],
  ['... that is a text', 'sessions.rename("id", 1)', NO_ARGUMENT],
  [
    'what is kept of clients is a choice',
    'SessionModule.forRoot({ devices: { ip: truncateIp, userAgent: false } })',
  ],
  ['... that does not wait', 'SessionModule.forRoot({ devices: { ip: async (ip) => ip } })', NOT_ASSIGNABLE],
];

const registered: Case[] = [
  ['claims are what is registered', "const role: 'admin' | 'user' = session.claims.role"],
  ['... and a misspelt one is found', 'session.claims.rloe', NO_MEMBER],
  [
    '... at sign-in',
    "sessions.create(req, res, { userId: 'a', claims: { role: 'admin' }, data: { theme: 'dark' } })",
  ],
  [
    '... a wrong value',
    "sessions.create(req, res, { userId: 'a', claims: { role: 'boss' }, data: { theme: '' } })",
    NOT_ASSIGNABLE,
  ],
  ['... missing claims', "sessions.create(req, res, { userId: 'a', data: { theme: 'dark' } })", NO_ARGUMENT],
  [
    '... in an issued token',
    "sessions.tokens.issue({ userId: 'a', claims: { role: 'user' }, data: { theme: 'dark' } })",
  ],
  [
    '... of a verified token',
    "sessions.tokens.verify('').then(({ claims }) => claims.role satisfies 'admin' | 'user')",
  ],
  ['... of a verifier', "verifier.verify('').then(({ claims }) => claims.role satisfies 'admin' | 'user')"],
  ['... in an update', "session.updateClaims((present) => ({ ...present, role: 'admin' }))"],
  [
    '... a misspelt one in an update',
    "session.updateClaims((present) => ({ ...present, rloe: 'admin' }))",
    NO_ARGUMENT,
  ],
  [
    '... in an update by the service',
    "sessions.updateClaims('id', (present) => ({ ...present, rloe: 'admin' }))",
    NO_ARGUMENT,
  ],
  ['... a value that lacks one', "session.updateClaims({ team: 'a' })", NO_ARGUMENT],
  ['the user id is', 'const id: string = session.userId'],
  [
    '... at sign-in',
    "sessions.create(req, res, { userId: 1, claims: { role: 'user' }, data: { theme: '' } })",
    NOT_ASSIGNABLE,
  ],
  ['... in a list', 'sessions.findAllForUser(1)', NO_ARGUMENT],
  [
    '... in events',
    "declare const event: SessionEvent; if (event.type === 'created') event.userId satisfies string; if (event.type === 'theft') event.userId satisfies string",
  ],
  [
    '... in errors',
    "declare const e: AnySessionError; if (e.code === 'token_theft') e.userId satisfies string",
  ],
  ['data is', 'session.getData().then(({ theme }) => theme satisfies string)'],
  [
    '... in what the database has',
    'sessions.find("id").then((info) => info?.data.theme satisfies string | undefined)',
  ],
  ['... in an update', "session.updateData((present) => ({ ...present, theme: 'dark' }))"],
  ['... a misspelt member', "session.updateData((present) => ({ ...present, thme: 'dark' }))", NO_ARGUMENT],
  ['generics still work', 'const level: 1 | 2 = admin.claims.level'],
];

const root = join(import.meta.dirname, '../..');

/** Compiles all cases at once, each as a separate file. @returns the error codes of each case */
function compile(cases: readonly Case[], prelude: string): number[][] {
  const { config } = ts.readConfigFile(join(root, 'tsconfig.json'), (path) => readFileSync(path, 'utf8')) as {
    config: { compilerOptions: object };
  };
  const { options } = ts.convertCompilerOptionsFromJson(
    { ...config.compilerOptions, noEmit: true, noUnusedLocals: false, noUnusedParameters: false },
    root,
  );
  const files = new Map(
    cases.map(([, code], index) => [join(root, `test/types/case-${index}.ts`), `${prelude}\n${code};\n`]),
  );
  const disk = ts.createCompilerHost(options);
  const host: ts.CompilerHost = {
    ...disk,
    fileExists: (path) => files.has(path) || disk.fileExists(path),
    readFile: (path) => files.get(path) ?? disk.readFile(path),
    getSourceFile(path, target, ...more) {
      const text = files.get(path);
      return text === undefined
        ? disk.getSourceFile(path, target, ...more)
        : ts.createSourceFile(path, text, target);
    },
  };
  const program = ts.createProgram([...files.keys()], options, host);
  return [...files.keys()].map((path) => {
    const source = program.getSourceFile(path);
    return [...program.getSyntacticDiagnostics(source), ...program.getSemanticDiagnostics(source)].map(
      ({ code }) => code,
    );
  });
}

describe.each([
  ['by default', byDefault, PRELUDE],
  ['with a type that is registered', registered, PRELUDE + REGISTER],
])('types %s', (_, cases, prelude) => {
  let found: number[][];
  beforeAll(() => {
    found = compile(cases, prelude);
  }, 60_000);

  it.each(cases.map(([what, , ...errors], index) => ({ what, errors, index })))(
    '$what',
    ({ errors, index }) => {
      expect(found[index]).toEqual(errors);
    },
  );
});
