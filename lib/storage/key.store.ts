import { isUniqueViolation, storageErrors } from './database-error.js';
import { KEY_SQL } from './key.sql.js';
import { type Rows, statementsOn } from './row-keeper.js';
import { SessionKeyEntity } from './session-key.entity.js';

/** A key as the database has it. `material` is a JWK, encrypted if the application has a secret. */
export type StoredKey = Pick<SessionKeyEntity, keyof SessionKeyEntity>;

/** Reads and writes the table of keys. */
export class KeyStore {
  private readonly run;

  /** @param module see {@link statementsOn} */
  constructor(rows: Rows, module?: string) {
    const statements = statementsOn(rows, SessionKeyEntity, module);
    this.run = statements.prepare({ ...KEY_SQL, insert: statements.insertion });
  }

  /** All keys of a purpose, in the order of `sequence`. */
  async findAll(purpose: string): Promise<StoredKey[]> {
    const { rows } = await storageErrors(() => this.run.findAll({ purpose }));
    return rows;
  }

  /** @returns whether it was inserted; false when there is already a key with this purpose and sequence */
  async insertUnlessTaken(key: StoredKey): Promise<boolean> {
    return storageErrors(async () => {
      try {
        await this.run.insert(key);
        return true;
      } catch (error) {
        if (isUniqueViolation(error)) return false;
        throw error;
      }
    });
  }

  /** @returns whether the key begins to sign now; false when it already did, or was deleted */
  async activate({ kid }: StoredKey, now: number): Promise<boolean> {
    const { affected } = await storageErrors(() => this.run.activate({ kid, now }));
    return affected === 1;
  }

  /** Stores the same key with new encryption, unless another process has done so. */
  async replaceMaterial({ kid, material }: StoredKey, next: string): Promise<void> {
    await storageErrors(() => this.run.replaceMaterial({ kid, material, next }));
  }

  async remove(kids: string[]): Promise<void> {
    if (kids.length > 0) await storageErrors(() => this.run.remove({ kids }));
  }
}
