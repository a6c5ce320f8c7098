import { once } from 'node:events';
import { connect, createServer } from 'node:net';
import { setTimeout as pause } from 'node:timers/promises';

/** Stands between the application and its database, and does what networks do. */
export class TcpProxy {
  #server = createServer((near) => this.#join(near));
  #pairs = new Set();
  #target;
  #isSilent = false;
  #refuses = false;
  #delay = 0;
  #cutting = 0;

  /** @param {number} target a port of this machine */
  static async before(target) {
    const proxy = new TcpProxy();
    proxy.#target = target;
    proxy.#server.listen(0, '127.0.0.1');
    await once(proxy.#server, 'listening');
    return proxy;
  }

  get port() {
    return this.#server.address().port;
  }

  /** New connections go elsewhere, as when a name or an address moves to another server. Those that are open stay. */
  retarget(port) {
    this.#target = port;
  }

  /** The address moves to another server. Nobody tells those who are connected: their bytes get lost for ever. */
  move(port) {
    this.#target = port;
    for (const pair of this.#pairs) pair.isLost = true;
  }

  /** All connections break. */
  cut() {
    for (const { near, far } of this.#pairs) {
      near.destroy();
      far.destroy();
    }
  }

  /** While it refuses, nobody gets a new connection. Those that are open stay: see {@link TcpProxy.cut}. */
  refuse(refuses = true) {
    this.#refuses = refuses;
  }

  /** All bytes get lost from now on, and nobody is told. */
  hang() {
    this.#isSilent = true;
  }

  /** Ends {@link TcpProxy.hang}. Connections that have lost bytes break, as when a machine comes back. */
  resume() {
    this.#isSilent = false;
    this.cut();
  }

  /** How long bytes are on their way, in each direction. @param {number} milliseconds */
  delay(milliseconds) {
    this.#delay = milliseconds;
  }

  /** That share of answers gets lost with the connection, after the server has done what it was asked. */
  cutAnswers(share) {
    this.#cutting = share;
  }

  async close() {
    this.cut();
    this.#server.close();
    await once(this.#server, 'close');
  }

  #join(near) {
    if (this.#refuses) {
      near.on('error', () => {});
      near.resetAndDestroy();
      return;
    }
    const far = connect(this.#target, '127.0.0.1');
    const pair = { near, far, isLost: false };
    this.#pairs.add(pair);
    this.#pass(near, far, pair, () => false);
    this.#pass(far, near, pair, () => Math.random() < this.#cutting);
    for (const socket of [near, far]) {
      socket.setNoDelay();
      socket.on('error', () => {});
      socket.once('close', () => {
        // A connection whose bytes get lost does not end either, for anybody.
        if (this.#isSilent) return;
        if (pair.isLost && socket === far) return;
        this.#pairs.delete(pair);
        near.destroy();
        far.destroy();
      });
    }
  }

  #pass(from, to, pair, getsCut) {
    let last = Promise.resolve();
    from.on('data', (bytes) => {
      if (this.#isSilent || pair.isLost) return;
      if (getsCut()) {
        from.destroy();
        to.destroy();
        return;
      }
      if (this.#delay === 0) {
        void last.then(() => to.write(bytes));
        return;
      }
      const due = performance.now() + this.#delay;
      last = last.then(() => pause(due - performance.now())).then(() => to.write(bytes));
    });
  }
}
