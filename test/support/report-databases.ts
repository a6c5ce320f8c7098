import { databases } from './databases.js';

/** Says at the end which databases the suites ran on, so that a run without a server cannot pass for one with it. */
export default function setup(): () => void {
  return () => {
    console.log(`\nDatabases tested: ${databases.map(({ name }) => name).join(', ')}`);
  };
}
