import { Reflector } from '@nestjs/core';

/** Metadata that decorators leave for the guard. */
export const SkipSessionMetadata = Reflector.createDecorator<boolean>();
export const OptionalSessionMetadata = Reflector.createDecorator<boolean>();
export const SkipCsrfMetadata = Reflector.createDecorator<boolean>();
