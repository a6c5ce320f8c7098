import { Logger } from '@nestjs/common';
import { SessionError } from 'nestjs-session-tokens';
import { createApp } from './app.js';
import { readSettings, SettingsError } from './settings.js';

/** How long requests under way may take after SIGTERM. Container platforms usually wait 10 s before they kill. */
const DRAIN_MS = 5_000;

try {
  const settings = readSettings(process.env);
  const app = await createApp(settings);
  // Nest stops listening, lets requests under way end, then closes the database.
  app.enableShutdownHooks(['SIGTERM', 'SIGINT'], { useProcessExit: true });
  for (const signal of ['SIGTERM', 'SIGINT'] as const) {
    process.once(signal, () => {
      setTimeout(() => app.getHttpServer().closeAllConnections(), DRAIN_MS).unref();
    });
  }
  await app.listen(settings.port, settings.host);
  const { port } = app.getHttpServer().address() as { port: number };
  Logger.log(`Open http://localhost:${port}`, 'SampleApplication');
} catch (error) {
  // What the person who starts this can put right is told without a stack.
  console.error(error instanceof SettingsError || error instanceof SessionError ? error.message : error);
  process.exit(1);
}
