import { Column, Entity, Index, PrimaryColumn } from 'typeorm';
import { wholeNumber } from './columns.js';

/** A key that signs access tokens or authenticates refresh tokens. */
@Entity({ name: 'user_session_key' })
@Index(['purpose', 'sequence'], { unique: true })
export class SessionKeyEntity {
  @PrimaryColumn({ name: 'kid', type: 'varchar', length: 64 })
  kid!: string;

  /** `access` or `refresh`. */
  @Column({ name: 'purpose', type: 'varchar', length: 16 })
  purpose!: string;

  /** The key's number among the keys of its purpose, from 1. */
  @Column({ name: 'sequence', type: 'int', transformer: wholeNumber })
  sequence!: number;

  @Column({ name: 'algorithm', type: 'varchar', length: 16 })
  algorithm!: string;

  /** A JWK. It is encrypted as a JWE when the application has a secret. */
  @Column({ name: 'material', type: 'text' })
  material!: string;

  /** When the key begins to sign, in epoch milliseconds. */
  @Column({ name: 'active_at', type: 'bigint', transformer: wholeNumber })
  activeAt!: number;

  /** Epoch milliseconds. */
  @Column({ name: 'created_at', type: 'bigint', transformer: wholeNumber })
  createdAt!: number;
}
