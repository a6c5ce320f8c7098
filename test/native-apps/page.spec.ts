import { readFileSync } from 'node:fs';
import { expect, it } from 'vitest';

const at = (path: string) => readFileSync(new URL(path, import.meta.url), 'utf8');
const page = at('../../docs/native-apps.md');
const blocks = [...page.matchAll(/^```ts\n(.*?)^```/gms)].map(([, code]) => code);

it.each(['session-client.ts', 'file-store.ts'])('%s is on the page as it is tested', (name) => {
  expect(page).toContain(`(../test/native-apps/${name})`);
  expect(blocks).toContain(at(name));
});

it('the page has no other code of this language', () => {
  expect(blocks).toHaveLength(2);
});
