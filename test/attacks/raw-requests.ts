/** Requests that no HTTP client would send: valid tokens, damaged ones and junk, in headers and targets of every shape. */
import { inspect } from 'node:util';
import type { Random } from './junk-tokens-forger.js';

/** A user who is signed in, and whose tokens are valid now. */
export interface Holder {
  readonly userId: string;
  readonly sessionId: string;
  readonly accessToken: string;
  readonly refreshToken: string;
  readonly csrfToken: string | undefined;
}

/** What the requests are made of. */
export interface Pool {
  readonly holders: readonly Holder[];
  /** Authentic tokens that open nothing any more: superseded, or of a session that is over. */
  readonly dead: { readonly accessToken: readonly string[]; readonly refreshToken: readonly string[] };
  /** The ids of all refresh tokens, for markers. */
  readonly tokenIds: readonly string[];
  /** Full names of the cookies. */
  readonly names: { readonly access: string; readonly refresh: string; readonly marker: string };
  readonly trustedOrigin: string;
  readonly host: string;
}

export interface RawRequest {
  /** One character per byte. */
  readonly bytes: string;
  readonly method: string;
  /** As it is in the request line. */
  readonly target: string;
  /** The route, if the target is exactly its path. */
  readonly route: string | undefined;
  /** Whether the head is in order: what it presents is certainly seen. */
  readonly isWellFormed: boolean;
  /** Whether the server may wait for more of the request. */
  readonly mayLackAnEnd: boolean;
  /** Texts in place of tokens that are nowhere else in the request. No response may have them. */
  readonly presented: readonly string[];
}

type Header = readonly [name: string, value: string];

const ROUTES: readonly (readonly [method: string, path: string, body?: string])[] = [
  ['GET', '/me'],
  ['GET', '/me'],
  ['GET', '/me'],
  ['GET', '/visitor'],
  ['HEAD', '/me'],
  ['POST', '/orders', '{}'],
  ['POST', '/hook', '{}'],
  ['PUT', '/data', '{"cart":[1]}'],
  ['POST', '/refresh'],
  ['POST', '/refresh'],
  ['POST', '/sign-out'],
  ['POST', '/login', '{"userId":"mallory"}'],
];

/** Routes that end the sessions whose tokens they are sent. So they never get a valid token. */
const ENDING: ReadonlySet<string> = new Set(['/sign-out', '/login']);

/** Bytes that are rare in headers. Node refuses a request with the last two. */
const ODD_BYTES = ['\x80', '\x85', '\xa0', '\xad', '\xe9', '\xff', '\0', '\x7f'];
const ODD_TEXTS = [
  '',
  '"',
  "'",
  '%',
  '%0d%0aset-cookie:%20evil=1',
  '%00',
  'null',
  '[object Object]',
  '__proto__',
  'j:{"a":1}',
  's:a.b',
  '<script>',
  '$Version=1',
  '=',
  '==',
  '.',
  '..',
  '...',
  '{}',
];

