import { inspect } from 'node:util';
import type { LoggerService } from '@nestjs/common';

/** A logger for Nest that keeps what it is given, errors with their causes and all. */
export class LogCapture implements LoggerService {
  readonly lines: string[] = [];

  private readonly keep = (...parameters: unknown[]): void => {
    this.lines.push(parameters.map((each) => inspect(each, { depth: 10 })).join(' '));
  };

  readonly log = this.keep;
  readonly error = this.keep;
  readonly warn = this.keep;
  readonly debug = this.keep;
  readonly verbose = this.keep;
  readonly fatal = this.keep;
}
