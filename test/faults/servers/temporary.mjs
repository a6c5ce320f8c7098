// What servers need for a while: a user, a folder, a disk. All is removed when this process ends.
import { execFileSync } from 'node:child_process';
import { chownSync, mkdtempSync, rmSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { atExit } from './at-exit.mjs';

/** Whether this process is root, who may become others, mount disks and forbid changes of files. */
export function isRoot() {
  return process.getuid?.() === 0;
}

/**
 * Who runs a server: root may not run most of them.
 *
 * @param name of a user of this machine
 * @returns options for `spawn`: empty where this process is not root's
 */
export function runAs(name) {
  if (!isRoot()) return {};
  const idOf = (kind) => Number(execFileSync('id', [kind, name], { encoding: 'utf8' }));
  return { uid: idOf('-u'), gid: idOf('-g') };
}

/** A new folder in the system's folder for temporary files. */
export function temporaryFolder(name, { uid, gid } = {}) {
  const path = mkdtempSync(join(tmpdir(), `session-tokens-faults-${name}-`));
  if (uid !== undefined) chownSync(path, uid, gid);
  // A process that has been killed may write something yet.
  const undo = () => rmSync(path, { recursive: true, force: true, maxRetries: 20, retryDelay: 50 });
  return { path, remove: removal(undo) };
}

/** The same on a disk of its own. Only root can make one. */
export function temporaryDisk(name, megabytes, { uid = 0, gid = 0 } = {}) {
  const folder = temporaryFolder(name);
  const { path } = folder;
  execFileSync('mount', ['-t', 'tmpfs', '-o', `size=${megabytes}m,uid=${uid},gid=${gid}`, 'tmpfs', path]);
  // Processes that were killed may still hold its files.
  const unmount = removal(() => execFileSync('umount', ['--lazy', path]));
  return {
    path,
    remove() {
      unmount();
      folder.remove();
    },
  };
}

/** What undoes something now, or when this process ends. */
function removal(undo) {
  const forget = atExit(undo);
  return () => {
    undo();
    forget();
  };
}
