// Files of SQLite, and what may happen to them.
import { execFile } from 'node:child_process';
import { existsSync } from 'node:fs';
import { mkdtemp, rm, statfs, writeFile } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { promisify } from 'node:util';
import Database from 'libsql';

const run = promisify(execFile);

/** Whether this process may mount a small disk, and forbid changes of files: both need root. */
export function mayMount() {
  return process.platform === 'linux' && process.getuid() === 0;
}

/** A database in a temporary folder. */
export async function startSqlite() {
  const folder = await mkdtemp(join(tmpdir(), 'session-tokens-sqlite-'));
  return new SqliteFile(folder, () => rm(folder, { recursive: true, force: true }));
}

/** The same on a disk of its own. @param megabytes its size */
export async function startSqliteOnDisk(megabytes) {
  const folder = await mkdtemp(join(tmpdir(), 'session-tokens-sqlite-'));
  await run('mount', ['-t', 'tmpfs', '-o', `size=${megabytes}m`, 'tmpfs', folder]);
  return new SqliteFile(folder, async () => {
    // Processes that were killed may still hold its files.
    await run('umount', ['--lazy', folder]);
    await rm(folder, { recursive: true, force: true });
  });
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
    return () => run('chattr', ['-i', ...files]);
  }
}
