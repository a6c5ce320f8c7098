import { readdirSync, readFileSync } from 'node:fs';
import { expect, it } from 'vitest';

const at = (path: string) => new URL(path, import.meta.url);
const page = readFileSync(at('../../docs/recipes.md'), 'utf8');
const sections = page.split(/^(?=## )/m).slice(1);
const [files, specs] = ['.recipe.ts', '.spec.ts'].map((end) =>
  readdirSync(at('.')).filter((name) => name.endsWith(end)),
) as [string[], string[]];

it('the page has each recipe that is tested, and no other', () => {
  const named = sections.map((section) => /\.\.\/test\/recipes\/([\w-]+\.recipe\.ts)/.exec(section)?.[1]);
  expect(new Set(named)).toEqual(new Set(files));
  expect(named).toHaveLength(files.length);
});

it.each(sections.map((section) => [/^## (.*)$/m.exec(section)![1]!, section] as const))(
  '%s is on the page as it is tested',
  (_title, section) => {
    const [, recipe, spec] =
      /\(\.\.\/test\/recipes\/([\w-]+\.recipe\.ts)\).*\(\.\.\/test\/recipes\/([\w-]+\.spec\.ts)\)/.exec(
        section,
      )!;
    const [, code] = /^```ts\n(.*?)^```/ms.exec(section)!;
    expect(code).toBe(readFileSync(at(recipe!), 'utf8'));
    expect(specs).toContain(spec);
  },
);
