/**
 * Forged access tokens, grouped by what is wrong with them. Some are signed with the application's own key, so that no
 * forger could make them. In these only the named claim or encoding is wrong, so they are not refused by the signature.
 */
import { constants, createCipheriv, type KeyObject, publicEncrypt, sign } from 'node:crypto';
import { deflateRawSync } from 'node:zlib';
import type { JWK } from 'jose';
import {
  encode,
  Forger,
  keyOf,
  ownKeys,
  type Random,
  spelling,
  type Target,
  type Text,
} from './junk-tokens-forger.js';

export { Random, type Target } from './junk-tokens-forger.js';

export interface Recipe {
  readonly family: string;
  readonly name: string;
  /** Makes a new token of this kind, of characters that are one byte each. */
  readonly make: () => string;
}

type Recipes = Record<string, () => string>;

/** Longer than any token that the library decodes. */
const TOO_LONG = 8_193;

/** The longest token with which Node accepts the request's headers. */
const LONGEST = 15_000;

/** Undefined if the application's key is symmetric. */
const CONFUSION = 'a public key as the secret';

/** Deeply nested, but short enough to be decoded. */
const DEPTH = 2_600;

/** Every way to forge a token for this application. */
export function junkRecipes(target: Target, random: Random): Recipe[] {
  const forger = new Forger(target, random);
  return Object.entries(FAMILIES).flatMap(([family, recipesFor]) =>
    Object.entries(recipesFor(forger)).map(([name, make]) => ({ family, name, make })),
  );
}

/** The names of the families that there are against an algorithm. */
export function junkFamilies(algorithm: string): string[] {
  return Object.keys(FAMILIES).filter((family) => algorithm !== 'HS256' || family !== CONFUSION);
}

/** The control: a token that is right in every respect, made by the same code. */
export function rightToken(target: Target, random: Random): string {
  return new Forger(target, random).real();
}

/** How Node's HTTP server answers a request with such a token itself, if it does: 400 or 431. */
export function answerOfNode(token: string): 400 | 431 | undefined {
  // oxlint-disable-next-line no-control-regex -- that is what is looked for
  if (/[\0-\x08\x0a-\x1f\x7f]/.test(token)) return 400;
  return token.length > LONGEST ? 431 : undefined;
}

