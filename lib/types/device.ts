/** A client, as far as it is known, and as the option `devices` keeps it. */
export interface Device {
  /** `User-Agent`, printable ASCII of at most 255 characters. */
  readonly userAgent: string | null;
  /** Address, of at most 64 characters. */
  readonly ip: string | null;
}
