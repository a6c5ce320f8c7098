/**
 * Calls a function with a value, or with the result of a promise.
 *
 * @returns a promise only if the value or the function's result is one
 */
export function andThen<T, U>(value: T | Promise<T>, next: (value: T) => U | Promise<U>): U | Promise<U> {
  return value instanceof Promise ? value.then(next) : next(value);
}
