/** Allows any JSON as claims and data. Their types are objects unless the application registers a type. */
export const untyped = (value: unknown): object => value as object;
