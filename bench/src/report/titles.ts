import type { Adapter } from '../servers/support/environment.js';

/** An adapter's name as its project writes it. */
export function titleOf(adapter: Adapter): string {
  return adapter === 'express' ? 'Express' : 'Fastify';
}