/** Makes one request. The same numbers make the same request, but for the tokens in it. */
export function makeRequest(random: Random, pool: Pool): RawRequest {
  const chance = (share: number) => random.next() < share;
  const presented: string[] = [];
  const present = (text: string) => {
    presented.push(text);
    return text;
  };

  // The cookies, the bearer tokens, and their headers.
  const cookies: string[] = [];
  const authorizations: string[] = [];
  const own: Header[] = [];
  // A browser with an old token is sent to the same URL again, whatever that is.
  const isLate = chance(0.12);
  if (isLate) cookies.push(`${pool.names.refresh}=${random.pick(pool.dead.refreshToken)}`);
  for (let count = isLate ? 0 : random.pick([0, 1, 1, 2, 2, 2, 3, 4, 7]); count > 0; count--) {
    switch (
      random.pick([
        'access',
        'access',
        'access',
        'refresh',
        'refresh',
        'refresh',
        'refresh',
        'marker',
        'bearer',
        'refresh header',
        'look-again header',
        'other',
      ])
    ) {
      case 'access':
        cookies.push(pair(random, pool.names.access, present(tokenLike(random, pool, 'accessToken'))));
        break;
      case 'refresh':
        cookies.push(pair(random, pool.names.refresh, present(tokenLike(random, pool, 'refreshToken'))));
        break;
      case 'marker':
        cookies.push(pair(random, pool.names.marker, markerLike(random, pool)));
        break;
      case 'bearer':
        authorizations.push(authorization(random, present(tokenLike(random, pool, 'accessToken'))));
        break;
      case 'refresh header':
        own.push([spelling(random, 'refresh-token'), present(tokenLike(random, pool, 'refreshToken'))]);
        break;
      case 'look-again header':
        own.push([spelling(random, 'look-again'), markerLike(random, pool)]);
        break;
      default:
        cookies.push(pair(random, random.pick(['a', 'theme', '', '__proto__']), random.pick(ODD_TEXTS)));
    }
  }
  if (chance(0.1)) {
    const many = random.pick([5, 50, 400]);
    cookies.splice(
      random.below(cookies.length + 1),
      0,
      ...Array.from({ length: many }, (_, n) => `c${n}=${n}`),
    );
  }
  const headers: Header[] = [];
  while (cookies.length > 0) {
    const some = cookies.splice(0, chance(0.1) ? 1 + random.below(cookies.length) : cookies.length);
    const separator = chance(0.7) ? '; ' : random.pick([';', ' ; ', ';\t', ';;', '; ;', ',', ';  ']);
    const text = some.join(separator);
    headers.push([spelling(random, 'cookie'), random.pick(['', '', '', ';', '; ', ' ']) + text]);
  }
  for (const value of authorizations) headers.push([spelling(random, 'authorization'), value]);
  headers.push(...own);
  if (chance(0.05)) {
    headers.push(['session-transport', random.pick(['header', 'header', 'cookie', ...ODD_TEXTS])]);
  }
  headers.push(...(isLate ? [['user-agent', 'Mozilla/5.0'] as const] : otherHeaders(random, pool)));
  shuffle(random, headers);

  // The request line, and the body.
  const candidates = isPresented(pool, headers) ? ROUTES.filter(([, path]) => !ENDING.has(path)) : ROUTES;
  const [method, path, body] = random.pick(candidates);
  const target = chance(isLate ? 0.1 : 0.65) ? path : oddTarget(random, path, pool.host);
  if (chance(0.97)) headers.unshift(['host', pool.host]);
  if (chance(0.95)) headers.unshift(['connection', 'close']);
  let mayLackAnEnd = false;
  if (body !== undefined) {
    headers.push([
      'content-type',
      chance(0.9) ? 'application/json' : random.pick(['', 'x', 'text/plain', 'a/b;c="']),
    ]);
    headers.push(['content-length', String(body.length)]);
  } else if (method === 'POST') {
    headers.push(['content-length', '0']);
  }
  if (chance(0.02)) {
    headers.push(
      random.pick([
        ['content-length', '5'],
        ['content-length', '-1'],
        ['transfer-encoding', 'chunked'],
        ['transfer-encoding', 'identity, chunked'],
        ['expect', '100-continue'],
        ['expect', 'x'],
      ] as const),
    );
    mayLackAnEnd = true;
  }
  const version = chance(0.98) ? '1.1' : random.pick(['1.0', '0.9', '2.0', '1.10']);
  const lines = [
    `${method} ${target} HTTP/${version}`,
    ...headers.map(([name, value]) => `${name}: ${value}`),
  ];
  let head = lines.join('\r\n');
  const isDamaged = chance(0.1);
  if (isDamaged) {
    head = damaged(random, head);
    mayLackAnEnd = true;
  }
  const names = headers.map(([name]) => name.toLowerCase());
  return {
    bytes: `${head}\r\n\r\n${body ?? ''}`,
    method,
    // Damage may have changed it.
    target: isDamaged ? (/^[^ ]+ ([^\r\n]*) HTTP/.exec(head)?.[1] ?? '') : target,
    route: target === path && !isDamaged ? path : undefined,
    isWellFormed:
      !isDamaged &&
      !mayLackAnEnd &&
      version === '1.1' &&
      names.filter((name) => name === 'authorization').length < 2,
    mayLackAnEnd,
    presented: presented.filter((text) => text.length >= 12 && !target.includes(text)),
  };
}

