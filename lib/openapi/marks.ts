import type { Operation } from './document.js';

/** Where `@nestjs/swagger` (11 and 12) has what `@ApiSecurity()` says. The package does not import it, and so needs no copy. */
const SECURITY = 'swagger/apiSecurity';

/** The name of a mark among the requirements of an operation. */
const MARK = 'nestjs-session-tokens';

type Requirements = NonNullable<Operation['security']>;

/**
 * Calls a function that describes controllers and their handlers, and marks what it says of each. An operation then has the
 * marks of its controller and of its handler, whatever its path, its version and its name are.
 *
 * @param targets controllers and handlers
 */
export function whileMarked<T>(targets: readonly object[], describe: () => T): T {
  // All are read before one is written, because classes inherit metadata.
  const found = targets.map((target) => ({
    target,
    own: Reflect.getOwnMetadata(SECURITY, target) as Requirements | undefined,
    all: (Reflect.getMetadata(SECURITY, target) ?? []) as Requirements,
  }));
  for (const [index, { target, all }] of found.entries()) {
    Reflect.defineMetadata(SECURITY, [...all, { [MARK]: [String(index)] }], target);
  }
  try {
    return describe();
  } finally {
    for (const { target, own } of found) {
      if (own === undefined) Reflect.deleteMetadata(SECURITY, target);
      else Reflect.defineMetadata(SECURITY, own, target);
    }
  }
}

/** Removes the marks of an operation. @returns the targets that have left them */
export function takeMarks(operation: Operation, targets: readonly object[]): object[] {
  const { security = [] } = operation;
  const declared = security.filter((each) => !(MARK in each));
  if (declared.length > 0) operation.security = declared;
  else delete operation.security;
  return security.flatMap((each) => each[MARK] ?? []).map((index) => targets[Number(index)]!);
}
