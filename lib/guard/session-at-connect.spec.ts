import { expect, it } from 'vitest';
import type { SessionAuthenticator } from '../http/session-authenticator.js';
import { sessionAtConnect } from './session-at-connect.js';

it.each([
  ['an arrow function around it, with Mercurius', undefined, { type: 'connection_init', payload: {} }],
  ['another server', { context: {} }, {}],
])('sessionAtConnect() says what to do with %s', async (_, host, connection) => {
  const onConnect = sessionAtConnect({} as SessionAuthenticator);
  await expect(onConnect.call(host, connection)).rejects.toMatchObject({
    code: 'unsupported_context',
    message: expect.stringMatching(/onConnect: sessionAtConnect\(sessions\)/) as string,
  });
});