/** A value in the place of a token of this kind. */
function tokenLike(random: Random, pool: Pool, kind: 'accessToken' | 'refreshToken'): string {
  const holder = random.pick(pool.holders);
  const other = random.pick(['accessToken', 'refreshToken'] as const);
  switch (
    random.pick([
      'valid',
      'valid',
      'valid',
      'dead',
      'dead',
      'wrong kind',
      'mutated',
      'mutated',
      'mutated',
      'spliced',
      'junk',
    ])
  ) {
    case 'valid':
      return holder[kind];
    case 'dead':
      return random.pick(pool.dead[kind]);
    case 'wrong kind':
      return holder[other];
    case 'mutated':
      return mutated(random, random.next() < 0.8 ? holder[kind] : random.pick(pool.dead[kind]));
    case 'spliced':
      return spliced(random, holder[kind], random.pick(pool.holders)[random.next() < 0.8 ? kind : other]);
    default:
      return random.pick([...ODD_TEXTS, ...ODD_BYTES, random.text(71), random.text(1 + random.below(300))]);
  }
}

const ALPHABET = 'ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789-_';

/** A token with one change or a few. */
function mutated(random: Random, token: string): string {
  let text = token;
  for (let times = random.pick([1, 1, 1, 2, 3]); times > 0; times--) {
    const at = random.below(text.length + 1);
    const [before, after] = [text.slice(0, at), text.slice(at)];
    text = random.pick<() => string>([
      // One bit of the bytes that the text encodes, in any part of it.
      () => {
        const parts = text.split('.');
        const n = random.below(parts.length);
        const bytes = Buffer.from(parts[n]!, 'base64url');
        if (bytes.length === 0) return `${text}A`;
        bytes[random.below(bytes.length)]! ^= 1 << random.below(8);
        return parts.with(n, bytes.toString('base64url')).join('.');
      },
      () => before + ALPHABET.charAt(random.below(64)) + after.slice(1),
      () =>
        before + String.fromCharCode((after.charCodeAt(0) || 65) ^ (1 << random.below(8))) + after.slice(1),
      () => before,
      () => after,
      () => before + after.slice(1),
      () => before + before.slice(-1) + after,
      () => before + random.pick([...ODD_TEXTS, ...ODD_BYTES, ' ', '\t', ',', ';']) + after,
      () => text + random.pick([...ODD_TEXTS, ...ODD_BYTES, '=', 'A', '.', ' ', text]),
      () => random.pick([...ODD_TEXTS, ...ODD_BYTES, 'A', '.', 'Bearer ']) + text,
      () => text.toUpperCase(),
      () => text.toLowerCase(),
      () => before + swapCase(after.slice(0, 1)) + after.slice(1),
      () => text.replaceAll('-', '+').replaceAll('_', '/'),
      () =>
        before +
        encodeURIComponent(after.slice(0, 3)).replace(/^\w/, (c) => `%${c.charCodeAt(0).toString(16)}`) +
        after.slice(3),
      // The last character has unused bits.
      () => text.slice(0, -1) + (ALPHABET[ALPHABET.indexOf(text.at(-1) ?? 'A') ^ 1] ?? 'A'),
      () => text.split('.').toReversed().join('.'),
      () => text.split('').toReversed().join(''),
    ])();
  }
  return text;
}

