import { SessionTables1764000000000 } from './migrations/1764000000000-session-tables.js';
import { NotBeforeEntity } from './not-before.entity.js';
import { SessionKeyEntity } from './session-key.entity.js';
import { SessionEntity } from './session.entity.js';

/** The entities to list in the `entities` of the application's `DataSource`. */
export const SESSION_ENTITIES = [SessionEntity, SessionKeyEntity, NotBeforeEntity] as const;

/** The migrations to list in its `migrations`, beside the application's own. */
export const SESSION_MIGRATIONS = [SessionTables1764000000000] as const;
