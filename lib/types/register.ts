import type { JsonObject } from './json.js';

/**
 * What an application puts into its sessions. Augment it, and every type of this package knows:
 *
 * - `claims`: what is in access tokens. @default `JsonObject`
 * - `userId`: `string`, `number`, or a narrower type. @default `string | number`
 * - `data`: what stays in the database. @default `JsonObject`
 *
 * Where two modules of one application differ, leave it alone and name the types where they are used:
 * `ActiveSession<AdminClaims>`.
 *
 * @example
 * ```ts
 * declare module 'nestjs-session-tokens' {
 *   interface Register {
 *     claims: { role: 'admin' | 'user' };
 *     userId: string;
 *     data: { theme: string };
 *   }
 * }
 * ```
 */
export interface Register {}

/** A user's id: a non-empty string or a safe integer. It comes back as what it was: `1` and `'1'` are two users. */
export type UserId = Register extends { userId: infer T extends string | number } ? T : string | number;

/** The application's claims, which access tokens carry. */
export type SessionClaims = Register extends { claims: infer T } ? T : JsonObject;

/** The application's data, which stays in the database. */
export type SessionData = Register extends { data: infer T } ? T : JsonObject;

/** What may be written where `T` is read. Without a type of the application's own, any object. */
export type Written<T> = JsonObject extends T ? object : T;

/** The value itself, or what a function makes, as `Awaited` gives it. */
type Made<TNext> = TNext extends (...present: never[]) => infer T ? Awaited<T> : TNext;

/** A new value, or a function that makes it from the present one. The function may be called again when another writer was faster. */
export type Update<T> = Written<T> | ((present: T) => Written<T> | Promise<Written<T>>);

/**
 * Makes the compiler refuse members that the application's type does not have. It looks for them in object literals by itself,
 * but not in what functions return.
 */
export type OnlyMembersOf<T, TNext> = JsonObject extends T
  ? object
  : [Exclude<keyof Made<TNext>, keyof T>] extends [never]
    ? unknown
    : { unknownMember: Exclude<keyof Made<TNext>, keyof T> };
