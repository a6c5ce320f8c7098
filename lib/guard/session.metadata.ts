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
function readRule(
  reflector: Reflector,
  rule: RouteRule,
  module: string,
  targets: Parameters<Reflector['getAllAndOverride']>[1],
): boolean | number | undefined {
  const read = (of: string | undefined) =>
    reflector.getAllAndOverride(decoratorOf(rule, of), targets) as boolean | number | undefined;
  return read(module) ?? read(undefined);
}

/** The rules that decorators set for a handler. */
export interface RouteRules {
  readonly skip: boolean;
  readonly optional: boolean;
  readonly csrf: boolean;
  readonly maxAge: number | undefined;
  readonly impersonated: boolean;
  readonly refresh: boolean;
}

/** All rules for a module. @param targets the handler and its controller */
export function readRules(
  reflector: Reflector,
  module: string,
  targets: Parameters<Reflector['getAllAndOverride']>[1],
): RouteRules {
  const read = (rule: RouteRule) => readRule(reflector, rule, module, targets);
  const maxAge = read('maxAge');
  return {
    skip: read('skip') === true,
    optional: read('optional') === true,
    csrf: read('skipCsrf') !== true,
    maxAge: typeof maxAge === 'number' ? maxAge : undefined,
    impersonated: read('noImpersonation') !== true,
    refresh: read('noRefresh') !== true,
  };
}
