import type { Server } from 'node:http';
import type { AddressInfo } from 'node:net';
import { createApp } from '../../sample-app/app.js';
import { readSettings } from '../../sample-app/settings.js';
import type { TestDatabase } from '../support/databases.js';

/** The sample application within this process. */
export interface Sample {
  readonly url: string;
  close(): Promise<void>;
}

export type Environment = Readonly<Record<string, string>>;

/** Starts it as its `main.ts` does, with these environment variables. */
export async function startSample(database: TestDatabase, env: Environment = {}): Promise<Sample> {
  const app = await createApp(readSettings({ DATABASE_URL: databaseUrl(database), ...env }), false);
  await app.listen(0, '127.0.0.1');
  const server: Server = app.getHttpServer();
  const { port } = server.address() as AddressInfo;
  return { url: `http://127.0.0.1:${port}`, close: () => app.close() };
}

/** The URL of a test database, as the sample takes it. */
export function databaseUrl({ options }: TestDatabase): string {
  return options.type === 'better-sqlite3' ? `sqlite:${options.database}` : (options as { url: string }).url;
}
