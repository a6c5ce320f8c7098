/** Freezes a value and all values in it, except sets and maps. */
export function deepFreeze<T>(value: T): T {
  if (typeof value !== 'object' || value === null || Object.isFrozen(value)) return value;
  for (const each of Object.values(value)) {
    if (!(each instanceof Set || each instanceof Map)) deepFreeze(each as unknown);
  }
  return Object.freeze(value);
}
