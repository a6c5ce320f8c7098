import { type DataSource, MoreThan, type Repository } from 'typeorm';
import { isUniqueViolation, storageErrors } from './database-error.js';
import { SessionKeyEntity } from './session-key.entity.js';

/** A key as the database has it; `material` is a JWK, sealed where the application has a secret. */
export type StoredKey = SessionKeyEntity;

/** The table of keys. */
export class KeyStore {
  private readonly repository: Repository<SessionKeyEntity>;

  constructor(dataSource: DataSource) {
    this.repository = dataSource.getRepository(SessionKeyEntity);
  }

  /** All keys of a purpose, in their sequence. */
  async findAll(purpose: string): Promise<StoredKey[]> {
    return storageErrors(() => this.repository.find({ where: { purpose }, order: { sequence: 'ASC' } }));
  }

  /** @returns whether it was inserted; false when another process already filled this place in the sequence */
  async insertUnlessTaken(key: StoredKey): Promise<boolean> {
    return storageErrors(async () => {
      try {
        await this.repository.insert(key);
        return true;
      } catch (error) {
        if (isUniqueViolation(error)) return false;
        throw error;
      }
    });
  }

  /** @returns whether the key now signs; false when it did already, or is gone */
  async activate({ kid }: StoredKey, now: number): Promise<boolean> {
    const criteria = { kid, activeAt: MoreThan(now) };
    const { affected } = await storageErrors(() => this.repository.update(criteria, { activeAt: now }));
    return affected === 1;
  }

  /** Stores the same key in another way, unless another process has done so. */
  async replaceMaterial({ kid, material }: StoredKey, next: string): Promise<void> {
    await storageErrors(() => this.repository.update({ kid, material }, { material: next }));
  }

  async remove(kids: string[]): Promise<void> {
    if (kids.length > 0) await storageErrors(() => this.repository.delete(kids));
  }
}
