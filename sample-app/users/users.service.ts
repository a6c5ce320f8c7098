import { randomBytes } from 'node:crypto';
import { Injectable } from '@nestjs/common';
import { hashPassword, verifyPassword } from './password.js';

export interface User {
  readonly id: string;
  readonly name: string;
  readonly role: string;
}

interface StoredUser extends User {
  readonly passwordHash: string;
}

/** Stands in for a table of users. The passwords are "wonderland" and "builder". */
const USERS: ReadonlyMap<string, StoredUser> = new Map([
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

@Injectable()
export class UsersService {
  /** Of a password that nobody knows. */
  private readonly decoy = hashPassword(randomBytes(32).toString('hex'));

  /** The user with this name and password, if there is one. A real application would also limit the attempts. */
  async authenticate(username: string, password: string): Promise<User | undefined> {
    const user = USERS.get(username);
    // An unknown name costs the same work as a known one, so that the time taken does not tell which names exist.
    const isRight = await verifyPassword(password, user?.passwordHash ?? (await this.decoy));
    return isRight ? user : undefined;
  }
}
