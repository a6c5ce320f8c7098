import { startSqlite, startSqliteOnDisk } from '../servers/sqlite.mjs';
import { isRoot } from '../servers/temporary.mjs';

/** Of a small disk, in megabytes. */
const DISK = 8;

const scenario = (name, start, fault, more = {}) => ({
  name: `sqlite: ${name}`,
  ...more,
  setUp: async (stage) => {
    const file = await start();
    stage.onEnd(() => file.remove());
    return { databases: file.options, ...more.setting, fault: () => fault({ stage, file }) };
  },
});

/** Requests must fail, or the fault is none. */
const BITES = { setting: { allowed: { leastErrors: 1 } } };

const all = [
  scenario(
    'kill -9, four times',
    startSqlite,
    async ({ stage }) => {
      for (let n = 0; n < 4; n++) {
        const application = stage.applications[n % stage.applications.length];
        await application.kill();
        await stage.pause(1_000);
        await application.start();
        await stage.pause(2_000);
      }
    },
    { quick: true },
  ),
  scenario(
    'another process holds the lock for 3 s, three times',
    startSqlite,
    async ({ stage, file }) => {
      for (let n = 0; n < 3; n++) {
        const giveBack = file.takeWriteLock();
        await stage.pause(3_000);
        giveBack();
        await stage.pause(2_000);
      }
    },
    { setting: { allowed: { times: 3, leastErrors: 1 } } },
  ),
];

/** They need root. */
const asRoot = [
  scenario(
    'full disk for 8 s',
    () => startSqliteOnDisk(DISK),
    async ({ stage, file }) => {
      const makeRoom = await file.fillDisk();
      await stage.pause(8_000);
      await makeRoom();
    },
    BITES,
  ),
  scenario(
    'the file may not be changed for 8 s',
    startSqlite,
    async ({ stage, file }) => {
      const allow = await file.forbidChanges();
      stage.onEnd(allow);
      await stage.pause(8_000);
      await allow();
    },
    BITES,
  ),
];

/** @type {import('../stage.mjs').Scenario[]} */
export const scenarios = [...all, ...(isRoot() ? asRoot : [])];
