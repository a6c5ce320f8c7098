import { readdirSync, readFileSync } from 'node:fs';
import { extname } from 'node:path';
import { Controller, Get, NotFoundException, Param, StreamableFile } from '@nestjs/common';
import { Settings } from '../settings.js';

const TYPES: Readonly<Record<string, string>> = {
  '.css': 'text/css; charset=utf-8',
  '.html': 'text/html; charset=utf-8',
  '.js': 'text/javascript; charset=utf-8',
  '.svg': 'image/svg+xml',
};

const FOLDER = new URL('public/', import.meta.url);

/** The demonstration page. An application with more than a handful of files would use `@nestjs/serve-static`. */
@Controller()
export class PageController {
  /** Read once: a request can only name what is in here, wherever its path points. */
  private readonly files = new Map(
    readdirSync(FOLDER).map((name) => [name, readFileSync(new URL(name, FOLDER))]),
  );

  constructor(private readonly settings: Settings) {}

  @Get()
  page(): StreamableFile {
    return this.file('index.html');
  }

  /** What the page has to know of the settings; none of it is secret. */
  @Get('page/settings.json')
  publicSettings(): object {
    const { accessTokenTtl, reuseWindow, theftDemo, session } = this.settings;
    const { refresh, revocation } = session;
    return { accessTokenTtl, reuseWindow, theftDemo, refresh, revocation };
  }

  @Get('page/:name')
  file(@Param('name') name: string): StreamableFile {
    const content = this.files.get(name);
    if (!content) throw new NotFoundException();
    return new StreamableFile(content, { type: TYPES[extname(name)], length: content.length });
  }
}
