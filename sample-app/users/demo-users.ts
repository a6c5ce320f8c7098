import type { User } from './users.service.js';

export interface StoredUser extends User {
  readonly passwordHash: string;
}

/** Stands in for a table of users. The passwords are "wonderland" and "builder". */
export const DEMO_USERS: ReadonlyMap<string, StoredUser> = new Map([
  [
    'alice',
    {
      id: 'alice',
      name: 'Alice',
      role: 'admin',
      passwordHash: 'scrypt$16384$8$5$BXYMO2sp9EubB1458dy6uw$XHCVfIlS68FG-C3-5MycJBFX12BK8Y6sGKEcD0siZao',
    },
  ],
  [
    'bob',
    {
      id: 'bob',
      name: 'Bob',
      role: 'editor',
      passwordHash: 'scrypt$16384$8$5$ZABKzyhkTgWbj7sZEaoJrw$GJZblnf3qyebfR0HmIAWqn_QDqggbE5zhgXI0mVOu5U',
    },
  ],
]);
