/** Freezes a value with all that is in it, sets and maps left as they are. */
export function deepFreeze<T>(value: T): T {
  if (typeof value !== 'object' || value === null || Object.isFrozen(value)) return value;
  for (const each of Object.values(value)) {
    if (!(each instanceof Set || each instanceof Map)) deepFreeze(each as unknown);
  }
  return Object.freeze(value);
}