/** The beginning of one token with the end of another one; of JWTs often part by part. */
function spliced(random: Random, a: string, b: string): string {
  const [as, bs] = [a.split('.'), b.split('.')];
  if (as.length === 3 && bs.length === 3 && random.next() < 0.6) {
    return as.map((part, n) => (random.next() < 0.5 ? part : bs[n]!)).join('.');
  }
  const at = random.below(a.length);
  return a.slice(0, at) + b.slice(random.next() < 0.7 ? at : random.below(b.length));
}

function markerLike(random: Random, { tokenIds }: Pool): string {
  const ids = Array.from({ length: random.pick([0, 1, 1, 2, 20]) }, () =>
    random.next() < 0.8 ? random.pick(tokenIds) : random.pick([...ODD_TEXTS, random.text(8)]),
  );
  return ids.join(random.pick(['.', '.', '.', '', '..', ',']));
}

/** `name=value`, mostly as browsers write it. */
function pair(random: Random, name: string, value: string): string {
  if (random.next() < 0.75) return `${name}=${value}`;
  return random.pick([
    () => `${name} = ${value}`,
    () => `${name}="${value}"`,
    () => `${name}=\t"${value}" `,
    () => `${name}="${value}`,
    () => `${name}='${value}'`,
    () => `${name}==${value}`,
    () => `${name}=${value}; ${name}=${value}`,
    () => `${spelling(random, name)}=${value}`,
    () => `${name.replace(/^__\w+?-/, '')}=${value}`,
    () => `x${name}=${value}`,
    () => `${name}x=${value}`,
    () => `a=${name}=${value}`,
    () => `${name}\xa0=${value}`,
    () => `\xa0${name}=\xa0${value}`,
    () => `${encodeURIComponent(name).replace('_', '%5F')}=${value}`,
    () => name,
    () => `${name}=a b ${value}`,
  ])();
}

function authorization(random: Random, token: string): string {
  if (random.next() < 0.7) return `Bearer ${token}`;
  return random.pick([
    () => `bearer ${token}`,
    () => `BEARER   ${token}  `,
    () => `Bearer\t${token}`,
    () => `Bearer${token}`,
    () => `Bearer: ${token}`,
    () => `Bearer "${token}"`,
    () => `Bearer \xa0${token}\xa0`,
    () => `Bearer ${token}, Bearer ${token}`,
    () => `Bearer ${token} x`,
    () => `Basic ${Buffer.from(`a:${token}`, 'latin1').toString('base64')}`,
    () => `Token ${token}`,
    () => `xBearer ${token}`,
    () => token,
    () => 'Bearer',
    () => 'Bearer ',
  ])();
}

