import { randomBytes } from 'node:crypto';
import { Client, CLAIMS, overConnections } from './client.js';
import { Connection } from './connection.js';
import type { Driver } from './generator.js';
import type { Flow } from './load.js';

/** Drives clients that have sessions of their own. */
export class FlowDriver implements Driver {
  /** So that users of different loads on one database have nothing in common. */
  private readonly prefix = `user-${randomBytes(3).toString('hex')}`;
  private readonly count: number;
  private made = 0;
  /** One per connection; those of the steps `login` and `logout` change all the time. */
  private readonly clients: Client[] = [];
  /** Signed in and waiting to be signed out. */
  private leaving: Client[] = [];
  private connections: Connection[] = [];

  constructor(
    private readonly load: Flow,
    private readonly ports: readonly number[],
  ) {
    this.count = load.connections ?? 16;
  }

  async before(): Promise<void> {
    const { step } = this.load;
    if (step === 'logout') {
      this.leaving = await this.signIn(this.load.clients ?? 500);
    } else if (step !== 'login' && this.clients.length === 0) {
      this.clients.push(...(await this.signIn(this.count)));
    }
    this.connections = Array.from(
      { length: this.count },
      (_, index) => new Connection(this.ports[index % this.ports.length]!),
    );
    await Promise.all(this.connections.map((connection) => connection.open()));
  }

  async run(seconds: number): Promise<number> {
    let answered = 0;
    let isOver = false;
    const timer = setTimeout(() => (isOver = true), seconds * 1e3);
    const { step } = this.load;
    const devices = step === 'devices' ? (this.load.devicesPerUser ?? 1) : undefined;
    try {
      await Promise.all(
        this.connections.map(async (connection, index) => {
          for (;;) {
            if (isOver && step !== 'logout') return;
            const client = this.nextClient(index);
            if (!client) return;
            await client.take(step, connection, devices);
            answered++;
          }
        }),
      );
    } finally {
      clearTimeout(timer);
      isOver = true;
    }
    return answered;
  }

  async after(): Promise<void> {
    for (const connection of this.connections.splice(0)) connection.close();
    if (this.load.step === 'logout' || this.load.verified === false) return;
    await overConnections(this.ports, this.count, this.clients, (client, connection) =>
      client.take('me', connection),
    );
  }

  private nextClient(index: number): Client | undefined {
    switch (this.load.step) {
      case 'login':
        return (this.clients[index] = this.newClient());
      case 'logout':
        return this.leaving.pop();
      default:
        return this.clients[index];
    }
  }

  private async signIn(count: number): Promise<Client[]> {
    const { devicesPerUser = 1 } = this.load;
    // Whole users only, so that each has as many devices as it should.
    const whole = Math.ceil(count / devicesPerUser) * devicesPerUser;
    const clients = Array.from({ length: whole }, () => this.newClient());
    await overConnections(this.ports, this.count, clients, (client, connection) =>
      client.take('login', connection),
    );
    return clients;
  }

  private newClient(): Client {
    const user = Math.floor(this.made++ / (this.load.devicesPerUser ?? 1));
    return new Client(`${this.prefix}-${user}`, this.load.claims ?? CLAIMS);
  }
}
