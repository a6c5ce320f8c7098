import type { ExecutionContext } from '@nestjs/common';
import { ExecutionContextHost } from '@nestjs/core/helpers/execution-context-host.js';
import { describe, expect, it } from 'vitest';
import { UnsupportedContextError } from '../errors/session.errors.js';
import { exchangeOf } from './exchange-of.js';

const request = { headers: { cookie: 'a=1' } };
const response = { headersSent: false, getHeader: () => undefined, setHeader: () => undefined };

function contextOf(type: string, args: unknown[]): ExecutionContext {
  const context = new ExecutionContextHost(args);
  context.setType(type);
  return context;
}

describe('the request and response of a context', () => {
  it.each<[what: string, type: string, args: unknown[]]>([
    ['HTTP', 'http', [request, response, () => undefined]],
    [
      'GraphQL: Apollo on Express, or a context of { req, res }',
      'graphql',
      [{}, {}, { req: request, res: response }, {}],
    ],
    [
      'GraphQL: Express’s request leads to its response',
      'graphql',
      [{}, {}, { req: { ...request, res: response } }, {}],
    ],
    ['GraphQL: Apollo on Fastify', 'graphql', [{}, {}, { request, reply: response }, {}]],
    ['GraphQL: Mercurius', 'graphql', [{}, {}, { app: {}, reply: { ...response, request } }, {}]],
  ])('%s', (_, type, args) => {
    const exchange = exchangeOf(contextOf(type, args));
    expect(exchange.request.headers).toBe(request.headers);
    expect(exchange.response).toMatchObject({ headersSent: false });
  });

  it.each<[what: string, type: string, args: unknown[]]>([
    ['GraphQL: a subscription of graphql-ws', 'graphql', [{}, {}, { extra: { request } }, {}]],
    ['GraphQL: a context with a request alone', 'graphql', [{}, {}, { req: request }, {}]],
    ['Socket.IO', 'ws', [{ request, handshake: { headers: {} } }, 'data']],
    ['Socket.IO, the handshake alone', 'ws', [{ handshake: request }, 'data']],
    ['ws, where the gateway keeps the request', 'ws', [{ request }, 'data']],
  ])('%s: nothing can be given to the client', (_, type, args) => {
    const exchange = exchangeOf(contextOf(type, args));
    expect(exchange.request.headers).toBe(request.headers);
    expect(exchange.response).toMatchObject({ headersSent: true });
  });

  it.each<[what: string, type: string, args: unknown[], wayOut: RegExp]>([
    ['GraphQL without a request', 'graphql', [{}, {}, {}, {}], /context: \(req, res\) => \(\{ req, res \}\)/],
    ['GraphQL without a context', 'graphql', [{}, {}], /context: \(req, res\)/],
    [
      'GraphQL, with the request that came first',
      'graphql',
      [{}, {}, { req: request, res: { ...response, writableEnded: true } }],
      /another request\. .*context: \(req, res\)/,
    ],
    [
      'GraphQL, with the request of another reply',
      'graphql',
      [
        {},
        {},
        { req: { ...request, raw: {} }, reply: { ...response, raw: {}, request: { ...request, raw: {} } } },
      ],
      /another request\. .*context: \(req, res\)/,
    ],
    ['ws without the request', 'ws', [{}, 'data'], /client\.request = request/],
    ['a microservice', 'rpc', [{ some: 'data' }, {}], /@SkipSession\(\).*getExchange\(\)/],
    ['what Nest does not know yet', 'telnet', ['data'], /@SkipSession\(\).*getExchange\(\)/],
  ])('%s: says what to do', (_, type, args, wayOut) => {
    let error: unknown;
    try {
      exchangeOf(contextOf(type, args));
    } catch (thrown) {
      error = thrown;
    }
    expect(error).toBeInstanceOf(UnsupportedContextError);
    expect(error).toMatchObject({
      code: 'unsupported_context',
      message: expect.stringMatching(wayOut) as string,
    });
  });
});
