import { startMariadb, hasMariadb } from '../servers/mariadb.mjs';
import { startSqlite } from '../servers/sqlite.mjs';

const DATABASE = 'sessions';

/** Each process is told to end, and a new one takes its place when it has. Nobody may notice. */
async function roll(stage) {
  for (const application of stage.applications) {
    await application.terminate();
    await application.start();
    await stage.pause(1_000);
  }
}

const allowed = { errors: 0, cut: 0 };

const deployment = (name, databases) => ({
  name: `deployment: one process after the other, ${name}`,
  quick: name === 'SQLite',
  setUp: async (stage) => ({ databases: await databases(stage), allowed, fault: () => roll(stage) }),
});

/** @type {import('../stage.mjs').Scenario[]} */
export const scenarios = [
  deployment('SQLite', async (stage) => {
    const file = await startSqlite();
    stage.onEnd(() => file.remove());
    return file.options;
  }),
  ...(hasMariadb()
    ? [
        deployment('MariaDB', async (stage) => {
          const server = await startMariadb();
          stage.onEnd(() => server.remove());
          await server.createDatabase(DATABASE);
          return { type: 'mariadb', url: server.url(DATABASE) };
        }),
      ]
    : []),
];
