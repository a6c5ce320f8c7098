/**
 * The tools of a forger who makes access tokens. No code of the library is used; its formats are
 * implemented here again.
 */
import {
  createHmac,
  createPrivateKey,
  createPublicKey,
  createSecretKey,
  constants,
  generateKeyPairSync,
  type JsonWebKey,
  type KeyObject,
  sign,
} from 'node:crypto';
import type { JWK, JWTPayload } from 'jose';
import { seededRandom } from '../support/random.js';

/** The target of the forgeries: an application, and a user who is signed in there. */
export interface Target {
  /** The application's own key, taken from its database. */
  readonly key: { readonly kid: string; readonly algorithm: string; readonly jwk: JWK };
  /** The payload of the signed-in user's access token, including `iss` and `aud`. */
  readonly payload: JWTPayload;
  readonly accessToken: string;
  readonly refreshToken: string;
  /** The URL of the forger's key, for servers that load keys from a URL in a token. No request may ever go there. */
  readonly trap: string;
}

/** A text, bytes, or a value to write as JSON. */
export type Text = string | Buffer | object | null;

/** Numbers that look random, and are the same for the same seed. */
export class Random {
  /** From 0 to below 1. */
  readonly next: () => number;

  constructor(seed: number) {
    this.next = seededRandom(seed);
  }

  /** A whole number from 0 to below this. */
  below(limit: number): number {
    return Math.floor(this.next() * limit);
  }

  bytes(length: number): Buffer {
    return Buffer.from(Array.from({ length }, () => this.below(256)));
  }

  /** Base64url of that many bytes. */
  text(length: number): string {
    return this.bytes(length).toString('base64url');
  }

  pick<T>(list: readonly T[]): T {
    return list[this.below(list.length)]!;
  }
}

/** Makes tokens for one application. */
export class Forger {
  readonly algorithm: string;
  readonly kid: string;
  /** Undefined for a symmetric key. */
  readonly publicKey: KeyObject | undefined;
  private readonly privateKey: KeyObject;

  constructor(
    readonly target: Target,
    readonly random: Random,
  ) {
    const { kid, algorithm, jwk } = target.key;
    this.algorithm = algorithm;
    this.kid = kid;
    this.privateKey = keyOf(jwk);
    this.publicKey = jwk.kty === 'oct' ? undefined : createPublicKey(this.privateKey);
  }

  /** The header as the library writes it, with these changes. `undefined` removes a member. */
  header(changes: object = {}): object {
    return { alg: this.algorithm, kid: this.kid, typ: 'at+jwt', ...changes };
  }

  /** A payload that the library would accept, with these changes. A claim makes each payload unique. */
  payload(changes: object = {}): object {
    return { ...this.target.payload, n: this.random.text(9), ...changes };
  }

  /** Signed by the application's own key. */
  real(header: Text = this.header(), payload: Text = this.payload()): string {
    return this.sealed(encode(header), encode(payload));
  }

  /** The same with parts that are already encoded. */
  sealed(header: string, payload: string): string {
    return `${header}.${payload}.${this.signature(`${header}.${payload}`).toString('base64url')}`;
  }

  /** A signature by the application's own key, with its algorithm, or with another one that the key supports. */
  signature(input: string | Buffer, algorithm = this.algorithm): Buffer {
    return signatureBy(this.privateKey, algorithm, input);
  }

  /** With a random signature. */
  unsigned(header: Text = this.header(), payload: Text = this.payload()): string {
    return `${encode(header)}.${encode(payload)}.${this.random.text(this.signatureLength)}`;
  }

  /** With a signature that is an HMAC under this secret. */
  withMac(header: { readonly alg: string; readonly kid?: string }, secret: string | Buffer): string {
    const input = `${encode(this.header(header))}.${encode(this.payload())}`;
    const hash = /^HS\d{3}$/.test(header.alg) ? `sha${header.alg.slice(2)}` : 'sha256';
    return `${input}.${createHmac(hash, secret).update(input).digest('base64url')}`;
  }

  /** Signed by the forger's own key. */
  own(algorithm: string, header: object = {}, payload: Text = this.payload()): string {
    const input = `${encode(this.header({ alg: algorithm, ...header }))}.${encode(payload)}`;
    return `${input}.${signatureBy(ownKeys(algorithm).private, algorithm, input).toString('base64url')}`;
  }

  get signatureLength(): number {
    return { HS256: 32, RS256: 256 }[this.algorithm] ?? 64;
  }
}

interface OwnKeys {
  readonly private: KeyObject;
  /** The public half. */
  readonly jwk: JWK;
  readonly certificate: Buffer | undefined;
}

const known = new Map<string, OwnKeys>();

/** The forger's keys for an algorithm. They are made once, because that is slow. */
export function ownKeys(algorithm: string): OwnKeys {
  const kind = algorithm.replace(/^PS/, 'RS').replace(/^(HS|RS).*/, '$1');
  const keys = known.get(kind) ?? newKeys(algorithm);
  known.set(kind, keys);
  return keys;
}

