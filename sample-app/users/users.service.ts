import { randomBytes } from 'node:crypto';
import { Injectable } from '@nestjs/common';
import { DEMO_USERS } from './demo-users.js';
import { hashPassword, verifyPassword } from './password.js';

export interface User {
  readonly id: string;
  readonly name: string;
  readonly role: string;
}

@Injectable()
export class UsersService {
  /** Of a password that nobody knows. */
  private readonly decoy = hashPassword(randomBytes(32).toString('hex'));

  /** The user with this name and password, if there is one. Whoever calls this limits the attempts. */
  async authenticate(username: string, password: string): Promise<User | undefined> {
    const user = DEMO_USERS.get(username);
    // An unknown name costs the same work as a known one, so that the time taken does not tell which names exist.
    const isRight = await verifyPassword(password, user?.passwordHash ?? (await this.decoy));
    return isRight ? user : undefined;
  }
}
