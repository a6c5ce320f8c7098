// Copies the built library to dist/node_modules, where the benchmark's servers find it first. npm's link to ".." would not
// do: behind a link, the library would find the repository's own Nest and TypeORM, the servers those of this folder, and
// dependency injection does not work across two copies of Nest.
import { cp, readFile, rm } from 'node:fs/promises';
import { createRequire } from 'node:module';
import { join, resolve } from 'node:path';

const NAME = 'nestjs-session-tokens';
// LIBRARY measures another checkout of the library than the one around this folder.
const source = resolve(process.env.LIBRARY ?? join(import.meta.dirname, 'node_modules', NAME));
const target = join(import.meta.dirname, 'dist/node_modules', NAME);

try {
  await readFile(join(source, 'dist/lib/index.js'));
} catch {
  console.error(
    'The library has not been built. Run "npm install && npm run build" in the repository first.',
  );
  process.exit(1);
}
await rm(target, { recursive: true, force: true });
await cp(join(source, 'dist/lib'), join(target, 'dist/lib'), { recursive: true });
await cp(join(source, 'package.json'), join(target, 'package.json'));

const [fromLibrary, fromBench] = [join(target, 'package.json'), import.meta.filename].map((file) =>
  createRequire(file),
);
const { peerDependencies } = JSON.parse(await readFile(join(source, 'package.json'), 'utf8'));
for (const peer of Object.keys(peerDependencies)) {
  if (fromLibrary.resolve(peer) !== fromBench.resolve(peer))
    throw new Error(`There are two copies of ${peer}.`);
}
