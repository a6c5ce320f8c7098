import { isIPv4, isIPv6 } from 'node:net';

/**
 * The network of an address: an IPv4 address without its last 8 bits (`192.0.2.0`), an IPv6 address without its last 80 bits
 * (`2001:db8:1::`). That tells places apart, but not the subscribers of a provider. An IPv4 address that is written as IPv6
 * (`::ffff:192.0.2.1`) counts as IPv4.
 *
 * @returns the network, or null for a text that is no address
 * @example
 * ```ts
 * SessionModule.forRoot({ devices: { ip: truncateIp } });
 * ```
 */
export function truncateIp(ip: string): string | null {
  if (isIPv4(ip)) return ip.replace(/\d+$/, '0');
  // A zone (`fe80::1%eth0`) has a meaning only on this machine.
  const [address = ''] = ip.split('%');
  if (!isIPv6(address)) return null;
  const groups = groupsOf(address);
  const isIpv4 = groups.slice(0, 5).every((group) => group === 0) && groups[5] === 0xffff;
  if (isIpv4) {
    const [high, low] = [groups[6]!, groups[7]!];
    return `${high >> 8}.${high & 255}.${low >> 8}.0`;
  }
  // The URL standard writes the address in its shortest form (RFC 5952).
  const [a, b, c] = groups.map((group) => group.toString(16));
  return new URL(`http://[${a}:${b}:${c}::]/`).hostname.slice(1, -1);
}

/** The eight groups of an IPv6 address. */
function groupsOf(address: string): number[] {
  // The URL standard also writes the last 32 bits in hexadecimal digits.
  const [start = '', end] = new URL(`http://[${address}]/`).hostname.slice(1, -1).split('::');
  const [first, last] = [start, end ?? ''].map((part) =>
    part === '' ? [] : part.split(':').map((group) => Number.parseInt(group, 16)),
  ) as [number[], number[]];
  const zeros = Array<number>(8 - first.length - last.length).fill(0);
  return [...first, ...zeros, ...last];
}
