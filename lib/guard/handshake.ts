import {
  type CanActivate,
  type ExecutionContext,
  ForbiddenException,
  HttpException,
  type Type,
} from '@nestjs/common';
import { isObservable, lastValueFrom } from 'rxjs';
import type { HttpRequest } from '../http/messages.js';
import { logger } from '../util/logger.js';

/** The requests that connections began with, by client. */
const requests = new WeakMap<object, HttpRequest>();

/** Notes the request that a connection began with. */
export function rememberHandshake(client: object, request: HttpRequest): void {
  requests.set(client, request);
}

/** The request that a connection began with. @returns `undefined` when it is not known */
export function handshakeOf(client: object): HttpRequest | undefined {
  return requests.get(client);
}

/** What is checked when a client connects to a gateway. */
export interface GatewayCheck {
  /** The class of the gateway. */
  readonly type: Type;
  /** The guards of all its messages. They must accept the client. */
  readonly required: readonly CanActivate[];
  /** The guards of single messages. A session that they find is kept, so that it need not be looked for with each message. */
  readonly offered: readonly CanActivate[];
}

/** Stands for the handler where a gateway has none of its own. */
function handleConnection(): void {}

/** Stands for the handlers of a gateway that have a guard of their own. */
function handleMessage(): void {}

/**
 * Checks a client that connects, as Nest would have its messages checked.
 *
 * @throws what the guards throw; {@link ForbiddenException} where they only say no
 */
export async function checkHandshake(
  client: object,
  { type, required, offered }: GatewayCheck,
): Promise<void> {
  for (const guard of offered) {
    // Whatever is wrong, the guard says so again when a message comes.
    await accepts(guard, handshakeContext(client, type, handleMessage)).catch(() => undefined);
  }
  const { handleConnection: own } = type.prototype as { handleConnection?: typeof handleConnection };
  const context = handshakeContext(client, type, own ?? handleConnection);
  for (const guard of required) {
    if (!(await accepts(guard, context))) throw new ForbiddenException();
  }
}

async function accepts(guard: CanActivate, context: ExecutionContext): Promise<boolean> {
  const result = guard.canActivate(context);
  return isObservable(result) ? lastValueFrom(result) : result;
}

/** The context of a handshake. Nest has none, because it calls no guards there. */
function handshakeContext(client: object, type: Type, handler: () => void): ExecutionContext {
  const parameters = [client, handshakeOf(client)];
  const at = (index: number) => () => parameters[index];
  const context = {
    getClass: () => type,
    getHandler: () => handler,
    getType: () => 'ws',
    getArgs: () => parameters,
    getArgByIndex: (index: number) => parameters[index],
    switchToWs: () => ({ getClient: at(0), getData: at(2), getPattern: () => handler.name }),
    switchToHttp: () => ({ getRequest: at(0), getResponse: at(1), getNext: at(2) }),
    switchToRpc: () => ({ getData: at(0), getContext: at(1) }),
  };
  return context as ExecutionContext;
}

/** How a client is told that it may not connect. */
export interface Refusal {
  /** Of a WebSocket: 4000 + the HTTP status. 4000 to 4999 are for applications (RFC 6455, 7.4.2). */
  readonly closeCode: number;
  /** Of a WebSocket: the error's code, or a few words. */
  readonly reason: string;
  readonly message: string;
  /** The body that a response would have. */
  readonly body: object;
}

/** The most characters of a reason. It may have 123 bytes (RFC 6455, 5.5), and a character up to 3. */
const LONGEST_REASON = 41;

/** @param error whatever a guard has thrown */
export function refusalOf(error: unknown): Refusal {
  if (error instanceof HttpException) return refusal(error.getStatus(), error.getResponse());
  if (isWsException(error)) return refusal(403, error.getError());
  logger.error('A client could not be checked when it connected.', error);
  return refusal(500, 'Internal server error');
}

function refusal(statusCode: number, response: string | object): Refusal {
  const body = typeof response === 'string' ? { statusCode, message: response } : response;
  const { code, message } = body as { readonly code?: unknown; readonly message?: unknown };
  const text = String(message);
  const reason = (typeof code === 'string' ? code : text).slice(0, LONGEST_REASON);
  return { closeCode: 4_000 + statusCode, reason, message: text, body };
}

/** The exception of `@nestjs/websockets`, which an application need not have. */
function isWsException(error: unknown): error is { getError(): string | object } {
  return error instanceof Error && 'getError' in error && typeof error.getError === 'function';
}
