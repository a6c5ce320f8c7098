import { isIP } from 'node:net';
import { expect, it } from 'vitest';
import { truncateIp } from './truncate-ip.js';

it.each([
  // RFC 5737, RFC 1918
  ['192.0.2.129', '192.0.2.0'],
  ['203.0.113.0', '203.0.113.0'],
  ['10.1.2.255', '10.1.2.0'],
  ['255.255.255.255', '255.255.255.0'],
  ['127.0.0.1', '127.0.0.0'],
  // RFC 3849
  ['2001:db8:1:2:3:4:5:6', '2001:db8:1::'],
  ['2001:0DB8:0001:ffff::1', '2001:db8:1::'],
  ['2001:db8::1', '2001:db8::'],
  ['2001:db8:a::', '2001:db8:a::'],
  ['::2001:db8:a:b', '::'],
  ['1::8', '1::'],
  ['::', '::'],
  ['::1', '::'],
  ['fe80::1%eth0', 'fe80::'],
  // RFC 4291, 2.5.5.2; other ways to put an IPv4 address into IPv6 are networks of their own
  ['::ffff:192.0.2.129', '192.0.2.0'],
  ['::FFFF:c000:281', '192.0.2.0'],
  ['0:0:0:0:0:ffff:203.0.113.9', '203.0.113.0'],
  ['64:ff9b::192.0.2.129', '64:ff9b::'],
])('truncates %s to %s', (ip, network) => {
  expect(truncateIp(ip)).toBe(network);
  expect(isIP(network)).toBeGreaterThan(0);
  expect(truncateIp(network)).toBe(network);
});

it.each([
  '',
  ' ',
  'unknown',
  'localhost',
  '192.0.2',
  '192.0.2.256',
  '192.0.2.129:443',
  '192.0.2.129, 203.0.113.9',
  '[2001:db8::1]',
  '2001:db8::1::2',
  ':::',
  '%eth0',
  '_hidden',
  `${'1:'.repeat(300)}1`,
])('keeps nothing of what is no address: %j', (ip) => {
  expect(truncateIp(ip)).toBeNull();
});
