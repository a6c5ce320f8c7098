import { generateKeyPairSync, randomBytes } from 'node:crypto';
import { inspect } from 'node:util';
import { describe, expect, it } from 'vitest';
import { parseRefreshToken } from '../../lib/protocol/refresh-token.codec.js';
import { databases } from './databases.js';
import { findSecrets } from './log-search.js';
import { useWorld } from './world.js';

const secret = 'a secret without any format, of some length';

/** The names of what is found. */
const namesIn = (text: string) =>
  findSecrets(text, [secret]).map((find) => find.replace(/, at the end of.*/s, ''));

describe('the search of the log', () => {
  const world = useWorld(databases[0]!);

  it.each(['HS256', 'ES256', 'RS256', 'EdDSA'] as const)('finds tokens and keys of %s', async (algorithm) => {
    const sessions = await world.process({ accessToken: { algorithm } });
    const { accessToken, refreshToken } = await sessions.tokens.issue({ userId: 'alice' });
    const texts = {
      [accessToken.token]: ['an access token'],
      [`cookie: a=b; __Host-session_access=${accessToken.token}; c=d`]: [
        'an access token',
        'a session cookie',
      ],
      [`{"refreshToken":"${refreshToken.token}"}`]: ['a refresh token'],
      [inspect(parseRefreshToken(refreshToken.token))]: ['the secret of a session'],
      [inspect((await world.rows())[0])]: ['the secret of a session'],
      [inspect((await world.keys('access'))[0])]: ['a private key'],
      [inspect((await world.keys('refresh'))[0])]: ['a private key'],
    };
    expect(Object.keys(texts).map(namesIn)).toEqual(Object.values(texts));
    for (const find of Object.keys(texts).flatMap((text) => findSecrets(text, []))) {
      expect(find).not.toMatch(/[\w-]{40}/);
    }
  });

  it('finds PEM, and what it was told of', () => {
    const { privateKey } = generateKeyPairSync('ed25519');
    expect(namesIn(String(privateKey.export({ type: 'pkcs8', format: 'pem' })))).toEqual(['a private key']);
    expect(namesIn(`secret: ${secret}`)).toEqual(['a secret or a CSRF token']);
  });

  it('finds nothing in what may be logged', async () => {
    const sessions = await world.process({ accessToken: { algorithm: 'ES256' } });
    await sessions.tokens.issue({ userId: 'alice' });
    const [session] = (await sessions.findAllForUser('alice')).sessions;
    const texts = [
      inspect(session),
      JSON.stringify(await sessions.publicKeys()),
      'cookies session_access=, session_refresh=; Max-Age=0',
      `kid ${randomBytes(12).toString('base64url')}, tokenId ${randomBytes(8).toString('hex')}`,
    ];
    expect(texts.map(namesIn)).toEqual(texts.map(() => []));
  });
});
