import { HttpException } from '@nestjs/common';
import { describe, expect, it } from 'vitest';
import {
  CsrfError,
  InvalidClaimsError,
  InvalidDataError,
  InvalidOptionError,
  InvalidUserIdError,
  KeysUnavailableError,
  RevocationsUnavailableError,
  LookAgainError,
  NoCredentialsError,
  SessionError,
  type SessionErrorCode,
  SessionNotFoundError,
  InvalidReasonError,
  SessionOverError,
  type StaleRefreshToken,
  StorageUnavailableError,
  TokenTheftError,
  TryRefreshError,
  HeadersSentError,
  UnguardedRouteError,
  UnsupportedContextError,
} from './session.errors.js';

const stale: StaleRefreshToken = {
  sessionId: 'session',
  userId: 7,
  tokenId: '0123456789abcdef',
  kind: 'superseded',
  behind: 1,
  age: 5_000,
  sinceRotation: 1_000,
  device: undefined,
};

/** Codes and statuses that clients and applications depend on. A change of a line breaks them. */
const errors: [error: SessionError, code: SessionErrorCode, name: string, status: number][] = [
  [new NoCredentialsError(), 'no_credentials', 'NoCredentialsError', 401],
  [new TryRefreshError(), 'try_refresh', 'TryRefreshError', 401],
  [new SessionOverError(), 'session_over', 'SessionOverError', 401],
  [new TokenTheftError(7, stale), 'token_theft', 'TokenTheftError', 401],
  [new LookAgainError(stale), 'look_again', 'LookAgainError', 401],
  [new LookAgainError(stale, './me?a=b'), 'look_again', 'LookAgainError', 307],
  [new CsrfError('why'), 'csrf_failed', 'CsrfError', 403],
  [new SessionNotFoundError('session'), 'session_not_found', 'SessionNotFoundError', 404],
  [new InvalidUserIdError('why'), 'invalid_user_id', 'InvalidUserIdError', 400],
  [new InvalidClaimsError('why'), 'invalid_claims', 'InvalidClaimsError', 400],
  [new InvalidDataError('why'), 'invalid_data', 'InvalidDataError', 400],
  [new InvalidReasonError(), 'invalid_reason', 'InvalidReasonError', 400],
  [new HeadersSentError(), 'headers_sent', 'HeadersSentError', 500],
  [new UnguardedRouteError(), 'unguarded_route', 'UnguardedRouteError', 500],
  [new UnsupportedContextError('why'), 'unsupported_context', 'UnsupportedContextError', 500],
  [new InvalidOptionError('secret', 'why'), 'invalid_option', 'InvalidOptionError', 500],
  [new KeysUnavailableError('why'), 'keys_unavailable', 'KeysUnavailableError', 503],
  [new RevocationsUnavailableError(), 'revocations_unavailable', 'RevocationsUnavailableError', 503],
  [new StorageUnavailableError('why'), 'storage_unavailable', 'StorageUnavailableError', 503],
];

describe('session errors', () => {
  it.each(errors)('%s have the code %s, the name %s and the status %i', (error, code, name, status) => {
    expect(error).toBeInstanceOf(SessionError);
    expect(error).toBeInstanceOf(Error);
    expect(error).toMatchObject({ code, name });
    expect(error.message).not.toBe('');
    expect(error.stack).toContain('session.errors.spec');

    expect(error).toBeInstanceOf(HttpException);
    expect(error.getStatus()).toBe(status);
    // Details of what is unavailable are for logs.
    const isForLogs = status === 503;
    const unavailable = expect.stringMatching(/not available at present/) as string;
    const message = isForLogs ? unavailable : error.message;
    expect(error.getResponse()).toEqual({ statusCode: status, code, message });
    expect(error.stack).toMatch(new RegExp(`^(Error|${name}): `));
    expect(error.stack!.split('\n')[0]).toContain(error.message);
  });

  it('have all different codes', () => {
    expect(new Set(errors.map(([, code]) => code)).size).toBe(new Set(errors.map(([, , name]) => name)).size);
  });

  it('keep their cause', () => {
    const cause = new Error('connection refused');
    expect(new StorageUnavailableError('why', { cause }).cause).toBe(cause);
    expect(new KeysUnavailableError('why', { cause }).cause).toBe(cause);
  });

  it('say what an application needs to act on them', () => {
    expect(new TokenTheftError(7, stale)).toMatchObject({ sessionId: 'session', userId: 7, stale });
    expect(new LookAgainError(stale)).toMatchObject({ tokenId: stale.tokenId, stale, location: undefined });
    expect(new SessionNotFoundError('session')).toMatchObject({ sessionId: 'session' });
    expect(new SessionOverError({ endedAt: 5, final: false })).toMatchObject({ endedAt: 5, final: false });
    expect(new SessionOverError()).toMatchObject({ endedAt: undefined, final: true });
    const invalid = new InvalidOptionError('cookies.sameSite', 'needs more.');
    expect(invalid.option).toBe('cookies.sameSite');
    expect(invalid.message).toBe('SessionModule option "cookies.sameSite": needs more.');
  });
});
