import { describe, expect, it } from 'vitest';
import { accountApps } from '../http/account-app.js';
import { adapters } from '../support/app.js';
import { Browser } from '../support/browser.js';
import { LogCapture } from '../support/log-capture.js';
import { type Nginx, startNginx } from './support/nginx.js';
import { nginxPath } from './support/programs.js';

/** Sizes of a claim in bytes, up to the largest that fits into a cookie. */
const SIZES = Array.from({ length: 28 }, (_, i) => i * 100);

/** The status of a sign-in with a claim of this size. */
async function signIn(nginx: Nginx, size: number): Promise<number> {
  const browser = new Browser(`http://127.0.0.1:${nginx.port}/api`);
  return (await browser.post('/login', { userId: 'alice', claims: { text: 'x'.repeat(size) } })).status;
}

describe.skipIf(!nginxPath).each(adapters)('responses with large claims behind nginx, over %s', (adapter) => {
  const start = accountApps(adapter);

  it('are warned of before they are too large for its default, and pass with the setting that is documented', async () => {
    const log = new LogCapture();
    const app = await start(
      { cookies: { indicatorName: 'info', sameSite: 'strict' }, csrf: { mode: 'token' } },
      { configure: (nest) => nest.useLogger(log) },
    );
    const port = Number(new URL(app.url).port);
    const servers: Nginx[] = [await startNginx(port), await startNginx(port, 'proxy_buffer_size 8k;')];
    try {
      const warned = () => log.lines.some((line) => line.includes('bytes of cookies'));
      const answers: { size: number; byDefault: number; wasWarned: boolean }[] = [];
      for (const size of SIZES) {
        const byDefault = await signIn(servers[0]!, size);
        answers.push({ size, byDefault, wasWarned: warned() });
        expect(await signIn(servers[1]!, size), `with the setting, ${size} bytes`).toBe(200);
      }
      expect(answers[0]).toMatchObject({ byDefault: 200, wasWarned: false });
      expect(answers.find(({ size }) => size === 1_400)).toMatchObject({ byDefault: 200, wasWarned: false });
      expect(answers.at(-1)).toMatchObject({ byDefault: 502, wasWarned: true });
      const firstWarning = answers.findIndex(({ wasWarned }) => wasWarned);
      const firstFailure = answers.findIndex(({ byDefault }) => byDefault === 502);
      expect(firstWarning).toBeLessThan(firstFailure);
      expect(
        log.lines.filter((line) => line.includes('bytes of cookies')),
        'once',
      ).toHaveLength(1);
    } finally {
      for (const each of servers) await each.close();
    }
  });
});
