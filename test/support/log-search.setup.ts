import { subscribe } from 'node:diagnostics_channel';
import type { IncomingMessage } from 'node:http';
import { Logger } from '@nestjs/common';
import { expect } from 'vitest';
import { handToSearch, keepSecret } from './log-search.js';

/*
 * Most test applications have a logger that is silent, or that keeps its lines. So each message is taken where Nest's
 * loggers get it, before anything is done with it and whatever its level.
 */
for (const logger of [Logger, Logger.prototype]) {
  for (const level of ['log', 'error', 'warn', 'debug', 'verbose', 'fatal'] as const) {
    const write = logger[level] as (...parts: unknown[]) => void;
    logger[level] = function (this: unknown, ...parts: unknown[]) {
      handToSearch(expect.getState().testPath ?? 'a suite', ...parts);
      write.apply(this, parts);
    };
  }
}

// CSRF tokens look like any other text. Those that clients are given are searched for.
subscribe('http.client.response.finish', (message) => {
  const { headers } = (message as { response: IncomingMessage }).response;
  for (const [name, value] of Object.entries(headers)) {
    if (/csrf|xsrf/.test(name)) keepSecret(value);
  }
});
