// Breaks the rotation rules one at a time, in a copy of the sources, and shows that the suites catch each.
//   npm run test:mutations [-- --only "part of a rule's name"] [--stories] [--tested] [--minutes 7]
// --stories prints, for each rule, the shortest history of the model that goes wrong without it.
// --tested takes it for granted that the suites pass without any mutation, which is otherwise shown first.
// --minutes begins no other mutant after that time. It begins at any of them, so that all are tried after a few runs.
import { spawn } from 'node:child_process';
import { cp, mkdtemp, readFile, rm, symlink, writeFile } from 'node:fs/promises';
import { availableParallelism, tmpdir } from 'node:os';
import { join } from 'node:path';
import { parseArgs } from 'node:util';
import { mutations } from './mutations.mjs';

const { values } = parseArgs({
  options: {
    only: { type: 'string', default: '' },
    stories: { type: 'boolean', default: false },
    tested: { type: 'boolean', default: false },
    minutes: { type: 'string', default: 'Infinity' },
  },
});
const root = new URL('../..', import.meta.url).pathname;

/**
 * From cheap to dear; the first that fails has caught the mutant.
 *
 * @type {[string, string[]][]}
 */
const SUITES = [
  ['rules', ['lib/protocol/rotation.spec.ts']],
  ['model', ['test/model']],
  ['one statement', ['test/storage/refresh-in-one-statement.spec.ts']],
  [
    'store',
    [
      'test/storage/overtaken-decisions.spec.ts',
      'test/storage/concurrent-requests.spec.ts',
      'test/storage/restored-rows.spec.ts',
    ],
  ],
  ['cases', ['test/prior-art', 'test/http/refresh.spec.ts']],
  [
    'look again',
    [
      'lib/http',
      'test/http/look-again.spec.ts',
      'test/http/late-responses.spec.ts',
      'test/http/outcomes.spec.ts',
    ],
  ],
  ['csrf', ['test/http/csrf.spec.ts']],
  [
    'headers',
    [
      'test/http/both-kinds.spec.ts',
      'test/http/header-tokens.spec.ts',
      'test/attacks/script-in-page.spec.ts',
    ],
  ],
  ['cookies', ['test/http/cookies.spec.ts', 'lib/http/transport/cookie-header.spec.ts']],
  ['planted cookies', ['test/http/planted-cookies.spec.ts']],
  ['lifetimes', ['test/http/lifetimes.spec.ts']],
  ['step-up', ['test/http/step-up.spec.ts']],
  ['devices', ['lib/session', 'test/http/devices.spec.ts']],
  ['cap', ['test/http/session-cap.spec.ts']],
  ['guard', ['test/http/guard.spec.ts', 'test/http/no-refresh.spec.ts']],
  ['testing', ['test/testing']],
  ['client', ['lib/client']],
  ['pages', ['test/ssr/forward-session.spec.ts']],
  ['gateways', ['test/contexts/handshake.spec.ts', 'test/contexts/doors.spec.ts']],
  ['not-before', ['test/revocation/not-before.spec.ts']],
  ['revocation', ['test/revocation']],
  [
    'silence',
    [
      'lib/storage',
      'lib/keys',
      'lib/util',
      'test/http/silent-database.spec.ts',
      'test/http/lagging-node.spec.ts',
      'test/keys/sealed-keys.spec.ts',
    ],
  ],
  ['lists', ['test/verifier/revocations.spec.ts']],
  [
    'events',
    [
      'lib/revocation',
      'test/http/events.spec.ts',
      'test/http/theft-policy.spec.ts',
      'test/module/observers.spec.ts',
    ],
  ],
  ['plans', ['test/storage/query-plans.spec.ts']],
  [
    'clocks',
    [
      'lib/storage/database-clock.spec.ts',
      'lib/storage/statement-watch.spec.ts',
      'test/module/clock-put-right.spec.ts',
    ],
  ],
  [
    'telemetry',
    [
      'lib/opentelemetry',
      'lib/util',
      'test/telemetry/logs.spec.ts',
      'test/telemetry/metrics.spec.ts',
      'test/telemetry/spans.spec.ts',
    ],
  ],
  ['health', ['test/terminus']],
  ['openapi', ['test/openapi', 'lib/openapi']],
  ['damaged and stricter', ['test/storage/damaged-rows.spec.ts', 'test/storage/stricter-options.spec.ts']],
  ['headers sent', ['test/http/headers-sent.spec.ts']],
  ['refresh path', ['test/http/refresh-path.spec.ts']],
  ['caches', ['test/http/caches.spec.ts']],
  [
    'impersonation',
    [
      'test/http/impersonation.spec.ts',
      'test/attacks/impersonation.spec.ts',
      'test/verifier/impersonation.spec.ts',
    ],
  ],
  ['session end', ['test/http/session-end.spec.ts']],
  ['modules', ['test/module/several-modules.spec.ts']],
  ['contexts', ['test/contexts']],
  ['interleavings', ['test/concurrency']],
  ['tokens', ['lib/tokens', 'lib/protocol', 'lib/keys']],
  ['drop', ['test/keys/emergency-rotation.spec.ts']],
  ['key set', ['lib/keys', 'test/verifier/jwks.spec.ts', 'test/verifier/bad-key-servers.spec.ts']],
  ['attacks', ['test/attacks/stolen-database.spec.ts']],
  ['connections', ['lib/connections', 'test/connections/websockets.spec.ts']],
  ['feed', ['lib/revocation/revocation-feed.spec.ts']],
  ['streams', ['test/connections/kinds-of-streams.spec.ts']],
];
const ROTATION_SUITES = ['rules', 'model', 'store', 'cases', 'interleavings'];

