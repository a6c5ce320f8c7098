import { type ChildProcess, spawn } from 'node:child_process';
import { once } from 'node:events';
import { createInterface } from 'node:readline';
import { type Browser, type BrowserContext, chromium } from 'playwright-core';
import { chromiumPath } from './programs.js';

const FLAGS = [
  '--headless',
  '--no-sandbox',
  '--disable-gpu',
  '--disable-quic',
  '--no-first-run',
  '--disable-background-networking',
  '--disable-component-update',
  '--disable-sync',
  '--password-store=basic',
  // Hosts that are not localhost, over plain http.
  '--host-resolver-rules=MAP app.test 127.0.0.1,MAP *.app.test 127.0.0.1',
];

export async function launchChromium(): Promise<Browser> {
  return chromium.launch({ executablePath: chromiumPath, args: FLAGS });
}

/** A browser with a profile on disk and its own processes, which tests can kill and suspend. */
export interface OwnChromium {
  readonly context: BrowserContext;
  /** Sends a signal to all its processes. */
  signal(name: 'SIGSTOP' | 'SIGCONT'): void;
  /** Kills it. It writes nothing more to disk. */
  kill(): Promise<void>;
  /** Closes it normally. It writes everything to disk. */
  quit(): Promise<void>;
}

/** @param profile folder of the profile */
export async function launchOwnChromium(profile: string): Promise<OwnChromium> {
  const args = [...FLAGS, `--user-data-dir=${profile}`, '--remote-debugging-port=0', 'about:blank'];
  // A separate process group, so that a signal reaches all of its processes and no others.
  const child = spawn(chromiumPath!, args, { detached: true, stdio: ['ignore', 'ignore', 'pipe'] });
  const exit = once(child, 'exit');
  const browser = await chromium.connectOverCDP(await endpointOf(child));
  const signal = (name: NodeJS.Signals): void => {
    if (child.exitCode === null && child.signalCode === null) process.kill(-child.pid!, name);
  };
  return {
    context: browser.contexts()[0]!,
    signal,
    async kill() {
      signal('SIGKILL');
      await exit;
    },
    async quit() {
      const session = await browser.newBrowserCDPSession();
      await session.send('Browser.close').catch(() => undefined);
      await exit;
    },
  };
}

async function endpointOf(child: ChildProcess): Promise<string> {
  for await (const line of createInterface({ input: child.stderr! })) {
    const endpoint = /^DevTools listening on (ws:\S+)/.exec(line)?.[1];
    if (endpoint === undefined) continue;
    // Further output is read, so that it does not fill the pipe.
    child.stderr!.resume();
    return endpoint;
  }
  throw new Error('Chromium ended before it listened.');
}
