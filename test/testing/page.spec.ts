import { readFileSync } from 'node:fs';
import { expect, it } from 'vitest';

const read = (path: string) => readFileSync(new URL(path, import.meta.url), 'utf8');

it('the page has the recipe as it is tested', () => {
  const blocks = [...read('../../docs/testing.md').matchAll(/^```ts\n(.*?)^```/gms)].map(([, code]) => code);
  expect(blocks).toEqual([read('recipe/account.spec.ts')]);
});
