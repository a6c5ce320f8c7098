import type { Provider } from '@nestjs/common';
import { ApplicationConfig } from '@nestjs/core';
import { FILTER_REGISTRATION } from './session.constants.js';
import { SessionExceptionFilter } from '../guard/session-exception.filter.js';

/** Registers the filter for the whole application. */
export const EXCEPTION_FILTER_PROVIDERS: Provider[] = [
  SessionExceptionFilter,
  {
    provide: FILTER_REGISTRATION,
    // Before those of the application: the last one is asked first, so that an application can have its own way.
    useFactory: (config: ApplicationConfig, filter: SessionExceptionFilter) =>
      config.getGlobalFilters().unshift(filter),
    inject: [ApplicationConfig, SessionExceptionFilter],
  },
];