function newKeys(algorithm: string): OwnKeys {
  if (algorithm.startsWith('HS')) {
    const secret = createSecretKey(Buffer.alloc(64, 7));
    return { private: secret, jwk: secret.export({ format: 'jwk' }), certificate: undefined };
  }
  const { privateKey, publicKey } = newPair(algorithm);
  return {
    private: privateKey,
    jwk: publicKey.export({ format: 'jwk' }),
    certificate: certificateFor(privateKey, publicKey),
  };
}

function newPair(algorithm: string): { privateKey: KeyObject; publicKey: KeyObject } {
  switch (algorithm) {
    case 'EdDSA':
    case 'Ed25519':
      return generateKeyPairSync('ed25519');
    case 'Ed448':
      return generateKeyPairSync('ed448');
    case 'ES256':
      return generateKeyPairSync('ec', { namedCurve: 'P-256' });
    case 'ES384':
      return generateKeyPairSync('ec', { namedCurve: 'P-384' });
    case 'ES512':
      return generateKeyPairSync('ec', { namedCurve: 'P-521' });
    case 'ES256K':
      return generateKeyPairSync('ec', { namedCurve: 'secp256k1' });
    default:
      return generateKeyPairSync('rsa', { modulusLength: 2_048 });
  }
}

/** A self-signed certificate (X.509, version 1) for a key, to put into a header. */
function certificateFor(privateKey: KeyObject, publicKey: KeyObject): Buffer | undefined {
  const oid = { rsa: '2a864886f70d01010b', ec: '2a8648ce3d040302', ed25519: '2b6570' }[
    privateKey.asymmetricKeyType as string
  ];
  if (oid === undefined || publicKey.asymmetricKeyDetails?.namedCurve === 'secp256k1') return undefined;
  const identifier = der(0x06, Buffer.from(oid, 'hex'));
  const algorithm = der(0x30, identifier, ...(privateKey.asymmetricKeyType === 'rsa' ? [der(0x05)] : []));
  const commonName = der(0x30, der(0x06, Buffer.from('550403', 'hex')), der(0x0c, Buffer.from('forger')));
  const name = der(0x30, der(0x31, commonName));
  const days = ['200101000000Z', '491231235959Z'].map((day) => der(0x17, Buffer.from(day)));
  const key = publicKey.export({ type: 'spki', format: 'der' });
  const body = der(0x30, der(0x02, Buffer.from([1])), algorithm, name, der(0x30, ...days), name, key);
  const hash = privateKey.asymmetricKeyType === 'ed25519' ? null : 'sha256';
  return der(0x30, body, algorithm, der(0x03, Buffer.alloc(1), sign(hash, body, privateKey)));
}

/** A value in DER: its tag, its length, its content. */
function der(tag: number, ...content: readonly Buffer[]): Buffer {
  const bytes = Buffer.concat(content);
  const { length } = bytes;
  const size = length < 128 ? [length] : length < 256 ? [0x81, length] : [0x82, length >> 8, length & 0xff];
  return Buffer.concat([Buffer.from([tag, ...size]), bytes]);
}

/** A JWS signature (RFC 7518). */
function signatureBy(key: KeyObject, algorithm: string, input: string | Buffer): Buffer {
  const bytes = Buffer.from(input as string);
  const hash = `sha${algorithm.slice(2, 5)}`;
  switch (algorithm.slice(0, 2)) {
    case 'HS':
      return createHmac(hash, key).update(bytes).digest();
    case 'RS':
      return sign(hash, bytes, key);
    case 'PS': {
      const padding = constants.RSA_PKCS1_PSS_PADDING;
      return sign(hash, bytes, { key, padding, saltLength: constants.RSA_PSS_SALTLEN_DIGEST });
    }
    case 'ES':
      return sign(hash, bytes, { key, dsaEncoding: 'ieee-p1363' });
    default:
      return sign(null, bytes, key);
  }
}

export function keyOf(jwk: JWK): KeyObject {
  return jwk.kty === 'oct'
    ? createSecretKey(jwk.k!, 'base64url')
    : createPrivateKey({ key: jwk as JsonWebKey, format: 'jwk' });
}

/** Base64url of bytes, of a text as it is, or of JSON. */
export function encode(part: Text): string {
  if (Buffer.isBuffer(part)) return part.toString('base64url');
  return Buffer.from(typeof part === 'string' ? part : JSON.stringify(part)).toString('base64url');
}

/** The JSON of an object, with some values written in this way. */
export function spelling(object: object, texts: Readonly<Record<string, string>>): string {
  const members = Object.entries(object).map(
    ([name, value]) => `${JSON.stringify(name)}:${texts[name] ?? JSON.stringify(value)}`,
  );
  return `{${members.join(',')}}`;
}
