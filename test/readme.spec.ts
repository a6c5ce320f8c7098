import { mkdir, readFile, rm, writeFile } from 'node:fs/promises';
import { join } from 'node:path';
import { fileURLToPath, pathToFileURL } from 'node:url';
import type { Type } from '@nestjs/common';
import { NestFactory } from '@nestjs/core';
import ts from 'typescript';
import { afterAll, beforeAll, describe, expect, it } from 'vitest';
import { Browser } from './support/browser.js';

const root = fileURLToPath(new URL('..', import.meta.url));
// Inside the repository, so that packages are found; not in node_modules, so that the decorators are compiled.
const folder = join(root, 'dist', `readme-${process.pid}`);
const cwd = process.cwd();

describe('the README', () => {
  const files: string[] = [];

  beforeAll(async () => {
    const readme = await readFile(join(root, 'README.md'), 'utf8');
    const blocks = [...readme.matchAll(/^```ts\n(.*?)^```/gms)].map(([, code]) => code!);
    await mkdir(folder, { recursive: true });
    for (const [index, code] of blocks.entries()) {
      const file = join(folder, `block-${index}.ts`);
      await writeFile(file, code);
      files.push(file);
    }
  });

  afterAll(async () => {
    process.chdir(cwd);
    await rm(folder, { recursive: true, force: true });
  });

  it('has code that compiles', () => {
    const config = ts.getParsedCommandLineOfConfigFile(
      join(root, 'tsconfig.json'),
      { noEmit: true },
      {
        ...ts.sys,
        onUnRecoverableConfigFileDiagnostic: (diagnostic) => {
          throw new Error(ts.flattenDiagnosticMessageText(diagnostic.messageText, '\n'));
        },
      },
    );
    const program = ts.createProgram(files, config!.options);
    // Users compile against declarations; what an application registers does not fit the library's own code.
    const diagnostics = files.flatMap((file) => [
      ...ts.getPreEmitDiagnostics(program, program.getSourceFile(file)),
    ]);
    const messages = diagnostics.map(({ messageText, file, start }) => {
      const line = file && start !== undefined ? file.getLineAndCharacterOfPosition(start).line + 1 : 0;
      return `${file?.fileName}:${line} ${ts.flattenDiagnosticMessageText(messageText, '\n')}`;
    });
    expect(messages).toEqual([]);
  }, 60_000);

  it('has a quick start that signs in and answers who is signed in', async () => {
    // Its database is a file in the current folder.
    process.chdir(folder);
    const { AppModule } = (await import(pathToFileURL(files[0]!).href)) as { AppModule: Type };
    const app = await NestFactory.create(AppModule, { logger: false });
    try {
      await app.listen(0, '127.0.0.1');
      const browser = new Browser(await app.getUrl());
      expect(await browser.get('/me')).toMatchObject({ status: 401, body: { code: 'no_credentials' } });
      expect(await browser.post('/login', { password: 'rabbit' })).toMatchObject({ status: 401 });
      expect(await browser.post('/login', { password: 'wonderland' })).toMatchObject({ status: 201 });
      expect(await browser.get('/me')).toMatchObject({ status: 200, body: { userId: 'alice' } });
    } finally {
      await app.close();
    }
  });
});
