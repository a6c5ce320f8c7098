import { Logger } from '@nestjs/common';

/** The context of all log lines. It is the name of the package, so that everybody can tell which library speaks. */
export const LOG_CONTEXT = 'nestjs-session-tokens';

/** Writes all log lines of this package. */
export const logger = new Logger(LOG_CONTEXT);
