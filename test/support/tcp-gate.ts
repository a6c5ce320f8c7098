import { once } from 'node:events';
import { type AddressInfo, connect, createServer, type Server, type Socket } from 'node:net';

/**
 * Stands between a program and a server. While it is shut, bytes get lost, as where a firewall drops packets or a machine has
 * no power: connections stay open, and nobody answers.
 */
export class TcpGate {
  private readonly sockets = new Set<Socket>();
  private readonly lost = new WeakSet<Socket>();
  private isShut = false;
  private address = 0;

  private constructor(private readonly server: Server) {}

  static async before(host: string, port: number): Promise<TcpGate> {
    const server = createServer();
    const gate = new TcpGate(server);
    server.on('connection', (near) => {
      const far = connect(port, host);
      for (const [from, to] of [
        [near, far],
        [far, near],
      ] as const) {
        gate.sockets.add(from);
        from.on('data', (bytes) => {
          if (!gate.isShut && !gate.lost.has(from)) to.write(bytes);
        });
        from.on('error', () => undefined);
        from.once('close', () => {
          gate.sockets.delete(from);
          to.destroy();
        });
      }
    });
    server.listen(0, '127.0.0.1');
    await once(server, 'listening');
    return gate;
  }

  get port(): number {
    return (this.server.address() as AddressInfo).port;
  }

  shut(): void {
    this.isShut = true;
  }

  /**
   * Connections from before stay open, and nobody ever answers; new ones are as they should be. So it is where the address of a
   * machine that has no power moves to another one.
   */
  move(): void {
    for (const socket of this.sockets) this.lost.add(socket);
  }

  /** Opens it again. Connections from before have lost bytes, so they end, as when a machine comes back. */
  open(): void {
    this.isShut = false;
    for (const socket of this.sockets) socket.destroy();
  }

  /** Refuses connections, and ends those that there are, as where the server has stopped. */
  async leave(): Promise<void> {
    this.address = this.port;
    await this.close();
  }

  async comeBack(): Promise<void> {
    this.server.listen(this.address, '127.0.0.1');
    await once(this.server, 'listening');
  }

  async close(): Promise<void> {
    for (const socket of this.sockets) socket.destroy();
    if (!this.server.listening) return;
    this.server.close();
    await once(this.server, 'close');
  }
}
