import { Logger } from '@nestjs/common';
import { SessionError } from 'nestjs-session-tokens';
import { createApp } from './app.js';
import { readSettings } from './settings.js';
import { endOnSignals } from './shutdown.js';
import { StartError } from './start-error.js';

try {
  const settings = readSettings(process.env);
  if (settings.databaseNote !== undefined) Logger.log(settings.databaseNote, 'Database');
  const app = await createApp(settings);
  endOnSignals(app);
  await app.listen(settings.port, settings.host);
  const { port } = app.getHttpServer().address() as { port: number };
  Logger.log(`Open http://localhost:${port}`, 'SampleApplication');
} catch (error) {
  console.error(canBePutRight(error) ? error.message : error);
  process.exit(1);
}

/** What the person who starts this can put right is told without a stack: also an address that cannot be listened on. */
function canBePutRight(error: unknown): error is Error {
  return (
    error instanceof StartError ||
    error instanceof SessionError ||
    (error instanceof Error && 'syscall' in error)
  );
}
