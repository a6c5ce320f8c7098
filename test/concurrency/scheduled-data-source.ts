import type { Scheduler } from 'fast-check';
import type { DataSource, EntityTarget, ObjectLiteral, QueryRunner, Repository } from 'typeorm';

const STATEMENTS: ReadonlySet<string | symbol> = new Set(['find', 'findOneBy', 'insert', 'update', 'delete']);

/** Decides when each statement begins. */
export interface Timing {
  scheduler: Scheduler | undefined;
}

/** A data source whose every statement waits for the scheduler: between any two, everything else may happen. */
export function scheduled(dataSource: DataSource, timing: Timing): DataSource {
  return new Proxy(dataSource, {
    get(target, property) {
      if (property === 'createQueryRunner') return () => scheduledRunner(target.createQueryRunner(), timing);
      if (property !== 'getRepository') return Reflect.get(target, property) as unknown;
      return <T extends ObjectLiteral>(entity: EntityTarget<T>) =>
        scheduledRepository(target.getRepository(entity), timing);
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

function scheduledRepository<T extends ObjectLiteral>(
  repository: Repository<T>,
  timing: Timing,
): Repository<T> {
  return new Proxy(repository, {
    get(target, property) {
      const value = Reflect.get(target, property) as unknown;
      if (typeof value !== 'function' || !STATEMENTS.has(property)) return value;
      const method = value as (...parameters: unknown[]) => unknown;
      return async (...parameters: unknown[]) => {
        await timing.scheduler?.schedule(Promise.resolve(), String(property));
        return method.apply(target, parameters);
      };
    },
  });
}
