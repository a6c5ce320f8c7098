import { existsSync, readFileSync } from 'node:fs';
import { join } from 'node:path';
import { fileURLToPath } from 'node:url';
import ts from 'typescript';
import { ActiveSession, SessionService } from 'nestjs-session-tokens';
import { describe, expect, it } from 'vitest';
import { SessionTokens } from '../../lib/module/session-tokens.js';

const docs = fileURLToPath(new URL('../../docs', import.meta.url));

/** The requirements of V7 and V9 of ASVS 5.0.0, each with its level. */
const REQUIREMENTS = `
  7.1.1 2, 7.1.2 2, 7.1.3 2
  7.2.1 1, 7.2.2 1, 7.2.3 1, 7.2.4 1
  7.3.1 2, 7.3.2 2
  7.4.1 1, 7.4.2 1, 7.4.3 2, 7.4.4 2, 7.4.5 2
  7.5.1 2, 7.5.2 2, 7.5.3 3
  7.6.1 2, 7.6.2 2
  9.1.1 1, 9.1.2 1, 9.1.3 1
  9.2.1 1, 9.2.2 2, 9.2.3 2, 9.2.4 2`;

/** What is written as code and is neither an option nor a method. */
const OTHER_CODE = new Set(
  `HS256 ES256 EdDSA RS256 none at+jwt alg kid typ jku x5u jwk exp iat nbf aud GET POST state user_session
  session.amr @RequireFresh('5m')`.split(/\s+/),
);

interface Line {
  readonly number: string;
  readonly level: number;
  readonly verdict: string;
  readonly how: string;
  readonly shownBy: string;
}

const lines: Line[] = readFileSync(join(docs, 'asvs.md'), 'utf8')
  .split('\n')
  .filter((line) => /^\| \d/.test(line))
  .map((line) => {
    const [, number, level, , verdict, how, shownBy] = line.split('|').map((cell) => cell.trim());
    return { number: number!, level: Number(level), verdict: verdict!, how: how!, shownBy: shownBy! };
  });

/** Names of all options, as `refreshToken.ttl`. */
function optionNames(): Set<string> {
  const names = new Set<string>();
  const members = new Map<string, [name: string, types: string[]][]>();
  for (const file of ['session-module.options.ts', 'session-verifier.options.ts']) {
    const path = fileURLToPath(new URL(`../../lib/options/${file}`, import.meta.url));
    const source = ts.createSourceFile(path, readFileSync(path, 'utf8'), ts.ScriptTarget.Latest);
    for (const each of source.statements.filter(ts.isInterfaceDeclaration)) {
      const properties = each.members.filter(ts.isPropertySignature);
      members.set(
        each.name.text,
        properties.map(({ name, type }) => [name.getText(source), type!.getText(source).match(/\w+/g) ?? []]),
      );
    }
  }
  for (const root of ['SessionModuleOptions', 'SessionModuleExtras', 'SessionVerifierOptions']) {
    for (const [name, types] of members.get(root)!) {
      names.add(name);
      for (const [inner] of types.flatMap((type) => members.get(type) ?? [])) names.add(`${name}.${inner}`);
    }
  }
  return names;
}

const methods = new Set(
  [SessionService, SessionTokens, ActiveSession].flatMap(({ prototype }) =>
    Object.getOwnPropertyNames(prototype),
  ),
);
const options = optionNames();

const linksOf = ({ shownBy }: Line) => [...shownBy.matchAll(/\]\(([^)]+)\)/g)].map(([, link]) => link!);
const codeOf = ({ verdict, how }: Line) =>
  [...`${verdict} ${how}`.matchAll(/`([^`]+)`/g)].map(([, code]) => code!);

describe('the page on OWASP ASVS 5.0', () => {
  it('has each requirement of V7 and V9 once, in order and with its level', () => {
    const expected = REQUIREMENTS.trim().split(/,\s*|\n\s*/);
    expect(lines.map(({ number, level }) => `${number} ${level}`)).toEqual(expected);
  });

  it('has a verdict for each', () => {
    const verdict = /^(met by default|met with `[\w.]+`|the application's duty|not met)$/;
    expect(lines.filter((line) => !verdict.test(line.verdict) || line.how === '')).toEqual([]);
  });

  it('names a spec that exists for all that is met', () => {
    const met = lines.filter(({ verdict }) => verdict.startsWith('met'));
    expect(met.filter((line) => linksOf(line).length === 0)).toEqual([]);
    const wrong = lines
      .flatMap(linksOf)
      .filter((link) => !link.endsWith('.spec.ts') || !existsSync(join(docs, link)));
    expect(wrong).toEqual([]);
  });

  it('names no option and no method that does not exist', () => {
    // So that the search for names finds some.
    expect(options).toContain('refreshToken.absoluteTtl');
    expect(methods).toContain('revokeAllForUser');
    const unknown = lines.flatMap(codeOf).filter((code) => {
      const [, method] = /^(\w+)\(.*\)$/.exec(code) ?? [];
      if (method !== undefined) return !methods.has(method);
      return !options.has(code.replace(/: '\w+'$/, '')) && !OTHER_CODE.has(code);
    });
    expect(unknown).toEqual([]);
  });
});
