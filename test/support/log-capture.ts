import { inspect } from 'node:util';
import type { LoggerService } from '@nestjs/common';

/** A logger for Nest that stores all messages, and errors with their causes. */
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