const FAMILIES: Record<string, (forger: Forger) => Recipes> = {
  'a random kid': (forger) => {
    const { random } = forger;
    const under = (kid: () => unknown) => () => forger.own(forger.algorithm, { kid: kid() });
    return {
      'like ours': under(() => random.text(12)),
      'a UUID': under(() =>
        random
          .bytes(16)
          .toString('hex')
          .replace(/^(.{8})(.{4})(.{4})(.{4})/, '$1-$2-$3-$4-'),
      ),
      'a number': under(() => String(random.below(1_000))),
      'ours, with something after it': under(() => forger.kid + random.text(1)),
      'a thumbprint, without a signature by anybody': () =>
        forger.unsigned(forger.header({ kid: random.text(32) })),
      'of 5,000 characters': under(() => random.text(3_750)),
      'of 10,000 characters': under(() => random.text(7_500)),
    };
  },

  'an odd kid': (forger) => {
    const odd = {
      empty: '',
      null: null,
      'a number': 1,
      true: true,
      'an array with the right one': [forger.kid],
      'an object': { kid: forger.kid },
      'in capitals': forger.kid.toUpperCase(),
      'with a space after it': `${forger.kid} `,
      'with NUL after it': `${forger.kid}\0`,
      'the name of a property': '__proto__',
      'the name of a method': 'constructor',
      'a path': '../../../../../../dev/null',
      'a place': forger.target.trap,
      SQL: `' OR '1'='1' -- `,
      'a UNION that gives a key': `' UNION SELECT 'x', 'access', 1, 'HS256', '{"kty":"oct","k":"AA"}', 0, 0 -- `,
      'a command': '$(id)',
      'not ASCII': 'schlüssel-鍵-😀',
    };
    const recipes: Recipes = {
      'missing, but all else is right': () => forger.real(forger.header({ kid: undefined })),
      'missing, by another key': () => forger.own(forger.algorithm, { kid: undefined }),
    };
    for (const [name, kid] of Object.entries(odd)) {
      recipes[`${name}, but all else is right`] = () => forger.real(forger.header({ kid }));
    }
    recipes['a path, with the content of that file as the key'] = () =>
      forger.withMac({ alg: 'HS256', kid: odd['a path'] }, '');
    return recipes;
  },

  'alg none': (forger) => {
    const recipes: Recipes = {};
    for (const alg of ['none', 'None', 'NONE', 'nOnE', 'none ', '', undefined, null, 0, false]) {
      const header = () => encode(forger.header({ alg }));
      const name = JSON.stringify(alg) ?? 'missing';
      recipes[`${name}, no signature`] = () => `${header()}.${encode(forger.payload())}.`;
      recipes[`${name}, no third part`] = () => `${header()}.${encode(forger.payload())}`;
      recipes[`${name}, a signature that is random`] = () => forger.unsigned(forger.header({ alg }));
      recipes[`${name}, a signature that is right`] = () => forger.real(forger.header({ alg }));
    }
    recipes['"none", no signature, no kid'] = () =>
      `${encode({ alg: 'none', typ: 'at+jwt' })}.${encode(forger.payload())}.`;
    recipes['"none", as the standard library examples write it'] = () =>
      `${encode({ alg: 'none', typ: 'JWT' })}.${encode(forger.payload())}.`;
    return recipes;
  },

  [CONFUSION]: (forger) => (forger.publicKey ? confusions(forger, forger.publicKey) : {}),

  'a guessed secret': (forger) => {
    const recipes: Recipes = {};
    const guesses = {
      empty: '',
      'the word secret': 'secret',
      '32 zero bytes': Buffer.alloc(32),
      'the kid': forger.kid,
      'the algorithm': forger.algorithm,
      'the session': String(forger.target.payload['sid']),
      'the word undefined': 'undefined',
    };
    for (const [name, secret] of Object.entries(guesses)) {
      recipes[name] = () => forger.withMac({ alg: forger.algorithm }, secret);
    }
    recipes['random'] = () => forger.withMac({ alg: forger.algorithm }, forger.random.bytes(32));
    return recipes;
  },

  'another algorithm': (forger) => {
    const recipes: Recipes = {};
    for (const alg of OTHER_ALGORITHMS) {
      if (alg === forger.algorithm) continue;
      recipes[`${alg}, by a key of the forger's`] = () => forger.own(alg);
    }
    for (const alg of OWN_KEY_CAN[forger.algorithm] ?? []) {
      recipes[`${alg}, by our key`] = () => {
        const input = `${encode(forger.header({ alg }))}.${encode(forger.payload())}`;
        return `${input}.${forger.signature(input, alg).toString('base64url')}`;
      };
    }
    const { algorithm } = forger;
    const spellings = [
      algorithm.toLowerCase(),
      ` ${algorithm}`,
      `${algorithm}\0`,
      [algorithm],
      { alg: algorithm },
      1,
      true,
      'dir',
      'A128GCMKW',
      'http://www.w3.org/2001/04/xmldsig-more#hmac-sha256',
    ];
    for (const alg of spellings) {
      recipes[`${JSON.stringify(alg)}, but all else is right`] = () => forger.real(forger.header({ alg }));
    }
    return recipes;
  },

  'a key that the token brings along': (forger) => {
    const recipes: Recipes = {};
    const { trap } = forger.target;
    for (const alg of forger.publicKey ? [forger.algorithm] : ['HS256', 'RS256', 'ES256', 'EdDSA']) {
      const { jwk, certificate } = ownKeys(alg);
      const jwks = JSON.stringify({ keys: [{ ...jwk, alg, kid: forger.kid, use: 'sig' }] });
      const carriers = {
        jwk: { jwk },
        'jwk with its private half': { jwk: ownKeys(alg).private.export({ format: 'jwk' }) },
        'jwk of our kid': { jwk: { ...jwk, kid: forger.kid, alg } },
        jku: { jku: `${trap}/jwks.json` },
        'jku with the set in it': { jku: `data:application/json,${encodeURIComponent(jwks)}` },
        'jku of a file': { jku: 'file:///etc/passwd' },
        x5u: { x5u: `${trap}/certificate.pem` },
        ...(certificate && { x5c: { x5c: [certificate.toString('base64')] } }),
        'x5c of something else': { x5c: ['MIIB'] },
        x5t: { x5t: forger.random.text(20), 'x5t#S256': forger.random.text(32) },
        'all of them': { jwk, jku: `${trap}/jwks.json`, x5u: `${trap}/certificate.pem`, x5c: ['MIIB'] },
      };
      for (const [name, carrier] of Object.entries(carriers)) {
        recipes[`${alg}: ${name}, under our kid`] = () => forger.own(alg, carrier);
        recipes[`${alg}: ${name}, under its own`] = () => forger.own(alg, { kid: 'own', ...carrier });
        recipes[`${alg}: ${name}, under none`] = () => forger.own(alg, { kid: undefined, ...carrier });
        recipes[`${alg}: ${name}, but all else is right`] = () => forger.real(forger.header(carrier));
      }
      recipes[`${alg}: nothing but its name`] = () => forger.own(alg, { alg: forger.algorithm });
    }
    recipes['an issuer who would publish a key'] = () =>
      forger.own(forger.algorithm, { kid: 'own' }, forger.payload({ iss: trap }));
    return recipes;
  },

  'extensions that must be understood': (forger) => {
    const recipes: Recipes = {};
    const extensions = {
      'crit of nothing': { crit: [] },
      'crit of alg': { crit: ['alg'] },
      'crit of exp': { crit: ['exp'], exp: forger.target.payload.exp },
      'crit of b64, which is true': { crit: ['b64'], b64: true },
      'crit of something unknown': { crit: ['x-unknown'], 'x-unknown': 1 },
      'crit of something absent': { crit: ['x-unknown'] },
      'crit of __proto__': { crit: ['__proto__'] },
      'crit that is text': { crit: 'b64' },
      'crit that is null': { crit: null },
      'b64 that is false, for an encoded payload': { crit: ['b64'], b64: false },
      'b64 without crit': { b64: false },
      zip: { zip: 'DEF' },
      cty: { cty: 'JWT' },
      enc: { enc: 'A256GCM' },
      'something unknown': { 'x-unknown': 1 },
    };
    for (const [name, changes] of Object.entries(extensions)) {
      recipes[`${name}, but all else is right`] = () => forger.real(forger.header(changes));
      recipes[`${name}, by nobody`] = () => forger.unsigned(forger.header(changes));
    }
    recipes['b64 that is false, for a payload as it is'] = () =>
      forger.sealed(encode(forger.header({ b64: false, crit: ['b64'] })), JSON.stringify(forger.payload()));
    recipes['a payload as it is, without b64'] = () =>
      forger.sealed(encode(forger.header()), JSON.stringify(forger.payload()));
    recipes['a payload that is compressed'] = () =>
      forger.real(forger.header({ zip: 'DEF' }), deflateRawSync(JSON.stringify(forger.payload())));
    const bomb = deflateRawSync(Buffer.alloc(4_000_000));
    recipes['a payload that unpacks to 4 MB'] = () => forger.real(forger.header({ zip: 'DEF' }), bomb);
    recipes['a token in a token'] = () => forger.real(forger.header({ cty: 'JWT' }), forger.real());
    return recipes;
  },

  truncated: (forger) => {
    const recipes: Recipes = {};
    const cut = (name: string, change: (header: string, payload: string, signature: string) => string) => {
      recipes[name] = () => {
        const [header, payload, signature] = forger.real().split('.') as [string, string, string];
        return change(header, payload, signature);
      };
    };
    cut('after one character', (header) => header.slice(0, 1));
    cut('in the header', (header) => header.slice(0, forger.random.below(header.length)));
    cut('after the header', (header) => header);
    cut('after the first dot', (header) => `${header}.`);
    cut('in the payload', (h, payload) => `${h}.${payload.slice(0, forger.random.below(payload.length))}`);
    cut('after the payload', (header, payload) => `${header}.${payload}`);
    cut('after the second dot', (header, payload) => `${header}.${payload}.`);
    cut(
      'in the signature',
      (h, p, signature) => `${h}.${p}.${signature.slice(0, forger.random.below(signature.length))}`,
    );
    cut('before the last character', (h, p, signature) => `${h}.${p}.${signature.slice(0, -1)}`);
    cut('before the last four characters', (h, p, signature) => `${h}.${p}.${signature.slice(0, -4)}`);
    cut('without its first character', (h, p, s) => `${h}.${p}.${s}`.slice(1));
    cut('without the end of its header', (h, p, s) => `${h.slice(0, -1)}.${p}.${s}`);
    cut('without the beginning of its payload', (h, p, s) => `${h}.${p.slice(4)}.${s}`);
    cut('without the end of its payload', (h, p, s) => `${h}.${p.slice(0, -1)}.${s}`);
    cut('without the beginning of its signature', (h, p, s) => `${h}.${p}.${s.slice(4)}`);
    cut('without its header', (_, p, s) => `${p}.${s}`);
    cut('without its payload', (h, _, s) => `${h}.${s}`);
    return recipes;
  },

  oversized: (forger) => {
    const recipes: Recipes = {
      'a little, but all else is right': () => {
        const length = Math.ceil(((TOO_LONG - forger.real().length) * 3) / 4);
        return forger.real(forger.header(), forger.payload({ filling: 'x'.repeat(length) }));
      },
      'a lot, but all else is right': () =>
        forger.real(forger.header(), forger.payload({ filling: 'x'.repeat(10_000) })),
    };
    for (const [size, length] of Object.entries({ '15': LONGEST, '32': 32_768, '64': 65_536 })) {
      const fill = (make: (filling: string) => string) => () => filled(length, make);
      const [h, p, s] = forger.real().split('.') as [string, string, string];
      recipes[`${size} kB of header`] = fill((filling) => `${h}${filling}.${p}.${s}`);
      recipes[`${size} kB of payload`] = fill((filling) => `${h}.${p}${filling}.${s}`);
      recipes[`${size} kB of signature`] = fill((filling) => `${h}.${p}.${s}${filling}`);
      recipes[`${size} kB of nothing`] = fill((filling) => filling);
      recipes[`${size} kB of dots`] = () => '.'.repeat(length);
      recipes[`${size} kB of tokens`] = () => `${forger.real()}.`.repeat(400).slice(0, length);
    }
    return recipes;
  },

  'a wrong type': (forger) => {
    const types = [
      'JWT',
      'jwt',
      'rt+jwt',
      'at+JWT',
      'AT+JWT',
      'application/at+jwt',
      'at+jwt ',
      'logout+jwt',
      '',
      null,
      7,
    ];
    return rightBut(
      [...types, ['at+jwt'], undefined].map((typ) => [JSON.stringify(typ) ?? 'missing', { typ }]),
      (changes) => forger.real(forger.header(changes)),
    );
  },

  'a wrong issuer or audience': (forger) => {
    const { iss, aud } = forger.target.payload as { iss: string; aud: string };
    const of = (name: 'iss' | 'aud', right: string): [string, object][] =>
      [
        undefined,
        null,
        '',
        0,
        [right],
        [right, 'https://other.example'],
        `${right}/`,
        right.toUpperCase(),
        right.slice(0, -1),
        `${right}\0`,
        ` ${right}`,
        forger.target.trap,
        { [right]: right },
      ].map((value) => [`${name} ${JSON.stringify(value) ?? 'missing'}`, { [name]: value }]);
    return rightBut(
      [
        ...of('iss', iss),
        ...of('aud', aud),
        ['both missing', { iss: undefined, aud: undefined }],
        ['swapped', { iss: aud, aud: iss }],
      ],
      (changes) => forger.real(forger.header(), forger.payload(changes)),
    );
  },

  'wrong times': (forger) => {
    const { iat, exp } = forger.target.payload as { iat: number; exp: number };
    const wrong: [string, object][] = [
      undefined,
      null,
      '',
      true,
      {},
      [],
      Number.MAX_VALUE,
      2 ** 53,
      -1,
      -exp,
      -0.5,
      iat - 1,
    ].map((value) => [`exp ${JSON.stringify(value) ?? 'missing'}`, { exp: value }]);
    wrong.push(
      ['exp as text', { exp: String(exp) }],
      ['exp in an array', { exp: [exp] }],
      ['exp as a date', { exp: new Date(exp * 1_000).toISOString() }],
      ['exp between two seconds', { exp: exp + 0.5 }],
      ['exp of a hundred digits', { exp: '9'.repeat(100) }],
    );
    for (const value of [undefined, null, '', true, [iat], String(iat), -1, iat - 0.5, 2 ** 53]) {
      wrong.push([`iat ${JSON.stringify(value) ?? 'missing'}`, { iat: value }]);
    }
    wrong.push(
      ['nbf that is over', { nbf: iat }],
      ['nbf that is to come', { nbf: exp }],
      ['nbf as text', { nbf: String(iat) }],
      ['none', { iat: undefined, exp: undefined }],
    );
    const spelled = [
      '1e400',
      '-1e400',
      `${exp}.0`,
      `${exp}e0`,
      `0.${exp}e10`,
      `0${exp}`,
      `+${exp}`,
      '-0',
      'NaN',
      'Infinity',
      '0x7fffffff',
      '1e400000',
      `${exp}n`,
    ];
    return {
      ...rightBut(wrong, (changes) => forger.real(forger.header(), forger.payload(changes))),
      ...rightBut(
        [
          ...spelled.map((exp_): [string, string] => [`exp spelled ${exp_}`, exp_]),
          ['exp of 5,000 digits', '9'.repeat(5_000)],
          ['exp in many arrays', nested(DEPTH)],
        ],
        (text) => forger.real(forger.header(), spelling(forger.payload(), { exp: text })),
      ),
    };
  },

  // Only the time is wrong. The server checks whether the key is still in use, as it does for honest tokens.
  'from the future': (forger) =>
    rightBut(
      [
        ['an hour', 3_600],
        ['a year', 31_536_000],
      ],
      (ahead) => {
        const iat = forger.target.payload.iat! + ahead;
        return forger.real(forger.header(), forger.payload({ iat, exp: iat + 600 }));
      },
    ),

  'wrong claims': (forger) => {
    const { sid } = forger.target.payload as { sid: string };
    const wrong: Record<string, readonly unknown[]> = {
      sub: [undefined, null, '', 7, ['alice'], {}],
      sid: [
        undefined,
        null,
        '',
        7,
        [sid],
        sid.toUpperCase(),
        `{${sid}}`,
        `${sid} `,
        `${sid}\0`,
        sid.replaceAll('-', ''),
        sid.replace(/-7(.{3}-.{4}-.{12})$/, '-4$1'),
        `' OR 1=1 --`,
      ],
      uid: [null, 1, 0.5, 'alice', [], true, -1],
      gen: [
        null,
        0,
        '',
        {},
        [],
        [1],
        [1, 2, 3],
        ['1', 2],
        [1, '2'],
        [-1, 2],
        [1, -2],
        [0.5, 1],
        [1, 2 ** 53],
        [[1], 2],
        true,
      ],
      jti: ['', '1', null],
    };
    return rightBut(
      Object.entries(wrong).flatMap(([name, values]) =>
        values.map((value): [string, object] => [
          `${name} ${JSON.stringify(value) ?? 'missing'}`,
          { [name]: value },
        ]),
      ),
      (changes) => forger.real(forger.header(), forger.payload(changes)),
    );
  },

  'JSON of another spelling': (forger) => {
    const header = () => JSON.stringify(forger.header());
    const payload = () => JSON.stringify(forger.payload());
    const { alg, kid, typ } = forger.header() as Record<'alg' | 'kid' | 'typ', string>;
    const { sub, exp } = forger.target.payload;
    const texts: Record<string, (text: string) => Text> = {
      'white space before it': (text) => ` ${text}`,
      'white space after it': (text) => `${text}\n`,
      'white space after a colon': (text) => text.replace(':', ': '),
      'white space at the end': (text) => `${text.slice(0, -1)}\t}`,
      indented: (text) => JSON.stringify(JSON.parse(text), undefined, 2),
      'escaped letters': (text) =>
        text.replace(
          /"([a-z])/,
          (_, letter: string) => `"\\u${letter.charCodeAt(0).toString(16).padStart(4, '0')}`,
        ),
      'a byte order mark': (text) => `\ufeff${text}`,
      'UTF-16': (text) => Buffer.from(text, 'utf16le'),
      'bytes that are not UTF-8': (text) => Buffer.from(text.replace('{', '{"x":"\xff\xc0\xaf",'), 'latin1'),
      'a cut-off character': (text) => Buffer.from(text.replace('{', '{"x":"\xf0\x9f",'), 'latin1'),
      'an overlong character': (text) => Buffer.from(text.replace('"', '\xc0\xa2'), 'latin1'),
      'NUL in front': (text) => `\0${text}`,
      'NUL after it': (text) => `${text}\0`,
      'NUL in a string': (text) => text.replace('{', '{"x":"\0",'),
      'a comma too many': (text) => `${text.slice(0, -1)},}`,
      'a comment': (text) => `${text}//`,
      'single quotes': (text) => text.replaceAll('"', `'`),
      'a brace too many': (text) => `${text}}`,
      'a brace too few': (text) => text.slice(0, -1),
      'two of them': (text) => text + text,
      'in an array': (text) => `[${text}]`,
      'in a string': (text) => JSON.stringify(text),
      'in __proto__': (text) => `{"__proto__":${text}}`,
      nothing: () => '{}',
      'an array': () => '[]',
      null: () => 'null',
      'a number': () => '1',
      'a string': () => '"x"',
      true: () => 'true',
      'one bracket': () => '[',
      brackets: () => '['.repeat(DEPTH),
      'nested brackets': () => nested(DEPTH),
      'nested braces': () => '{"a":'.repeat(900) + '1' + '}'.repeat(900),
      '10,000 brackets': () => '['.repeat(10_000),
      '10,000 nested brackets': () => nested(5_000),
    };
    const recipes: Recipes = {};
    for (const [name, respell] of Object.entries(texts)) {
      recipes[`header: ${name}`] = () => forger.real(respell(header()), forger.payload());
      recipes[`payload: ${name}`] = () => forger.real(forger.header(), respell(payload()));
    }
    const headers = {
      'alg twice': `{"alg":"none","alg":"${alg}","kid":"${kid}","typ":"${typ}"}`,
      'alg twice, the wrong one last': `{"alg":"${alg}","kid":"${kid}","typ":"${typ}","alg":"none"}`,
      'kid twice': `{"alg":"${alg}","kid":"x","kid":"${kid}","typ":"${typ}"}`,
      'kid twice, the wrong one last': `{"alg":"${alg}","kid":"${kid}","typ":"${typ}","kid":"x"}`,
      'typ twice': `{"alg":"${alg}","kid":"${kid}","typ":"JWT","typ":"${typ}"}`,
      'all of it twice': `{"alg":"${alg}","kid":"${kid}","typ":"${typ}","alg":"${alg}","kid":"${kid}","typ":"${typ}"}`,
      'in another order': `{"typ":"${typ}","alg":"${alg}","kid":"${kid}"}`,
      'a name in capitals beside it': `{"alg":"${alg}","kid":"${kid}","typ":"${typ}","ALG":"none"}`,
      'a name in __proto__': `{"alg":"${alg}","kid":"${kid}","typ":"${typ}","__proto__":{"crit":[]}}`,
    };
    for (const [name, text] of Object.entries(headers)) recipes[`header: ${name}`] = () => forger.real(text);
    const twice = {
      'sub twice': `"sub":"root"`,
      'sub twice, the same': `"sub":${JSON.stringify(sub)}`,
      'exp twice': `"exp":1`,
      'exp twice, one as text': `"exp":"${exp}"`,
      'sid twice': `"sid":"01900000-0000-7000-8000-000000000000"`,
    };
    for (const [name, text] of Object.entries(twice)) {
      recipes[`payload: ${name}`] = () =>
        forger.real(
          forger.header(),
          payload().replace('{', () => `{${text},`),
        );
      recipes[`payload: ${name}, the other way round`] = () =>
        forger.real(forger.header(), `${payload().slice(0, -1)},${text}}`);
    }
    return recipes;
  },

  'other parts': (forger) => {
    const parts = (change: (header: string, payload: string, signature: string) => string) => () => {
      const [header, payload, signature] = forger.real().split('.') as [string, string, string];
      return change(header, payload, signature);
    };
    return {
      none: () => '',
      'one dot': () => '.',
      'two dots': () => '..',
      'three dots': () => '...',
      'an empty header': parts((_, p, s) => `.${p}.${s}`),
      'an empty header that is signed': () => forger.sealed('', encode(forger.payload())),
      'an empty payload': parts((h, _, s) => `${h}..${s}`),
      'an empty payload that is signed': () => forger.sealed(encode(forger.header()), ''),
      'a payload that is not attached': parts(
        (h, p) => `${h}..${forger.signature(`${h}.${p}`).toString('base64url')}`,
      ),
      'a fourth that is empty': parts((h, p, s) => `${h}.${p}.${s}.`),
      'a fourth': parts((h, p, s) => `${h}.${p}.${s}.${s}`),
      'an empty one in front': parts((h, p, s) => `.${h}.${p}.${s}`),
      'header and payload swapped': parts((h, p, s) => `${p}.${h}.${s}`),
      'header and payload swapped, signed': () =>
        forger.sealed(encode(forger.payload()), encode(forger.header())),
      'two dots in place of one': parts((h, p, s) => `${h}..${p}.${s}`),
      'other separators': parts((h, p, s) => `${h}:${p}:${s}`),
      'separators of another kind': parts((h, p, s) => `${h}%2E${p}%2E${s}`),
      'as JSON': parts((h, payload, signature) => JSON.stringify({ protected: h, payload, signature })),
      'five: encrypted by nobody': () =>
        `${encode({ ...forger.header(), alg: 'dir', enc: 'A256GCM' })}..${forger.random.text(12)}.${forger.random.text(200)}.${forger.random.text(16)}`,
      'five: encrypted with a key of its own': () => encrypted(forger, { alg: 'dir', enc: 'A256GCM' }, ''),
      ...(forger.publicKey?.asymmetricKeyType === 'rsa' && {
        'five: encrypted for us': () =>
          encrypted(forger, { alg: 'RSA-OAEP', enc: 'A256GCM' }, forger.publicKey!),
      }),
      'five: passwords without end': () =>
        encrypted(forger, { alg: 'PBES2-HS256+A128KW', enc: 'A256GCM', p2c: 2 ** 31 - 1, p2s: 'AAAA' }, ''),
    };
  },

  'base64 of another spelling': (forger) => {
    const recipes: Recipes = {};
    const spellings: Record<string, [is: (part: string) => boolean, respell: (part: string) => string]> = {
      'the other alphabet': [
        (part) => /[-_]/.test(part),
        (part) => part.replaceAll('-', '+').replaceAll('_', '/'),
      ],
      padding: [
        (part) => part.length % 4 !== 0,
        (part) => part.padEnd(part.length + 4 - (part.length % 4), '='),
      ],
      'padding that is not needed': [() => true, (part) => `${part}====`],
      'unused bits': [(part) => part.length % 4 !== 0, unusedBitFlipped],
      'a space': [() => true, (part) => `${part.slice(0, 4)} ${part.slice(4)}`],
      'a tab': [() => true, (part) => `${part.slice(0, 4)}\t${part.slice(4)}`],
      'a letter that is none': [() => true, (part) => `${part.slice(0, 4)}!${part.slice(4)}`],
      'a letter beyond ASCII': [() => true, (part) => `${part.slice(0, 4)}\xe9${part.slice(4)}`],
      'a letter with its high bit set': [
        () => true,
        (part) => String.fromCharCode(part.charCodeAt(0) | 0x80) + part.slice(1),
      ],
      'a percent escape': [() => true, (part) => `%${part.charCodeAt(0).toString(16)}${part.slice(1)}`],
      'a quarter of a group': [(part) => part.length % 4 === 0, (part) => `${part}A`],
      hexadecimal: [() => true, (part) => Buffer.from(part, 'base64url').toString('hex')],
      quotes: [() => true, (part) => `"${part}"`],
    };
    for (const [name, [is, respell]] of Object.entries(spellings)) {
      const header = encode(forger.header());
      if (is(header)) {
        recipes[`header: ${name}, signed like that`] = () =>
          forger.sealed(respell(header), encode(forger.payload()));
        recipes[`header: ${name}, signed before`] = () => forger.real().replace(header, respell);
      }
      const payload = () =>
        find(() => encode(forger.payload({ x: forger.random.pick(['', '?', '>>', '~~~']) })), is);
      recipes[`payload: ${name}, signed like that`] = () => forger.sealed(header, respell(payload()));
      recipes[`payload: ${name}, signed before`] = () => {
        const part = payload();
        return forger.sealed(header, part).replace(part, respell);
      };
      if (!is(Buffer.alloc(forger.signatureLength, 0xff).toString('base64url'))) continue;
      recipes[`signature: ${name}`] = () => {
        const token = find(
          () => forger.real(),
          (each) => is(each.split('.')[2]!),
        );
        return token.replace(/[^.]*$/, respell);
      };
    }
    return recipes;
  },

  'a wrong signature': (forger) => {
    const { random } = forger;
    const length = forger.signatureLength;
    const signed = (signature: (input: string) => Buffer) => () => {
      const input = `${encode(forger.header())}.${encode(forger.payload())}`;
      return `${input}.${signature(input).toString('base64url')}`;
    };
    const [, , known] = forger.target.accessToken.split('.') as [string, string, string];
    const recipes: Recipes = {
      random: signed(() => random.bytes(length)),
      'all zero': signed(() => Buffer.alloc(length)),
      'all ones': signed(() => Buffer.alloc(length, 0xff)),
      one: signed(() => Buffer.concat([Buffer.alloc(length - 1), Buffer.from([1])])),
      'one byte': signed(() => Buffer.alloc(1)),
      'of another token': signed(() => Buffer.from(known, 'base64url')),
      'of the payload alone': signed((input) => forger.signature(input.split('.')[1]!)),
      'of the header alone': signed((input) => forger.signature(input.split('.')[0]!)),
      'of the bytes behind the parts': signed((input) =>
        forger.signature(Buffer.from(input.replace('.', ''), 'base64url')),
      ),
      'with a byte after it': signed((input) => Buffer.concat([forger.signature(input), Buffer.alloc(1)])),
      'with a zero byte before it': signed((input) =>
        Buffer.concat([Buffer.alloc(1), forger.signature(input)]),
      ),
      'without its last byte': signed((input) => forger.signature(input).subarray(0, -1)),
      'half of it': signed((input) => forger.signature(input).subarray(0, length / 2)),
      twice: signed((input) => Buffer.concat([forger.signature(input), forger.signature(input)])),
      backwards: signed((input) => Buffer.from(forger.signature(input).toReversed())),
      'of which one bit is another': signed((input) => {
        const signature = forger.signature(input);
        signature[random.below(length)]! ^= 1 << random.below(8);
        return signature;
      }),
      'of other claims': () =>
        forger.real().replace(/\.[^.]*\./, `.${encode(forger.payload({ role: 'admin' }))}.`),
    };
    if (forger.algorithm === 'ES256') {
      recipes['as DER'] = signed((input) => sign('sha256', Buffer.from(input), keyOf(forger.target.key.jwk)));
    }
    return recipes;
  },

  'not an access token': (forger) => {
    const { accessToken, refreshToken, payload, trap, key } = forger.target;
    const { random } = forger;
    const texts: Record<string, string> = {
      'the refresh token': refreshToken,
      'the refresh token as a payload': `${encode(forger.header())}.${refreshToken}.${random.text(32)}`,
      'the session': String(payload['sid']),
      'the kid': key.kid,
      null: 'null',
      undefined: 'undefined',
      'an object': '[object Object]',
      true: 'true',
      zero: '0',
      'a star': '*',
      'a scheme in front': `Bearer ${accessToken}`,
      'a mark of a cookie parser in front': `j:${accessToken}`,
      'the mark of a signed cookie': `s:${accessToken}.${random.text(32)}`,
      // Quotes around a cookie's value are not part of it (RFC 6265, 4.1.1).
      'a quote before it': `"${accessToken}`,
      'a quote behind it': `${accessToken}"`,
      'two quotes around it': `""${accessToken}""`,
      'single quotes around it': `'${accessToken}'`,
      // `trim()` takes it for white space. HTTP does not.
      'a no-break space before it': `\xa0${accessToken}`,
      'a no-break space behind it': `${accessToken}\xa0`,
      twice: accessToken + accessToken,
      'twice, with a comma': `${accessToken},${accessToken}`,
      'an address': trap,
      HTML: '<script>alert(1)</script>',
      SQL: `' OR '1'='1`,
      'a lookup': `\${jndi:ldap://127.0.0.1/x}`,
      'a format': '%s%s%s%n',
      'a line break, escaped': '%0d%0aset-cookie:%20a=b',
      'not ASCII': Buffer.from('ключ🔑').toString('latin1'),
      'every byte beyond ASCII': Array.from({ length: 128 }, (_, n) => String.fromCharCode(128 + n)).join(''),
      NUL: `${accessToken}\0`,
      'a control character': `${accessToken}\x07`,
      DEL: `\x7f${accessToken}`,
      PASETO: `v4.public.${random.text(120)}`,
      'Branca or Fernet': `gAAAAA${random.text(90)}`,
      'a macaroon': `MDAx${random.text(60)}`,
    };
    const recipes: Recipes = rightBut(Object.entries(texts), (text) => text, '');
    recipes['random letters'] = () => random.text(1 + random.below(400));
    recipes['three times random letters'] = () =>
      [60, 150, 32].map((length) => random.text(length)).join('.');
    recipes['random bytes'] = () =>
      random
        .bytes(200)
        .toString('latin1')
        .replaceAll(/[\0-\x20;\x7f]/g, '~');
    recipes['an ID token'] = () =>
      forger.real(
        forger.header({ typ: 'JWT' }),
        forger.payload({ nonce: random.text(12), auth_time: payload.iat }),
      );
    return recipes;
  },
};

