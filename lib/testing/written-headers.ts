/** A response that is never sent. Transports write their cookies to it. */
export class WrittenHeaders {
  readonly headersSent = false;
  readonly #headers = new Map<string, string | string[]>();

  getHeader(name: string): string | string[] | undefined {
    return this.#headers.get(name);
  }

  setHeader(name: string, value: string | string[]): void {
    this.#headers.set(name, value);
  }

  get setCookies(): string[] {
    return [this.#headers.get('set-cookie') ?? []].flat();
  }
}
