import { existsSync } from 'node:fs';

/** Paths of the programs that these suites use; `undefined` for a program that is not installed. */
export const chromiumPath = find('Chromium', 'CHROMIUM_PATH', [
  '/usr/bin/chromium',
  '/usr/bin/chromium-browser',
  '/usr/bin/google-chrome',
  '/Applications/Google Chrome.app/Contents/MacOS/Google Chrome',
]);

export const firefoxPath = find('Firefox', 'FIREFOX_PATH', [
  '/usr/bin/firefox-esr',
  '/usr/bin/firefox',
  '/Applications/Firefox.app/Contents/MacOS/firefox',
]);

export const nginxPath = find('nginx', 'NGINX_PATH', [
  '/usr/sbin/nginx',
  '/usr/bin/nginx',
  '/usr/local/bin/nginx',
  '/opt/homebrew/bin/nginx',
]);

function find(program: string, variable: string, usual: readonly string[]): string | undefined {
  const path = [process.env[variable], ...usual].find((each) => each && existsSync(each));
  if (!path && process.env['CI'] === 'true') {
    throw new Error(`There is no ${program} for the browser tests. Install it, or name it in ${variable}.`);
  }
  return path;
}
