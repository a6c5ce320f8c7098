import { type ArgumentsHost, Catch } from '@nestjs/common';
import { BaseExceptionFilter } from '@nestjs/core';
import { TooManyAttemptsError } from './sign-in-limiter.js';

/** Says in `Retry-After` when the next attempt may be made. */
@Catch(TooManyAttemptsError)
export class TooManyAttemptsFilter extends BaseExceptionFilter<TooManyAttemptsError> {
  override catch(error: TooManyAttemptsError, host: ArgumentsHost): void {
    const adapter = this.httpAdapterHost!.httpAdapter;
    adapter.setHeader(host.switchToHttp().getResponse(), 'Retry-After', String(error.retryAfter));
    super.catch(error, host);
  }
}
