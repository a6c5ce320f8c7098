/**
 * Goes on with a value that may still have to be waited for.
 *
 * @returns a promise only where there is one to wait for
 */
export function andThen<T, U>(value: T | Promise<T>, next: (value: T) => U | Promise<U>): U | Promise<U> {
  return value instanceof Promise ? value.then(next) : next(value);
}
