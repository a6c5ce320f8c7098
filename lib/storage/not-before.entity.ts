import { Column, Entity, Index, PrimaryColumn } from 'typeorm';
import { wholeNumber } from './columns.js';

/** Ends all sessions of a user, or of everybody, that were made until some time. Times are epoch milliseconds. */
@Entity({ name: 'user_session_not_before' })
export class NotBeforeEntity {
  /** The mark of the call that has written it. */
  @PrimaryColumn({ name: 'id', type: 'varchar', length: 16 })
  id!: string;

  /** The user's id as in the table of sessions; `*`, which is not JSON, for everybody. */
  @Index()
  @Column({ name: 'user_id', type: 'varchar', length: 255 })
  userId!: string;

  /** Sessions that were made at this time or before are over. */
  @Column({ name: 'not_before', type: 'bigint', transformer: wholeNumber })
  notBefore!: number;

  /** The id of a session that goes on. */
  @Column({ name: 'except_id', type: 'varchar', length: 36, nullable: true })
  exceptId!: string | null;

  /** See `RevocationReason`. */
  @Column({ name: 'reason', type: 'varchar', length: 16 })
  reason!: string;

  /** When it was asked for. */
  @Column({ name: 'created_at', type: 'bigint', transformer: wholeNumber })
  createdAt!: number;

  /** When the rows of its sessions had all been ended. Until then it is later than any time; see `UNSETTLED`. */
  @Index()
  @Column({ name: 'settled_at', type: 'bigint', transformer: wholeNumber })
  settledAt!: number;
}
