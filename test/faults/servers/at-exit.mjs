/** What this process has started or made, and how to be rid of it. */
const undos = new Set();

process.once('exit', () => {
  // Servers go before the folders that they write to.
  for (const undo of [...undos].toReversed()) undo();
});
for (const [signal, number] of [
  ['SIGINT', 2],
  ['SIGTERM', 15],
  ['SIGHUP', 1],
]) {
  // Not once: a second signal would end this process in the middle of it.
  process.on(signal, () => process.exit(128 + number));
}

/**
 * Has something undone when this process ends, also when it fails or is interrupted.
 *
 * @param {() => void} undo must not wait for anything
 * @returns {() => void} forgets it, because it has been undone
 */
export function atExit(undo) {
  undos.add(undo);
  return () => undos.delete(undo);
}
