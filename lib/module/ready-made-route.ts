import { Reflector } from '@nestjs/core';

/** What a ready-made controller does. Each has one route. */
export type ReadyMade = 'refresh' | 'keys' | 'revocations';

/** Tells a ready-made controller from the application's. */
export const ReadyMadeRoute = Reflector.createDecorator<ReadyMade>();
