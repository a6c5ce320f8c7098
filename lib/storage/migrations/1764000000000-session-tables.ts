import { type DataSource, type MigrationInterface, type QueryRunner, Table } from 'typeorm';

/**
 * Makes the tables of the module, the same on every database. Several processes may run it at once: it does not
 * change existing tables.
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
      // The database drops the indexes with the table, whatever their names.
      await queryRunner.dropTable(table, true, false, false);
    }
  }
}

function tables(queryRunner: QueryRunner): Table[] {
  const { driver, options, namingStrategy } = dataSourceOf(queryRunner);
  const tableName = (name: string) =>
    options.entityPrefix ? namingStrategy.prefixTableName(options.entityPrefix, name) : name;
  const sessions = tableName('user_session');
  const keys = tableName('user_session_key');
  const notBefores = tableName('user_session_not_before');
  // Names of indexes must be unique in a schema or a file. So they depend on the prefix, as the names in the entities do.
  const index = (table: string, columnNames: string[], { isUnique = false, where = '' } = {}) => ({
    name: namingStrategy.indexName(table, columnNames, where),
    columnNames,
    isUnique,
    where,
  });
  // SQLite uses "integer" where the other databases use "int". Without this, the schema builder would see a difference.
  const int = driver.normalizeType({ type: 'int' });
  return [
    new Table({
      name: sessions,
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
        { name: 'idle_ttl', type: 'bigint', isNullable: true },
        { name: 'ends_at', type: 'bigint', isNullable: true },
        { name: 'remember', type: int },
        { name: 'auth_time', type: 'bigint', isNullable: true },
        { name: 'amr', type: 'varchar', length: '255', isNullable: true },
        { name: 'actor', type: 'varchar', length: '640', isNullable: true },
        { name: 'revoked_at', type: 'bigint', isNullable: true },
        { name: 'revoked_reason', type: 'varchar', length: '16', isNullable: true },
        { name: 'label', type: 'varchar', length: '386', isNullable: true },
        { name: 'user_agent', type: 'varchar', length: '255', isNullable: true },
        { name: 'ip', type: 'varchar', length: '64', isNullable: true },
      ],
      indices: [
        index(sessions, ['user_id', 'id']),
        index(sessions, ['expires_at']),
        // Databases without partial indexes ignore the condition.
        index(sessions, ['revoked_at'], { where: 'revoked_at IS NOT NULL' }),
      ],
    }),
    new Table({
      name: keys,
      columns: [
        { name: 'kid', type: 'varchar', length: '64', isPrimary: true },
        { name: 'purpose', type: 'varchar', length: '16' },
        { name: 'sequence', type: int },
        { name: 'algorithm', type: 'varchar', length: '16' },
        { name: 'material', type: 'text' },
        { name: 'active_at', type: 'bigint' },
        { name: 'created_at', type: 'bigint' },
      ],
      indices: [index(keys, ['purpose', 'sequence'], { isUnique: true })],
    }),
    new Table({
      name: notBefores,
      columns: [
        { name: 'id', type: 'varchar', length: '16', isPrimary: true },
        { name: 'user_id', type: 'varchar', length: '255' },
        { name: 'not_before', type: 'bigint' },
        { name: 'except_id', type: 'varchar', length: '36', isNullable: true },
        { name: 'reason', type: 'varchar', length: '16' },
        { name: 'created_at', type: 'bigint' },
        { name: 'settled_at', type: 'bigint' },
      ],
      indices: [index(notBefores, ['user_id']), index(notBefores, ['settled_at'])],
    }),
  ];
}

/** The data source of a query runner. TypeORM 0.3 calls this member `connection`. */
function dataSourceOf(queryRunner: QueryRunner): DataSource {
  return 'dataSource' in queryRunner
    ? queryRunner.dataSource
    : (queryRunner as { connection: DataSource }).connection;
}
