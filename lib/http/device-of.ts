import type { DeviceInput } from '../session/session.types.js';
import { type HttpRequest, requestHeader } from './messages.js';

/** The client of a request, as it describes itself, and as the adapter sees it. */
export function deviceOf(request: HttpRequest): DeviceInput {
  return { userAgent: requestHeader(request, 'user-agent'), ip: plainAddress(request.ip) };
}

/** An IPv4 address as such, not as IPv6 has it (RFC 4291, 2.5.5.2), which sockets for both give. */
function plainAddress(ip: string | undefined): string | undefined {
  return ip?.replace(/^::ffff:(?=\d+\.\d+\.\d+\.\d+$)/i, '');
}
