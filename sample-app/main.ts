import { Logger } from '@nestjs/common';
import { SessionError } from 'nestjs-session-tokens';
import { createApp } from './app.js';
import { readSettings, SettingsError } from './settings.js';
import { endOnSignals } from './shutdown.js';

try {
  const settings = readSettings(process.env);
  const app = await createApp(settings);
  endOnSignals(app);
  await app.listen(settings.port, settings.host);
  const { port } = app.getHttpServer().address() as { port: number };
  Logger.log(`Open http://localhost:${port}`, 'SampleApplication');
} catch (error) {
  // What the person who starts this can put right is told without a stack.
  console.error(error instanceof SettingsError || error instanceof SessionError ? error.message : error);
  process.exit(1);
}
