// Breaks the rotation rules one at a time, in a copy of the sources, and shows that the suites catch each.
//   npm run test:mutations [-- --only "part of a rule's name"] [--stories]
// --stories prints, for each rule, the shortest history of the model that goes wrong without it.
import { spawn } from 'node:child_process';
import { cp, mkdtemp, readFile, rm, symlink, writeFile } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { parseArgs } from 'node:util';
import { mutations } from './mutations.mjs';

const { values } = parseArgs({
  options: { only: { type: 'string', default: '' }, stories: { type: 'boolean', default: false } },
});
const root = new URL('../..', import.meta.url).pathname;

/**
 * From cheap to dear; the first that fails has caught the mutant.
 *
 * @type {[string, string[]][]}
 */
const SUITES = [
  ['rules', ['lib/rotation/rotation.spec.ts']],
  ['model', ['test/model']],
  ['store', ['test/storage/conditional-update.spec.ts', 'test/storage/concurrency.spec.ts']],
  ['cases', ['test/prior-art', 'test/http/refresh.spec.ts']],
  ['interleavings', ['test/concurrency']],
];

const suites = values.stories ? SUITES.filter(([suite]) => suite === 'model') : SUITES;

const copy = await mkdtemp(join(tmpdir(), 'session-tokens-mutations-'));
let survivors = 0;
const rows = [];
try {
  for (const name of ['lib', 'test', 'package.json', 'tsconfig.json', 'vitest.config.ts', 'README.md']) {
    await cp(join(root, name), join(copy, name), { recursive: true });
  }
  await symlink(join(root, 'node_modules'), join(copy, 'node_modules'));
  for (const [suite, files] of suites) {
    if (!(await run(files)).passed) throw new Error(`The suite "${suite}" fails without any mutation.`);
  }
  for (const mutation of mutations.filter(({ rule }) => rule.includes(values.only)))
    await tryMutation(mutation);
} finally {
  await rm(copy, { recursive: true, force: true });
}
console.table(rows);
console.log(`${rows.length - survivors} of ${rows.length} mutants caught, ${survivors} survived.`);
process.exitCode = survivors > 0 ? 1 : 0;

async function tryMutation({ rule, file, from, to, why }) {
  const path = join(copy, file);
  const source = await readFile(path, 'utf8');
  if (source.split(from).length !== 2)
    throw new Error(`"${rule}": its text is not once in ${file}; the code has changed.`);
  await writeFile(
    path,
    source.replace(from, () => to),
  );
  try {
    const caughtBy = [];
    let story;
    for (const [suite, files] of suites) {
      const { passed, output } = await run(files);
      if (passed) continue;
      caughtBy.push(suite);
      story = /^THE STORY\n([\s\S]*?)\nTHE END$/m.exec(output)?.[1];
      if (!values.stories) break;
    }
    if (caughtBy.length === 0) survivors++;
    rows.push({ rule, 'caught by': caughtBy.join(', ') || 'SURVIVED', 'without it': why });
    console.log(
      `${caughtBy.length > 0 ? 'caught  ' : 'SURVIVED'} ${rule}${caughtBy.length > 0 ? ` (${caughtBy.join(', ')})` : ''}`,
    );
    if (values.stories && story) console.log(story.replaceAll(/^/gm, '    '));
  } finally {
    await writeFile(path, source);
  }
}

function run(files) {
  return new Promise((resolve) => {
    const vitest = join(root, 'node_modules/vitest/vitest.mjs');
    const environment = { ...process.env, NO_COLOR: '1', INTERLEAVINGS: process.env.INTERLEAVINGS ?? '100' };
    // The rules do not depend on the database; the suites have shown elsewhere that the databases agree.
    delete environment.TEST_POSTGRES_URL;
    delete environment.TEST_MYSQL_URL;
    const child = spawn(process.execPath, [vitest, 'run', '--bail=1', ...files], {
      cwd: copy,
      env: environment,
    });
    let output = '';
    for (const stream of [child.stdout, child.stderr])
      stream.setEncoding('utf8').on('data', (chunk) => (output += chunk));
    child.once('exit', (code) => resolve({ passed: code === 0, output }));
  });
}
