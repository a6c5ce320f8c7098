import { Logger } from '@nestjs/common';
import { afterEach, describe, expect, it, vi } from 'vitest';
import { resolveOptions } from '../options/resolved-options.js';
import type { DeviceOptions } from '../options/session-module.options.js';
import { Devices } from './devices.js';

const CLIENT = { userAgent: 'Browser/1.0', ip: '192.0.2.129' };
const devices = (options?: DeviceOptions) =>
  new Devices(resolveOptions({ devices: options }).options.devices);

afterEach(() => vi.restoreAllMocks());

describe('of a client', () => {
  it.each<[string, DeviceOptions | undefined, object]>([
    ['all is kept by default', undefined, CLIENT],
    ['all is kept', { userAgent: true, ip: true }, CLIENT],
    ['the user agent is not kept', { userAgent: false }, { ...CLIENT, userAgent: null }],
    ['the address is not kept', { ip: false }, { ...CLIENT, ip: null }],
    ['nothing is kept', { userAgent: false, ip: false }, { userAgent: null, ip: null }],
    [
      'what functions return is kept',
      { userAgent: (text) => text.toUpperCase(), ip: (ip) => `${ip.length}` },
      { userAgent: 'BROWSER/1.0', ip: '11' },
    ],
    [
      'nothing is kept if functions say so',
      { userAgent: () => null, ip: () => null },
      { userAgent: null, ip: null },
    ],
  ])('%s', (_, options, kept) => {
    expect(devices(options).describe(CLIENT)).toEqual(kept);
  });

  it.each([undefined, {}, { userAgent: undefined, ip: null }, { userAgent: 1, ip: {} } as object])(
    'nothing is kept if it is not known, and no function is asked: %j',
    (client) => {
      const change = vi.fn<() => string>(() => 'made up');
      expect(devices().describe(client)).toEqual({ userAgent: null, ip: null });
      expect(devices({ userAgent: change, ip: change }).describe(client)).toEqual({
        userAgent: null,
        ip: null,
      });
      expect(change).not.toHaveBeenCalled();
    },
  );

  it('what is kept is cut to the width of its columns, after a function has seen all of it', () => {
    const client = { userAgent: 'x'.repeat(300), ip: 'y'.repeat(70) };
    expect(devices().describe(client)).toEqual({ userAgent: 'x'.repeat(255), ip: 'y'.repeat(64) });
    const lengths: DeviceOptions = { userAgent: (text) => `${text.length}`, ip: (text) => text + text };
    expect(devices(lengths).describe(client)).toEqual({ userAgent: '300', ip: 'y'.repeat(64) });
  });

  it('what is kept is printable ASCII, also if a function makes it', () => {
    const client = { userAgent: 'Browser\n/1 ü', ip: '::1\u007f' };
    expect(devices().describe(client)).toEqual({ userAgent: 'Browser?/1 ?', ip: '::1?' });
    expect(devices({ ip: () => 'Zürich' }).describe(client)).toMatchObject({ ip: 'Z?rich' });
  });

  it('what was stored before is told of, unless it is switched off since; functions are not for it', () => {
    const change = vi.fn<() => string>(() => 'changed');
    const options: [DeviceOptions, object][] = [
      [{}, CLIENT],
      [{ userAgent: change, ip: change }, CLIENT],
      [{ userAgent: false }, { ...CLIENT, userAgent: null }],
      [{ ip: false }, { ...CLIENT, ip: null }],
    ];
    for (const [each, told] of options) expect(devices(each).recall(CLIENT)).toEqual(told);
    expect(change).not.toHaveBeenCalled();
  });
});

const returnsNothing = () => undefined as unknown as null;

describe('a function that fails', () => {
  it.each<[string, unknown]>([
    [
      'throws an error',
      (ip: string) => {
        throw new TypeError(`cannot read ${ip}`);
      },
    ],
    [
      'throws the value',
      (ip: string) => {
        throw ip; // oxlint-disable-line typescript/only-throw-error -- an application may do this
      },
    ],
    ['returns nothing', () => undefined],
    ['returns a number', () => 1],
    ['is asynchronous', async (ip: string) => Promise.resolve(ip)],
    ['is asynchronous, and fails', async (ip: string) => Promise.reject(new Error(ip))],
  ])('because it %s lets nothing through, and is logged once, without the value', async (_, ip) => {
    const unhandled = vi.fn<() => void>();
    process.on('unhandledRejection', unhandled);
    const logged = vi.spyOn(Logger.prototype, 'error').mockReturnValue();
    const failing = devices({ ip } as DeviceOptions);
    for (let count = 0; count < 3; count++) expect(failing.describe(CLIENT)).toEqual({ ...CLIENT, ip: null });
    await new Promise((resolve) => setImmediate(resolve));
    process.off('unhandledRejection', unhandled);
    expect(unhandled).not.toHaveBeenCalled();
    expect(logged).toHaveBeenCalledOnce();
    expect(String(logged.mock.calls)).toContain('devices.ip');
    expect(String(logged.mock.calls)).not.toContain(CLIENT.ip);
  });

  it('is logged once for each function', () => {
    const logged = vi.spyOn(Logger.prototype, 'error').mockReturnValue();
    const failing = devices({ ip: returnsNothing, userAgent: returnsNothing });
    for (let count = 0; count < 3; count++) failing.describe(CLIENT);
    expect(logged).toHaveBeenCalledTimes(2);
  });
});