/** Headers by which the library tells clients apart, and others that may confuse it. */
function otherHeaders(random: Random, { holders, trustedOrigin, host }: Pool): Header[] {
  const odd = () => random.pick([...ODD_TEXTS, ...ODD_BYTES, 'a'.repeat(5_000)]);
  const sometimes: readonly (readonly [share: number, make: () => Header])[] = [
    [0.8, () => ['user-agent', random.pick(['Mozilla/5.0 (fuzz)', 'Mozilla/5.0 (fuzz)', 'curl/8', odd()])]],
    [
      0.2,
      () => [
        'sec-fetch-site',
        random.pick(['same-origin', 'none', 'cross-site', 'same-site', 'SAME-ORIGIN', odd()]),
      ],
    ],
    [0.1, () => ['sec-fetch-site', random.pick(['same-origin', 'none', 'cross-site', odd()])]],
    [0.2, () => ['sec-fetch-mode', random.pick(['navigate', 'cors', 'no-cors', 'websocket', odd()])]],
    [0.2, () => ['sec-fetch-dest', random.pick(['document', 'empty', 'image', odd()])]],
    [
      0.2,
      () => [
        'origin',
        random.pick([`http://${host}`, trustedOrigin, 'null', 'https://evil.example', 'http://[', odd()]),
      ],
    ],
    [0.05, () => ['origin', random.pick([`http://${host}`, trustedOrigin, odd()])]],
    [
      0.3,
      () => {
        const right = random.pick(holders).csrfToken ?? 'AAAAAAAAAAAAAAAAAAAAAA';
        return ['anti-csrf', random.pick([right, right, mutated(random, right), odd()])];
      },
    ],
    [0.05, () => ['anti-csrf', odd()]],
    [0.1, () => ['x-forwarded-host', random.pick(['evil.example', host, `${host}, evil.example`, odd()])]],
    [0.1, () => ['x-forwarded-proto', random.pick(['https', 'http', 'https, http', 'javascript', odd()])]],
    [0.1, () => ['x-forwarded-for', random.pick(['1.2.3.4', '::1', '1.2.3.4, 5.6.7.8', '999.1.1.1', odd()])]],
    [0.05, () => ['host', random.pick(['evil.example', '', `${host}:1`, odd()])]],
    [0.05, () => ['upgrade', random.pick(['websocket', 'h2c', odd()])]],
    [0.05, () => ['set-cookie', 'evil=1']],
    [0.05, () => ['accept', random.pick(['application/json', 'text/html', odd()])]],
    [0.05, () => ['access-token', odd()]],
    [
      0.05,
      () => [random.pick(['__proto__', 'constructor', 'x-http-method-override', 'x-original-url']), 'DELETE'],
    ],
    [0.01, () => ['x-long', 'x'.repeat(random.pick([8_000, 17_000, 70_000]))]],
  ];
  return sometimes.filter(([share]) => random.next() < share).map(([, make]) => make());
}

function oddTarget(random: Random, path: string, host: string): string {
  const name = path.slice(1);
  return random.pick([
    () => `${path}?`,
    () => `${path}?a=1&b=${random.text(20)}`,
    () => `${path}?%0d%0aset-cookie:%20evil=1`,
    () => `${path}?next=//evil.example/`,
    () => `${path}?${random.pick(ODD_BYTES.slice(0, 6))}`,
    () => `${path}?%`,
    () => `${path}?__proto__[a]=1&a[b]=2&a[]=3`,
    () => `${path}?${'a=1&'.repeat(1_000)}`,
    () => `${path}/`,
    () => `${path}//`,
    () => `/${path}`,
    () => `//evil.example${path}`,
    () => '//evil.example',
    () => `/\\evil.example${path}`,
    () => `/.${path}`,
    () => `/..${path}`,
    () => `/x/..${path}`,
    () => `/%2e%2e${path}`,
    () => `/%2f${name}`,
    () => `${path}%2f`,
    () => `${path}%00`,
    () => `${path}%`,
    () => `${path}%zz`,
    () => `${path}%ff%fe`,
    () => `${path}%0d%0aset-cookie:%20evil=1`,
    () => `${path};a=b`,
    () => `${path}#x`,
    () => path.toUpperCase(),
    () => `/%${name.charCodeAt(0).toString(16)}${name.slice(1)}`,
    () => `${path}${random.pick(ODD_BYTES)}`,
    () => `http://${host}${path}`,
    () => `http://evil.example${path}?a`,
    () => `HTTP://${host}/${path}`,
    () => `file://${path}`,
    () => `http:${path}`,
    () => 'http://',
    () => host,
    () => '*',
    () => name,
    () => '',
    () => `${path} ${path}`,
    () => `/${'a/'.repeat(2_000)}`,
  ])();
}

