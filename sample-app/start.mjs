// Starts the sample: `npm start`. The application runs in this process, so that it gets the signals that are sent to it.
import { pathToFileURL } from 'node:url';
import { buildIfChanged, MAIN } from './build.mjs';

try {
  const note = await buildIfChanged();
  if (note !== undefined) console.warn(note);
} catch (error) {
  console.error(error.message);
  process.exit(1);
}
await import(pathToFileURL(MAIN).href);