/** Algorithms that a header could name, and that some library supports. */
const OTHER_ALGORITHMS: readonly string[] = [
  'HS256',
  'HS384',
  'HS512',
  'RS256',
  'RS384',
  'RS512',
  'PS256',
  'PS384',
  'PS512',
  'ES256',
  'ES384',
  'ES512',
  'ES256K',
  'EdDSA',
  'Ed25519',
  'Ed448',
];

/** The algorithms with which the application's own key could also sign. */
const OWN_KEY_CAN: Record<string, readonly string[]> = {
  HS256: ['HS384', 'HS512'],
  RS256: ['RS384', 'RS512', 'PS256', 'PS384', 'PS512'],
  ES256: ['ES384', 'ES512'],
  EdDSA: ['Ed25519'],
};

/** Public values that are used as the secret of an HMAC. */
function confusions(forger: Forger, publicKey: KeyObject): Recipes {
  const jwk = publicKey.export({ format: 'jwk' }) as JWK;
  const pem = publicKey.export({ type: 'spki', format: 'pem' }).toString();
  const published = { ...jwk, kid: forger.kid, alg: forger.algorithm, use: 'sig' };
  const coordinates = [jwk.x, jwk.y, jwk.n].flatMap((each) => (each ? [Buffer.from(each, 'base64url')] : []));
  const secrets: Record<string, string | Buffer> = {
    PEM: pem,
    'PEM without its last line break': pem.trimEnd(),
    'PEM with other line breaks': pem.replaceAll('\n', '\r\n'),
    'the lines of the PEM': pem.split('\n').slice(1, -2).join(''),
    DER: publicKey.export({ type: 'spki', format: 'der' }),
    ...(jwk.kty === 'RSA' && { 'PKCS #1': publicKey.export({ type: 'pkcs1', format: 'pem' }) }),
    JWK: JSON.stringify(jwk),
    'JWK as it is published': JSON.stringify(published),
    'a set of it': JSON.stringify({ keys: [published] }),
    'its number': coordinates[0]!,
    'its numbers': Buffer.concat(coordinates),
    'its number, encoded': String(jwk.x ?? jwk.n),
    'its point': Buffer.concat([Buffer.from([4]), ...coordinates]),
  };
  const recipes: Recipes = {};
  for (const [name, secret] of Object.entries(secrets)) {
    for (const alg of ['HS256', 'HS512', forger.algorithm]) {
      recipes[`${name}, as ${alg}`] = () => forger.withMac({ alg }, secret);
    }
  }
  return recipes;
}

