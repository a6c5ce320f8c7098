import { scryptSync } from 'node:crypto';
import type { StoredUser } from '../../sample-app/users/demo-users.js';

const PASSWORDS: Readonly<Record<string, string>> = { alice: 'wonderland', bob: 'builder' };

/** The same users with fast password verification. With the real cost, hundreds of sign-ins would take minutes. */
export function withCheapPasswords(users: ReadonlyMap<string, StoredUser>): Map<string, StoredUser> {
  const salt = Buffer.from('salt').toString('base64url');
  const cheap = [...users].map(([name, user]) => {
    const key = scryptSync(PASSWORDS[name]!, 'salt', 32, { N: 2, r: 1, p: 1 }).toString('base64url');
    return [name, { ...user, passwordHash: `scrypt$2$1$1$${salt}$${key}` }] as const;
  });
  return new Map(cheap);
}
