import type { Scheduler } from 'fast-check';
import type { DataSource, Driver, QueryRunner } from 'typeorm';

/** Decides when each statement begins. */
export interface Timing {
  scheduler: Scheduler | undefined;
}

/** A data source whose statements all wait for the scheduler. Between any two, everything else may happen. */
export function scheduled(dataSource: DataSource, timing: Timing): DataSource {
  return new Proxy(dataSource, {
    get(target, property) {
      if (property === 'driver') return scheduledDriver(target.driver, timing);
      if (property === 'createQueryRunner') return () => scheduledRunner(target.createQueryRunner(), timing);
      return Reflect.get(target, property) as unknown;
    },
  });
}

/** Prepared statements go to the driver's pool. */
function scheduledDriver(driver: Driver, timing: Timing): Driver {
  return new Proxy(driver, {
    get(target, property) {
      const value = Reflect.get(target, property) as unknown;
      if (property !== 'master' || !value) return value;
      const pool = value as { Client: unknown; query: (config: { text: string }) => Promise<unknown> };
      return {
        Client: pool.Client,
        async query(config: { text: string }): Promise<unknown> {
          await timing.scheduler?.schedule(Promise.resolve(), config.text.slice(0, 6));
          return pool.query(config);
        },
      };
    },
  });
}

function scheduledRunner(runner: QueryRunner, timing: Timing): QueryRunner {
  return new Proxy(runner, {
    get(target, property) {
      const value = Reflect.get(target, property) as unknown;
      if (typeof value !== 'function') return value;
      const method = value as (...parameters: unknown[]) => unknown;
      if (property !== 'query') return method.bind(target);
      return async (...parameters: unknown[]) => {
        await timing.scheduler?.schedule(Promise.resolve(), String(parameters[0]).slice(0, 6));
        return method.apply(target, parameters);
      };
    },
  });
}
