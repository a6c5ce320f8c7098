import { Column, Entity, Index, PrimaryColumn } from 'typeorm';
import { wholeNumber } from './columns.js';

/** One session: one signed-in device of one user. Times are epoch milliseconds. */
@Entity({ name: 'user_session' })
// With the id, a page of a user's sessions is a range, however many sessions the user has.
@Index(['userId', 'id'])
export class SessionEntity {
  /** UUID version 7. It is not a secret. */
  @PrimaryColumn({ name: 'id', type: 'varchar', length: 36 })
  id!: string;

  /** The user's id as JSON, so that `1` and `"1"` are different users. */
  @Column({ name: 'user_id', type: 'varchar', length: 255 })
  userId!: string;

  /** The hash of the preimage of the session secret; see `session-secret.ts`. SHA-256, base64url. */
  @Column({ name: 'secret_hash', type: 'varchar', length: 43 })
  secretHash!: string;

  /** The claims in access tokens, as JSON. */
  @Column({ name: 'claims', type: 'text' })
  claims!: string;

  /** The data that stays in the database, as JSON. */
  @Column({ name: 'data', type: 'text' })
  data!: string;

  /** Increases by one with each update of claims or data, so that no update is lost. */
  @Column({ name: 'version', type: 'int', transformer: wholeNumber })
  version!: number;

  /** The newest generation that the client has proven to hold. */
  @Column({ name: 'generation', type: 'int', transformer: wholeNumber })
  generation!: number;

  /**
   * Token id (hex) of the sibling of `generation` that was exchanged; null if none was. A revoked row has the mark of the call
   * that revoked it.
   */
  @Column({ name: 'redeemed_by', type: 'varchar', length: 16, nullable: true })
  redeemedBy!: string | null;

  @Column({ name: 'created_at', type: 'bigint', transformer: wholeNumber })
  createdAt!: number;

  /** Written when a token is exchanged or proven, so exact to about the lifetime of an access token. */
  @Column({ name: 'last_seen_at', type: 'bigint', transformer: wholeNumber })
  lastSeenAt!: number;

  @Index()
  @Column({ name: 'expires_at', type: 'bigint', transformer: wholeNumber })
  expiresAt!: number;

  /** The longest time between two refreshes, in milliseconds; null for that of the options. */
  @Column({ name: 'idle_ttl', type: 'bigint', nullable: true, transformer: wholeNumber })
  idleTtl!: number | null;

  /** The end of the session, however often it is refreshed; null for that of the options. */
  @Column({ name: 'ends_at', type: 'bigint', nullable: true, transformer: wholeNumber })
  endsAt!: number | null;

  /** Whether the client keeps its tokens when the browser is closed: 1 or 0. */
  @Column({ name: 'remember', type: 'int', transformer: wholeNumber })
  remember!: number;

  /** When the user last proved who they are; null if that was when the session was made. */
  @Column({ name: 'auth_time', type: 'bigint', nullable: true, transformer: wholeNumber })
  authTime!: number | null;

  /** How the user did (RFC 8176), as JSON; null if the application does not say. */
  @Column({ name: 'amr', type: 'varchar', length: 255, nullable: true })
  amr!: string | null;

  /** Who acts as the user, as JSON; null if the user does. It stays when the session is revoked. */
  @Column({ name: 'actor', type: 'varchar', length: 640, nullable: true })
  actor!: string | null;

  /**
   * When the session was revoked. The row then has no content, and stays until the last access token has expired. Only revoked
   * rows are in the index, so that sign-in does not write it. MySQL and MariaDB ignore the condition.
   */
  @Index({ where: 'revoked_at IS NOT NULL' })
  @Column({ name: 'revoked_at', type: 'bigint', nullable: true, transformer: wholeNumber })
  revokedAt!: number | null;

  /** Why the session was revoked; see `RevocationReason`. */
  @Column({ name: 'revoked_reason', type: 'varchar', length: 16, nullable: true })
  revokedReason!: string | null;

  /** The name that the user has given to the device, as JSON; null for none. */
  @Column({ name: 'label', type: 'varchar', length: 386, nullable: true })
  label!: string | null;

  /** `User-Agent` at sign-in. */
  @Column({ name: 'user_agent', type: 'varchar', length: 255, nullable: true })
  userAgent!: string | null;

  /** Address of the client at sign-in. */
  @Column({ name: 'ip', type: 'varchar', length: 64, nullable: true })
  ip!: string | null;
}
