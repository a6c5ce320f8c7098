import { setImmediate as turn } from 'node:timers/promises';
import type { DataSource, EntitySubscriberInterface } from 'typeorm';
import type { Connection } from './world.js';

/** Runs before each statement of a connection; the statement waits for it. */
export function beforeQuery(dataSource: DataSource, hook: (query: string) => Promise<void>): void {
  const subscriber: EntitySubscriberInterface = { beforeQuery: ({ query }) => hook(query) };
  dataSource.subscribers.push(subscriber);
}

/** Lets the statements of these connections run one after the other, in an order that chance decides. */
export function shuffleStatements(connections: readonly Connection[], random: () => number): void {
  const waiting: (() => void)[] = [];
  let isRunning = false;
  let finished: (() => void) | undefined;

  const run = async () => {
    isRunning = true;
    while (waiting.length > 0) {
      // Time for whoever is not waiting for the database to come to its next statement.
      for (let turns = 0; turns < 5; turns++) await turn();
      const [release] = waiting.splice(Math.floor(random() * waiting.length), 1);
      const done = new Promise<void>((resolve) => {
        finished = resolve;
      });
      release!();
      await done;
    }
    isRunning = false;
  };
  const subscriber: EntitySubscriberInterface = {
    beforeQuery: () =>
      new Promise<void>((resolve) => {
        waiting.push(resolve);
        if (!isRunning) void run();
      }),
    afterQuery: () => finished?.(),
  };
  for (const { dataSource } of connections) dataSource.subscribers.push(subscriber);
}

/** The database is gone for this connection while this runs. */
export async function withoutDatabase<T>(
  { dataSource }: Pick<Connection, 'dataSource'>,
  action: () => Promise<T>,
): Promise<T> {
  await dataSource.destroy();
  try {
    return await action();
  } finally {
    await dataSource.initialize();
  }
}
