/** Claims and data are typed as objects unless the application registers a type; at run time they are any JSON. */
export const untyped = (value: unknown): object => value as object;
