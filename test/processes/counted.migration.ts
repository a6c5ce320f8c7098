import type { MigrationInterface, QueryRunner } from 'typeorm';

/** A migration of an application that can be run twice without an error, and then has done its work twice. */
export class CountedMigration1700000000000 implements MigrationInterface {
  async up(queryRunner: QueryRunner): Promise<void> {
    await queryRunner.query('CREATE TABLE IF NOT EXISTS counted (runs int)');
    await queryRunner.query('INSERT INTO counted (runs) VALUES (1)');
  }

  async down(): Promise<void> {}
}
