import type { TypeOrmModuleOptions } from '@nestjs/typeorm';
import libsql from 'libsql';
import { SESSION_ENTITIES, SESSION_MIGRATIONS } from 'nestjs-session-tokens';
import type { DataSourceOptions } from 'typeorm';

/** A server that drops packets instead of refusing them must not keep requests waiting for minutes. */
const CONNECT_TIMEOUT = 5_000;

/** The database that a URL names, or `undefined` when it names none that this application can use. */
export function databaseOptions(url: string): DataSourceOptions | undefined {
  if (url.startsWith('sqlite:')) {
    const file = url.slice('sqlite:'.length);
    if (file === '' || file.startsWith('//')) return undefined;
    // libsql is SQLite with the interface of better-sqlite3. In WAL mode reading and writing do not wait for each other.
    return { type: 'better-sqlite3', driver: libsql, database: file, enableWAL: true };
  }
  if (!URL.canParse(url)) return undefined;
  const { protocol, hostname, pathname } = new URL(url);
  if (hostname === '' || pathname.length < 2) return undefined;
  switch (protocol) {
    case 'postgres:':
    case 'postgresql:':
      return { type: 'postgres', url, connectTimeoutMS: CONNECT_TIMEOUT };
    case 'mysql:':
      return { type: 'mysql', url, connectTimeout: CONNECT_TIMEOUT };
    case 'mariadb:':
      return { type: 'mariadb', url, connectTimeout: CONNECT_TIMEOUT };
    default:
      return undefined;
  }
}

/** The application's `DataSource`: its own entities and migrations would stand here beside those of the sessions. */
export function typeOrmOptions(database: DataSourceOptions): TypeOrmModuleOptions {
  return {
    ...database,
    entities: [...SESSION_ENTITIES],
    migrations: [...SESSION_MIGRATIONS],
    migrationsRun: true,
    // A database may start after the application. And where several processes migrate an empty one at once, all but
    // one fail; they try again, and find its work done.
    retryAttempts: 20,
    retryDelay: 500,
    verboseRetryLog: true,
  };
}