const suites = values.stories ? SUITES.filter(([suite]) => suite === 'model') : SUITES;

const SURVIVED = 'SURVIVED';
const chosen = mutations.filter(({ rule }) => rule.includes(values.only));
const first = values.minutes === 'Infinity' ? 0 : Math.floor(Math.random() * chosen.length);
const queue = [...chosen.slice(first), ...chosen.slice(0, first)];
const until = performance.now() + Number(values.minutes) * 60_000;
const rows = new Map();
/** One copy of the sources per worker: most suites keep one core busy. */
const copies = await Promise.all(Array.from({ length: availableParallelism() }, copySources));
try {
  await Promise.all(copies.map((copy, index) => work(copy, index === 0 && !values.tested)));
} finally {
  await Promise.all(copies.map((copy) => rm(copy, { recursive: true, force: true })));
}
const survivors = [...rows.values()].filter((row) => row['caught by'] === SURVIVED).length;
console.table(chosen.flatMap(({ rule }) => rows.get(rule) ?? []));
if (queue.length > 0) console.log(`${queue.length} mutants were not tried: the time was over.`);
console.log(`${rows.size - survivors} of ${rows.size} mutants caught, ${survivors} survived.`);
process.exitCode = survivors > 0 ? 1 : 0;

async function copySources() {
  const copy = await mkdtemp(join(tmpdir(), 'session-tokens-mutations-'));
  for (const name of ['lib', 'test', 'package.json', 'tsconfig.json', 'vitest.config.ts', 'README.md']) {
    await cp(join(root, name), join(copy, name), { recursive: true });
  }
  await symlink(join(root, 'node_modules'), join(copy, 'node_modules'));
  return copy;
}

/** Takes what is left of the work; the first worker begins with what must hold without any mutation. */
async function work(copy, checksSuites) {
  for (const [suite, files] of checksSuites ? suites : []) {
    if (!(await run(copy, files)).passed) throw new Error(`The suite "${suite}" fails without any mutation.`);
  }
  while (queue.length > 0 && performance.now() < until) await tryMutation(copy, queue.shift());
}

async function tryMutation(copy, { rule, file, from, to, why, suites: names = ROTATION_SUITES }) {
  const start = performance.now();
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
    for (const [suite, files] of suites.filter(([name]) => names.includes(name))) {
      const { passed, output } = await run(copy, files);
      if (passed) continue;
      caughtBy.push(suite);
      story = /^THE STORY\n([\s\S]*?)\nTHE END$/m.exec(output)?.[1];
      if (!values.stories) break;
    }
    const by = caughtBy.join(', ') || SURVIVED;
    rows.set(rule, { rule, 'caught by': by, 'without it': why });
    const seconds = Math.round((performance.now() - start) / 1_000);
    console.log(`${by === SURVIVED ? by : 'caught  '} ${rule} (${by}, ${seconds} s)`);
    if (values.stories && story) console.log(story.replaceAll(/^/gm, '    '));
  } finally {
    await writeFile(path, source);
  }
}

function run(copy, files) {
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