/** A JWE (RFC 7516) under our kid: of a key of the forger's, or of one that is encrypted for us. */
function encrypted(forger: Forger, header: object, recipient: KeyObject | ''): string {
  const { random } = forger;
  const [contentKey, iv] = [random.bytes(32), random.bytes(12)];
  const encodedHeader = encode(forger.header(header));
  const cipher = createCipheriv('aes-256-gcm', contentKey, iv).setAAD(Buffer.from(encodedHeader));
  const text = Buffer.concat([cipher.update(JSON.stringify(forger.payload())), cipher.final()]);
  const padding = constants.RSA_PKCS1_OAEP_PADDING;
  const encryptedKey =
    recipient === '' ? Buffer.alloc(0) : publicEncrypt({ key: recipient, padding }, contentKey);
  return [encodedHeader, ...[encryptedKey, iv, text, cipher.getAuthTag()].map(encode)].join('.');
}

/** Recipes that differ in one value. */
function rightBut<T>(
  values: readonly (readonly [name: string, value: T])[],
  make: (value: T) => string,
  suffix = ', but all else is right',
): Recipes {
  return Object.fromEntries(values.map(([name, value]) => [name + suffix, () => make(value)]));
}

/** A token of exactly that length. */
function filled(length: number, make: (filling: string) => string): string {
  const filling = 'x'.repeat(length);
  return make(filling.slice(make(filling).length - length));
}

/** A random value that meets a condition. */
function find(make: () => string, is: (text: string) => boolean): string {
  for (let tries = 0; tries < 10_000; tries++) {
    const made = make();
    if (is(made)) return made;
  }
  throw new Error('Nothing of the kind was found.');
}

function nested(depth: number): string {
  return '['.repeat(depth) + ']'.repeat(depth);
}

const ALPHABET = 'ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789-_';

/** Another encoding of the same bytes: the last character has unused bits. */
function unusedBitFlipped(part: string): string {
  return part.slice(0, -1) + ALPHABET[ALPHABET.indexOf(part.at(-1)!) ^ 1]!;
}
