import { describe, expect, it } from 'vitest';
import type { SessionAuthenticator } from '../http/session-authenticator.js';
import type { AuthenticatedSession } from '../session/authenticated-session.js';
import { attachedSession, attachmentOf, attachSession } from './attached-session.js';

const [users, admins] = ['users', 'admins'].map((module) => ({ module }) as SessionAuthenticator);
const session = (id: string) => ({ id }) as AuthenticatedSession;

describe('sessions attached to a request', () => {
  it('are the last ones of each module, however often a connection has been asked', () => {
    const request = {};
    for (let message = 0; message < 100_000; message++) {
      attachSession(request, users!, session(`user ${message}`));
      attachSession(request, admins!, session(`admin ${message}`));
    }
    expect(attachedSession(request, 'users')).toEqual({ id: 'user 99999' });
    expect(attachedSession(request, 'admins')).toEqual({ id: 'admin 99999' });
    expect(attachedSession(request)).toEqual({ id: 'admin 99999' });
    // Results that had piled up would be too deep to look through.
    expect(attachmentOf(request, 'of nobody')).toBeUndefined();
  });
});
