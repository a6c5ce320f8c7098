// Files of SQLite, and what may happen to them.
import { execFile, execFileSync } from 'node:child_process';
import { existsSync } from 'node:fs';
import { rm, statfs, writeFile } from 'node:fs/promises';
import { join } from 'node:path';
import { promisify } from 'node:util';
import Database from 'libsql';
import { atExit } from './at-exit.mjs';
import { temporaryDisk, temporaryFolder } from './temporary.mjs';

const run = promisify(execFile);

/** A database in a temporary folder. */
export async function startSqlite() {
  return new SqliteFile(temporaryFolder('sqlite'));
}

/** The same on a disk of its own. Only root can make one. @param megabytes its size */
export async function startSqliteOnDisk(megabytes) {
  return new SqliteFile(temporaryDisk('sqlite', megabytes));
}

class SqliteFile {
  constructor({ path, remove }) {
    this.folder = path;
    this.remove = remove;
    this.path = join(path, 'sessions.sqlite');
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
    await writeFile(filling, Buffer.alloc(bavail * bsize)).catch((error) => {
      // Somebody has written in between.
      if (error.code !== 'ENOSPC') throw error;
    });
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
