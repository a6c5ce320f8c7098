import { type CustomDecorator } from '@nestjs/common';
import { Reflector } from '@nestjs/core';

/** What decorators can say of a handler or a controller. */
export type RouteRule = 'skip' | 'optional' | 'skipCsrf';

type RuleDecorator = ReturnType<typeof Reflector.createDecorator<boolean>>;

const decorators = new Map<string, RuleDecorator>();

/** One kind of metadata for each rule and module; `undefined` is all modules. */
function decoratorOf(rule: RouteRule, module: string | undefined): RuleDecorator {
  const key = `${rule} ${module ?? ''}`;
  const known = decorators.get(key);
  if (known) return known;
  const made = Reflector.createDecorator<boolean>();
  decorators.set(key, made);
  return made;
}

export function setRule(rule: RouteRule, value: boolean, module: string | undefined): CustomDecorator {
  return decoratorOf(rule, module)(value);
}

/** The handler's rule for a module, else the controller's; what names the module counts before what does not. */
export function readRule(
  reflector: Reflector,
  rule: RouteRule,
  module: string,
  targets: Parameters<Reflector['getAllAndOverride']>[1],
): boolean {
  const read = (of: string | undefined) => reflector.getAllAndOverride(decoratorOf(rule, of), targets);
  return read(module) ?? read(undefined) ?? false;
}
