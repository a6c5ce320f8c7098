import { Module, type ModuleMetadata } from '@nestjs/common';
import type { NestExpressApplication } from '@nestjs/platform-express';
import { readEnvironment } from '../../support/environment.js';
import { BareController, nestServer } from '../../support/nest.js';
import { serve } from '../../support/serve.js';
import { queryCount } from './query-count.js';

interface PeerServer extends ModuleMetadata {
  /** What a reader of the results should know; the tables have it as a remark. */
  readonly description: string;
  /** Middleware and filters: what the peer's documentation has in `main.ts`. */
  readonly configure?: (app: NestExpressApplication) => unknown;
}

@Module({})
class PeerModule {}

/** Runs a peer in a Nest application on Express, which is where all of them can run. */
export function servePeer({ description, configure, ...metadata }: PeerServer): void {
  const { adapter } = readEnvironment();
  if (adapter !== 'express') throw new Error(`Peers run on Express, not on "${adapter}".`);

  const controllers = [BareController, ...(metadata.controllers ?? [])];
  const server = nestServer(() => ({ module: PeerModule, ...metadata, controllers }), {
    description,
    queries: queryCount,
    configure: (app) => {
      // Production stands behind a proxy that ends TLS: with `X-Forwarded-Proto: https`, cookies are `Secure`.
      const express = app as NestExpressApplication;
      express.set('trust proxy', 1);
      return configure?.(express);
    },
  });
  serve(server);
}
