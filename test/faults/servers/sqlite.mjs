// Files of SQLite, and what may happen to them.
import { execFile, execFileSync } from 'node:child_process';
import { existsSync, rmSync } from 'node:fs';
import { mkdtemp, rm, statfs, writeFile } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { promisify } from 'node:util';
import Database from 'libsql';
import { atExit } from './at-exit.mjs';

const run = promisify(execFile);

/** Whether this process may mount a small disk, and forbid changes of files: both need root. */
export function mayMount() {
  return process.platform === 'linux' && process.getuid() === 0;
}

/** A database in a temporary folder. */
export async function startSqlite() {
  const { folder, removeFolder } = await createFolder();
  return new SqliteFile(folder, removeFolder);
}

/** The same on a disk of its own. @param megabytes its size */
export async function startSqliteOnDisk(megabytes) {
  const { folder, removeFolder } = await createFolder();
  await run('mount', ['-t', 'tmpfs', '-o', `size=${megabytes}m`, 'tmpfs', folder]);
  // Processes that were killed may still hold its files.
  const unmount = ['--lazy', folder];
  const forget = atExit(() => execFileSync('umount', unmount));
  return new SqliteFile(folder, async () => {
    await run('umount', unmount);
    forget();
    await removeFolder();
  });
}

async function createFolder() {
  const folder = await mkdtemp(join(tmpdir(), 'session-tokens-sqlite-'));
  const removal = { recursive: true, force: true };
  const forget = atExit(() => rmSync(folder, removal));
  return {
    folder,
    removeFolder: async () => {
      await rm(folder, removal);
      forget();
    },
  };
}

class SqliteFile {
  constructor(folder, remove) {
    this.folder = folder;
    this.remove = remove;
    this.path = join(folder, 'sessions.sqlite');
  }

  get options() {
    return { type: 'better-sqlite3', database: this.path, enableWAL: true };
  }

  /** Another process writes, and does not commit. @returns how to end that */
  takeWriteLock() {
    const connection = new Database(this.path, { timeout: 5_000 });
    connection.exec('BEGIN IMMEDIATE');
    return () => {
      connection.exec('ROLLBACK');
      connection.close();
    };
  }

  /** Fills the disk to the last byte. @returns how to make room again */
  async fillDisk() {
    // The log has room that it would use again.
    const connection = new Database(this.path, { timeout: 5_000 });
    connection.prepare('PRAGMA wal_checkpoint(TRUNCATE)').all();
    connection.close();
    const filling = join(this.folder, 'filling');
    const { bavail, bsize } = await statfs(this.folder);
    await writeFile(filling, Buffer.alloc(bavail * bsize));
    return () => rm(filling);
  }

  /** Nobody may change the files, whatever they have open. @returns how to allow it again */
  async forbidChanges() {
    const files = ['', '-wal'].map((suffix) => this.path + suffix).filter((file) => existsSync(file));
    await run('chattr', ['+i', ...files]);
    const forget = atExit(() => execFileSync('chattr', ['-i', ...files]));
    return async () => {
      await run('chattr', ['-i', ...files]);
      forget();
    };
  }
}
