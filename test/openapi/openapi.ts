import type { OpenAPIObject } from '@nestjs/swagger';
import { ERROR_BODY } from '../../lib/openapi/answers.js';
import type { Answer } from '../support/browser.js';

/** The parts of a schema that the suites read. */
interface Schema {
  readonly $ref?: string;
  readonly allOf?: readonly Schema[];
  readonly enum?: readonly unknown[];
  readonly properties?: Readonly<Record<string, Schema>>;
}

export interface Response {
  readonly description?: string;
  readonly headers?: Readonly<Record<string, object>>;
  readonly content?: Readonly<Record<string, { readonly schema?: Schema }>>;
}

export interface Operation {
  readonly operationId?: string;
  readonly security?: readonly Readonly<Record<string, readonly string[]>>[];
  readonly parameters?: readonly { readonly name?: string; readonly in?: string; readonly schema?: object }[];
  readonly responses: Readonly<Record<string, Response>>;
}

/** An operation of a document. @param name as `get /path` */
export function operationOf({ paths }: OpenAPIObject, name: string): Operation {
  const [method, path] = name.split(' ') as ['get', string];
  const found = paths[path]?.[method];
  if (!found) throw new Error(`No ${name} among ${Object.keys(paths).join(', ')}`);
  return found as unknown as Operation;
}

/** The codes by status of the responses that are errors of a session. */
export function answersOf({ responses }: Operation): Record<string, readonly unknown[]> {
  return Object.fromEntries(
    Object.entries(responses).flatMap(([status, { content }]) => {
      const codes = content?.['application/json']?.schema?.allOf?.[1]?.properties?.['code']?.enum;
      return codes ? [[status, codes]] : [];
    }),
  );
}

/** What OpenAPI forbids in a document, in the parts that are described here. */
export function problemsOf(document: OpenAPIObject): string[] {
  const problems: string[] = [];
  const ids = new Set<string>();
  const check = (isGood: unknown, problem: string) => {
    if (isGood === false || isGood === undefined) problems.push(problem);
  };
  const { schemas = {}, securitySchemes = {} } = document.components ?? {};
  for (const name of [...Object.keys(schemas), ...Object.keys(securitySchemes)]) {
    check(/^[a-zA-Z0-9.\-_]+$/.test(name), `${name} is no name of a component`);
  }
  for (const [path, item] of Object.entries(document.paths)) {
    check(path.startsWith('/'), `${path} is no path`);
    for (const [method, found] of Object.entries(item)) {
      const where = `${method} ${path}`;
      const { operationId, security = [], parameters = [], responses } = found as Operation;
      check(operationId !== undefined && !ids.has(operationId), `${where}: another operation has its id`);
      ids.add(operationId!);
      for (const name of security.flatMap((each) => Object.keys(each))) {
        check(name in securitySchemes, `${where}: no scheme ${name}`);
      }
      for (const { name, in: place, schema } of parameters) {
        check(name && place && schema, `${where}: a parameter lacks something`);
      }
      check(Object.keys(responses).length > 0, `${where}: no response`);
      for (const [status, { description, headers = {}, content = {} }] of Object.entries(responses)) {
        check(/^[1-5]\d\d$|^default$/.test(status), `${where}: ${status} is no status`);
        check(typeof description === 'string', `${where} ${status}: no description`);
        for (const header of Object.values(headers))
          check('schema' in header, `${where}: a header lacks a schema`);
        for (const { schema } of Object.values(content)) {
          check(schema, `${where} ${status}: no schema`);
          for (const { $ref } of schema?.allOf ?? []) {
            if ($ref) check($ref.replace('#/components/schemas/', '') in schemas, `${where}: no ${$ref}`);
          }
        }
      }
    }
  }
  for (const [name, scheme] of Object.entries(securitySchemes)) {
    const { type, in: place, name: key, scheme: kind } = scheme as unknown as Record<string, unknown>;
    const isGood =
      type === 'apiKey' ? ['cookie', 'header'].includes(String(place)) && key : type === 'http' && kind;
    check(Boolean(isGood), `${name} is no security scheme`);
  }
  // A mark that was left.
  check(!JSON.stringify(document).includes('nestjs-session-tokens'), 'a mark is left');
  return problems;
}

/** What an answer has that its description lacks, or the other way round. */
export function fits({ responses }: Operation, { status, headers, body }: Answer): string[] {
  const described = responses[status];
  if (!described) return [`${status} is not described`];
  const names = Object.keys(described.headers ?? {});
  const problems = names.filter((name) => !headers.has(name)).map((name) => `no header ${name}`);
  const type = headers.get('content-type')?.split(';')[0];
  const schema = described.content?.[type ?? '']?.schema;
  if (described.content && !schema) problems.push(`${type} is not described`);
  const [base, own] = schema?.allOf ?? [];
  if (!base || !own) return problems;
  for (const [name, value] of Object.entries(body as object)) {
    if (!(name in (ERROR_BODY.properties as object))) problems.push(`${name} is not described`);
    const known = own.properties?.[name]?.enum;
    if (known && !known.includes(value)) problems.push(`${name} is ${JSON.stringify(value)}`);
  }
  for (const name of ERROR_BODY.required) if (!(name in (body as object))) problems.push(`no ${name}`);
  return problems;
}
