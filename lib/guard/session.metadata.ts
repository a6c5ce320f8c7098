import { type CustomDecorator } from '@nestjs/common';
import { Reflector } from '@nestjs/core';

/** The rules that decorators can set for a handler or a controller. */
export type RouteRule = 'skip' | 'optional' | 'skipCsrf' | 'maxAge' | 'noImpersonation' | 'noRefresh';

type RuleDecorator = ReturnType<typeof Reflector.createDecorator<boolean | number>>;

const decorators = new Map<string, RuleDecorator>();

/** The metadata key of a rule and a module. `undefined` means all modules. */
function decoratorOf(rule: RouteRule, module: string | undefined): RuleDecorator {
  const key = `${rule} ${module ?? ''}`;
  const known = decorators.get(key);
  if (known) return known;
  const made = Reflector.createDecorator<boolean | number>();
  decorators.set(key, made);
  return made;
}

export function setRule(
  rule: RouteRule,
  value: boolean | number,
  module: string | undefined,
): CustomDecorator {
  return decoratorOf(rule, module)(value);
}

/**
 * The rule for a module. The handler's rule comes before the controller's. A rule that names the module comes before one for
 * all modules.
 */
export function readRule(
  reflector: Reflector,
  rule: RouteRule,
  module: string,
  targets: Parameters<Reflector['getAllAndOverride']>[1],
): boolean | number | undefined {
  const read = (of: string | undefined) =>
    reflector.getAllAndOverride(decoratorOf(rule, of), targets) as boolean | number | undefined;
  return read(module) ?? read(undefined);
}
