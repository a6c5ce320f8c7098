export { type MemorySessionsOptions, withMemorySessions } from './with-memory-sessions.js';
export { type ClientState, signIn, type SignInOptions } from './sign-in.js';
export type { TestClient } from './test-client.js';
export type { TestSessionInput } from './test-session-input.js';
export { guardFor, sessionFor } from './session-for.js';
