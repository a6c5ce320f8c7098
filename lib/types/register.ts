import type { JsonObject } from './json.js';

/**
 * The types that an application stores in its sessions. Augment this interface, and every type of this package uses them:
 *
 * - `claims`: the claims in access tokens. @default `JsonObject`
 * - `userId`: `string`, `number`, or a narrower type. @default `string | number`
 * - `data`: the data that stays in the database. @default `JsonObject`
 *
 * If two modules of one application need different types, do not augment it. Name the types where you use them, such as
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

/** A user's id: a non-empty string or a safe integer. Its type is kept: `1` and `'1'` are two users. */
export type UserId = Register extends { userId: infer T extends string | number } ? T : string | number;

/** The application's claims in access tokens. */
export type SessionClaims = Register extends { claims: infer T } ? T : JsonObject;

/** The application's data in the database. */
export type SessionData = Register extends { data: infer T } ? T : JsonObject;

/** The type to write where `T` is read. If the application has not registered a type, this is any object. */
export type Written<T> = JsonObject extends T ? object : T;

/** The type of the value, or of the awaited result of the function. */
type Made<TNext> = TNext extends (...present: never[]) => infer T ? Awaited<T> : TNext;

/**
 * A new value, or a function that makes it from the present value. The function is called again if another request has
 * written first.
 */
export type Update<T> = Written<T> | ((present: T) => Written<T> | Promise<Written<T>>);

/**
 * Makes the compiler refuse members that the application's type does not have. The compiler checks object literals by
 * itself, but not the results of functions.
 */
export type OnlyMembersOf<T, TNext> = JsonObject extends T
  ? object
  : [Exclude<keyof Made<TNext>, keyof T>] extends [never]
    ? unknown
    : { unknownMember: Exclude<keyof Made<TNext>, keyof T> };
