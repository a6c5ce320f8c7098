import { readdirSync, readFileSync } from 'node:fs';
import { join, relative } from 'node:path';
import { fileURLToPath } from 'node:url';
import ts from 'typescript';

const lib = fileURLToPath(new URL('../../lib', import.meta.url));

export type Level = 'debug' | 'log' | 'warn' | 'error';

/** A message in the sources. What is not known before the program runs is `…`. */
export interface Message {
  readonly file: string;
  readonly level: Level | 'start';
  /** Its first sentence. */
  readonly text: string;
}

/** Log calls whose text comes from elsewhere: a trouble, the warnings and notes of options, an error about a damaged column. */
export interface Passed {
  readonly file: string;
  readonly code: string;
}

/** What stops a start. */
const REFUSALS = new Set(['InvalidOptionError', 'KeysUnavailableError']);
/** Lists of what is logged when the options have been read. */
const LISTS: Record<string, Level> = { warnings: 'warn', notes: 'log' };

/** All log lines of the library, all refusals, and the log calls that only pass on what others say. */
export function readMessages(): { lines: Message[]; refusals: Message[]; passed: Passed[] } {
  const lines: Message[] = [];
  const refusals: Message[] = [];
  const passed: Passed[] = [];
  const files = readdirSync(lib, { recursive: true, encoding: 'utf8' })
    .filter((name) => name.endsWith('.ts') && !name.endsWith('.spec.ts'))
    // For tests of applications.
    .filter((name) => !name.startsWith('testing'))
    .toSorted();
  for (const name of files) {
    const path = join(lib, name);
    const source = ts.createSourceFile(path, readFileSync(path, 'utf8'), ts.ScriptTarget.Latest, true);
    const file = relative(lib, path);
    const visit = (node: ts.Node): void => {
      if (ts.isCallExpression(node)) readCall(node);
      if (ts.isNewExpression(node)) readNew(node);
      ts.forEachChild(node, visit);
    };
    const readCall = ({ expression, arguments: args }: ts.CallExpression): void => {
      const code = expression.getText(source);
      const [, level] = /^logger\.(debug|log|warn|error)$/.exec(code) ?? [];
      const [, list] = /^(warnings|notes)\.push$/.exec(code) ?? [];
      if (level !== undefined || list !== undefined) {
        const kind = (level as Level | undefined) ?? LISTS[list!]!;
        const texts = textsOf(args[0]!);
        for (const text of texts) lines.push({ file, level: kind, text });
        if (texts.length === 0) passed.push({ file, code: `${code}(${args[0]!.getText(source)})` });
      }
      if (code === 'fail' && args.length === 2) refuse(args[1]!);
    };
    const readNew = ({ expression, arguments: args }: ts.NewExpression): void => {
      const code = expression.getText(source);
      if (REFUSALS.has(code)) refuse(args!.at(code === 'InvalidOptionError' ? 1 : 0)!);
      const [texts] = args ?? [];
      if (code !== 'Trouble' || !texts || !ts.isObjectLiteralExpression(texts)) return;
      for (const property of texts.properties.filter(ts.isPropertyAssignment)) {
        const level = property.name.getText(source) === 'begins' ? 'error' : 'log';
        for (const text of textsOf(property.initializer)) lines.push({ file, level, text });
      }
    };
    const refuse = (argument: ts.Node): void => {
      for (const text of textsOf(argument)) refusals.push({ file, level: 'start', text });
    };
    visit(source);
  }
  return { lines, refusals, passed };
}

/** The texts that an expression can have; none if it is no text. */
function textsOf(node: ts.Node): string[] {
  if (ts.isStringLiteral(node) || ts.isNoSubstitutionTemplateLiteral(node)) return [firstSentence(node.text)];
  if (ts.isTemplateExpression(node)) {
    const { head, templateSpans } = node;
    return [firstSentence([head.text, ...templateSpans.map(({ literal }) => literal.text)].join('…'))];
  }
  if (ts.isConditionalExpression(node)) return [...textsOf(node.whenTrue), ...textsOf(node.whenFalse)];
  if (ts.isBinaryExpression(node) && node.operatorToken.kind === ts.SyntaxKind.PlusToken) {
    const [left, right] = [literalOf(node.left), literalOf(node.right)];
    return left === undefined || right === undefined ? [] : [firstSentence(left + right)];
  }
  return [];
}

function literalOf(node: ts.Node): string | undefined {
  return ts.isStringLiteralLike(node) ? node.text : undefined;
}

function firstSentence(text: string): string {
  return /^.*?[.?](?= [A-Z"…]|$)/s.exec(text)?.[0] ?? text;
}
