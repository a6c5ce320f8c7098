import type { INestApplicationContext } from '@nestjs/common';
import { answersOfGuards, answersOfRoute, ERROR_BODY, responsesOf } from './answers.js';
import type { Description, OpenApiDocument, Operation } from './document.js';
import { GuardsOfRoutes } from './guards-of-routes.js';
import { takeMarks, whileMarked } from './marks.js';
import { describeReadyMade } from './ready-made.js';
import { SecuritySchemes } from './schemes.js';

export type { OpenApiDocument } from './document.js';

/**
 * Describes sessions in an OpenAPI document. Every operation behind a `SessionGuard` gets its security schemes (the cookie by
 * its real name, the bearer token), and the responses by which the guard may refuse it, with their codes. The ready-made routes
 * get their answers. What the application has declared itself stays: its responses, and the security of an operation.
 *
 * It needs no options, because it reads guards and decorators as Nest does. It does not import `@nestjs/swagger`.
 *
 * @param createDocument makes the document. It is called once
 * @returns the document of `createDocument`
 * @throws TypeError when `createDocument` is no function
 * @example
 * ```ts
 * const document = withSessions(app, () => SwaggerModule.createDocument(app, config));
 * SwaggerModule.setup('api', app, document);
 * ```
 */
export function withSessions<T extends OpenApiDocument>(
  app: INestApplicationContext,
  createDocument: () => T,
): T {
  if (typeof createDocument !== 'function') {
    throw new TypeError(
      'withSessions() makes the document itself: withSessions(app, () => SwaggerModule.createDocument(app, config)).',
    );
  }
  const routes = new GuardsOfRoutes(app);
  const { targets } = routes;
  const document = whileMarked(targets, createDocument);
  const description = document as unknown as Description;
  const { schemas, securitySchemes } = description.components ?? {};
  const schemes = new SecuritySchemes();
  const errorName = freeName('SessionError', schemas ?? {});
  const describe = describer(routes, schemes, `#/components/schemas/${errorName}`);
  for (const item of Object.values(description.paths)) {
    for (const [method, operation] of Object.entries(item)) {
      const [controller, handler] = takeMarks(operation, targets);
      if (controller && handler) describe(operation, method, controller, handler);
    }
  }
  // A webhook is a request to somebody else. No guard of the application sees it.
  for (const item of Object.values(description.webhooks ?? {})) {
    for (const operation of Object.values(item)) takeMarks(operation, targets);
  }
  description.components = {
    ...description.components,
    schemas: { ...schemas, [errorName]: ERROR_BODY },
    securitySchemes: { ...schemes.all, ...securitySchemes },
  };
  return document;
}

/** @param body reference to the schema of all errors */
function describer(routes: GuardsOfRoutes, schemes: SecuritySchemes, body: string) {
  return (operation: Operation, method: string, controller: object, handler: object): void => {
    const readyMade = routes.readyMade(controller);
    const requests = routes.requestsTo(controller, handler, method);
    if (readyMade) describeReadyMade(operation, readyMade, schemes);
    else if (requests.length > 0) operation.security ??= schemes.ofGuards(requests);
    const codes = readyMade ? answersOfRoute(readyMade) : answersOfGuards(requests);
    const modules = readyMade ? [readyMade.facts] : requests.map(({ facts }) => facts);
    operation.responses = { ...responsesOf(codes, body, modules), ...operation.responses };
  };
}

/** A name that the application has not given to a schema of its own. */
function freeName(name: string, schemas: object): string {
  return name in schemas ? freeName(`${name}_`, schemas) : name;
}
