import { type MigrationInterface, type QueryRunner, Table } from 'typeorm';

/**
 * The tables of sessions and keys, the same on every database. It can be run by several processes at once: what is
 * there already is left alone.
 */
export class SessionTables1764000000000 implements MigrationInterface {
  readonly name = 'SessionTables1764000000000';

  async up(queryRunner: QueryRunner): Promise<void> {
    for (const table of tables(queryRunner)) {
      await queryRunner.createTable(table, true);
    }
  }

  async down(queryRunner: QueryRunner): Promise<void> {
    for (const table of tables(queryRunner).toReversed()) {
      await queryRunner.dropTable(table, true);
    }
  }
}

function tables(queryRunner: QueryRunner): Table[] {
  // TypeORM 0.3 has it under the second name only.
  const { driver, options } = queryRunner.dataSource ?? queryRunner.connection;
  const prefix = options.entityPrefix ?? '';
  // SQLite says "integer" for what the others call "int"; the schema builder would find a difference.
  const int = driver.normalizeType({ type: 'int' });
  return [
    new Table({
      name: `${prefix}user_session`,
      columns: [
        { name: 'id', type: 'varchar', length: '36', isPrimary: true },
        { name: 'user_id', type: 'varchar', length: '255' },
        { name: 'secret_hash', type: 'varchar', length: '43' },
        { name: 'claims', type: 'text' },
        { name: 'data', type: 'text' },
        { name: 'version', type: int },
        { name: 'generation', type: int },
        { name: 'redeemed_by', type: 'varchar', length: '16', isNullable: true },
        { name: 'created_at', type: 'bigint' },
        { name: 'last_seen_at', type: 'bigint' },
        { name: 'expires_at', type: 'bigint' },
        { name: 'revoked_at', type: 'bigint', isNullable: true },
        { name: 'user_agent', type: 'varchar', length: '255', isNullable: true },
        { name: 'ip', type: 'varchar', length: '64', isNullable: true },
      ],
      indices: [
        { name: 'ix_user_session_user_id', columnNames: ['user_id'] },
        { name: 'ix_user_session_expires_at', columnNames: ['expires_at'] },
        { name: 'ix_user_session_revoked_at', columnNames: ['revoked_at'] },
      ],
    }),
    new Table({
      name: `${prefix}user_session_key`,
      columns: [
        { name: 'kid', type: 'varchar', length: '64', isPrimary: true },
        { name: 'purpose', type: 'varchar', length: '16' },
        { name: 'sequence', type: int },
        { name: 'algorithm', type: 'varchar', length: '16' },
        { name: 'material', type: 'text' },
        { name: 'active_at', type: 'bigint' },
        { name: 'created_at', type: 'bigint' },
      ],
      indices: [
        { name: 'uq_user_session_key_sequence', columnNames: ['purpose', 'sequence'], isUnique: true },
      ],
    }),
  ];
}
