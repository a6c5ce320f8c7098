const MAX_DEPTH = 64;

/**
 * Why a value is not JSON, or `undefined` when it is. `JSON.stringify` silently drops or changes such values (NaN, dates,
 * functions, maps). A property that is `undefined` is allowed, because `JSON.stringify` leaves it out as everybody expects.
 */
export function whyNotJson(value: unknown, path = 'the value', depth = 0): string | undefined {
  switch (typeof value) {
    case 'string':
    case 'boolean':
      return undefined;
    case 'number':
      return Number.isFinite(value) ? undefined : `${path} is ${value}`;
    case 'object':
      break;
    default:
      return `${path} is ${typeof value === 'undefined' ? 'undefined' : `a ${typeof value}`}`;
  }
  if (value === null) return undefined;
  if (depth === MAX_DEPTH) return `${path} is nested deeper than ${MAX_DEPTH} levels, or contains itself`;
  if (Array.isArray(value)) {
    return firstOf(value.entries(), ([index, each]) => whyNotJson(each, `${path}[${index}]`, depth + 1));
  }
  const isRecord = Object.prototype.toString.call(value) === '[object Object]';
  if (!isRecord || typeof (value as { toJSON?: unknown }).toJSON === 'function') {
    return `${path} is a ${value.constructor?.name ?? 'special object'}, not a plain object`;
  }
  return firstOf(Object.entries(value), ([key, each]) =>
    each === undefined ? undefined : whyNotJson(each, `${path}.${key}`, depth + 1),
  );
}

function firstOf<T>(items: Iterable<T>, check: (item: T) => string | undefined): string | undefined {
  for (const item of items) {
    const found = check(item);
    if (found !== undefined) return found;
  }
  return undefined;
}