/** The head of a request with a few bytes changed, or a line. */
function damaged(random: Random, head: string): string {
  const lines = head.split('\r\n');
  const n = random.below(lines.length);
  const at = random.below(head.length);
  return random.pick([
    () =>
      head.slice(0, at) +
      String.fromCharCode(head.charCodeAt(at) ^ (1 << random.below(8))) +
      head.slice(at + 1),
    () =>
      head.slice(0, at) + random.pick([...ODD_BYTES, '\r', '\n', '\r\n', '\r\n ', ' ', ':']) + head.slice(at),
    () => head.slice(0, at) + head.slice(at + 1 + random.below(5)),
    () => head.slice(0, at),
    () => lines.toSpliced(n, 0, lines[n]!).join('\r\n'),
    () => lines.toSpliced(n, 1).join('\r\n'),
    () => lines.join(random.pick(['\n', '\r', '\r\n\t'])),
    () =>
      lines.with(n, lines[n]!.replace(':', random.pick([' :', '', '::', ':\r\n ', ':\x0b']))).join('\r\n'),
    () => `${random.pick([' ', '\r\n', '\0', 'PRI * HTTP/2.0\r\n\r\n'])}${head}`,
    () => `${head}\r\n${random.pick([': x', 'x', 'cookie', 'a b: c', '\0: a', `${'x'.repeat(20_000)}: a`])}`,
  ])();
}

/** What a request presents, as the standards read it: values of cookies by name, and tokens in headers. */
export function readHead(bytes: string): {
  cookies: (name: string) => string[];
  bearers: string[];
  refreshTokens: string[];
} {
  const [head] = bytes.split('\r\n\r\n', 1) as [string];
  const lines = head
    .replaceAll(/\r\n[ \t]+/g, ' ')
    .split(/\r\n|\r|\n/)
    .slice(1);
  const valuesOf = (header: string) =>
    lines
      .map((line) => line.split(/:(.*)/s))
      .filter(([name]) => name!.toLowerCase() === header)
      .map(([, value]) => trimmed(value ?? ''));
  const pairs = valuesOf('cookie')
    .flatMap((value) => value.split(';'))
    .map((each) => each.split(/=(.*)/s).map(trimmed));
  return {
    cookies: (name) =>
      pairs.filter(([key]) => key === name).map(([, value = '']) => value.replace(/^"(.*)"$/s, '$1')),
    bearers: valuesOf('authorization')
      .filter((value) => /^bearer /i.test(value))
      .map((value) => trimmed(value.slice('bearer '.length))),
    refreshTokens: valuesOf('refresh-token')
      .flatMap((value) => value.split(','))
      .map((value) => trimmed(value))
      .filter((value) => value !== ''),
  };
}

/** Whether any valid token is in these headers, in whatever form. */
function isPresented({ holders }: Pool, headers: readonly Header[]): boolean {
  return holders.some(({ accessToken, refreshToken }) =>
    headers.some(([, value]) => value.includes(accessToken) || value.includes(refreshToken)),
  );
}

/** The request as text for people, with names in place of valid tokens. */
export function described({ bytes }: RawRequest, { holders, dead }: Pool): string {
  let text = bytes;
  for (const { userId, accessToken, refreshToken } of holders) {
    text = text.replaceAll(accessToken, `<access token of ${userId}>`);
    text = text.replaceAll(refreshToken, `<refresh token of ${userId}>`);
  }
  for (const token of [...dead.accessToken, ...dead.refreshToken])
    text = text.replaceAll(token, '<dead token>');
  return inspect(text, { maxStringLength: 3_000, breakLength: Number.POSITIVE_INFINITY });
}

/** Without the white space that HTTP allows around a value. */
function trimmed(text: string): string {
  return text.replaceAll(/^[ \t]+|[ \t]+$/g, '');
}

function spelling(random: Random, name: string): string {
  return random.next() < 0.9
    ? name
    : random.pick([name.toUpperCase(), name.replace(/^\w/, swapCase), swapCase(name)]);
}

function swapCase(text: string): string {
  return Array.from(text, (c) => (c === c.toLowerCase() ? c.toUpperCase() : c.toLowerCase())).join('');
}

function shuffle(random: Random, list: Header[]): void {
  for (let n = list.length - 1; n > 0; n--) {
    const m = random.below(n + 1);
    [list[n], list[m]] = [list[m]!, list[n]!];
  }
}
