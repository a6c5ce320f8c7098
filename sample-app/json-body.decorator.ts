import { BadRequestException, createParamDecorator, type ExecutionContext } from '@nestjs/common';
import type { HttpRequest, JsonValue } from 'nestjs-session-tokens';

/**
 * The body, which has to be JSON. Other types are refused: forms can be sent by any site's page without asking the
 * browser for permission, JSON cannot.
 */
export const JsonBody = createParamDecorator((_: unknown, context: ExecutionContext): JsonValue => {
  const { body, headers } = context.switchToHttp().getRequest<HttpRequest & { body?: JsonValue }>();
  // Express takes an empty body for {}.
  if (body === undefined || headers['content-length'] === '0') throw badRequest('Send a JSON body.');
  return body;
});

/** 400 with the code `invalid_body`. */
export function badRequest(message: string): BadRequestException {
  return new BadRequestException({ statusCode: 400, code: 'invalid_body', message });
}
