import { randomBytes } from 'node:crypto';

/** Marks of calls: 16 characters, of which no two calls have the same. MySQL's usual collations would ignore their case. */
export class Marks {
  private readonly process = base36(randomBytes(6).readUIntBE(0, 6), 10);
  private count = 0;

  next(): string {
    return this.process + base36(this.count++, 6);
  }

  isOwn(mark: string | null): boolean {
    return mark?.startsWith(this.process) ?? false;
  }
}

function base36(value: number, length: number): string {
  return value.toString(36).padStart(length, '0');
}
