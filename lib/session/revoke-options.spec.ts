import { describe, expect, it } from 'vitest';
import { checkRevokeOptions } from './revoke-options.js';

describe('the reason of a revocation', () => {
  it.each(['admin', 'password_change', 'replaced', 'theft', 'a', 'limit_2', 'a234567890123456'])(
    'may be %s',
    (reason) => {
      expect(checkRevokeOptions({ reason, by: 5 })).toEqual({ reason, by: 5 });
    },
  );

  it('is "revoked" if none is given', () => {
    for (const none of [undefined, null as never, {}, { reason: undefined }]) {
      expect(checkRevokeOptions(none)).toEqual({ reason: 'revoked', by: undefined });
    }
  });

  it.each([
    '',
    'Admin',
    'two words',
    'dash-ed',
    '_a',
    '2fa',
    'a2345678901234567',
    'ü',
    'a\n',
    'expired',
    5,
    null,
    {},
    ['admin'],
  ])('may not be %j', (reason) => {
    expect(() => checkRevokeOptions({ reason: reason as never })).toThrow(
      expect.objectContaining({ code: 'invalid_reason' }),
    );
  });
});
