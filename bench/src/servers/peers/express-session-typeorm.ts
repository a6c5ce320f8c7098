// express-session with connect-typeorm. It asks for TypeORM 0.3 as its peer, but runs on 1.x: what it calls is still there.
import { Injectable, type OnApplicationShutdown, type OnModuleInit } from '@nestjs/common';
import { type ISession, TypeormStore } from 'connect-typeorm';
import { Column, DataSource, DeleteDateColumn, Entity, Index, PrimaryColumn } from 'typeorm';
import { readEnvironment } from '../support/environment.js';
import { ExpressSessionController, expressSession } from './support/express-sessions.js';
import { servePeer } from './support/peer-server.js';

/** The entity of connect-typeorm's documentation. */
@Entity()
class Session implements ISession {
  @Index()
  @Column('bigint')
  expiredAt = Date.now();

  @PrimaryColumn('varchar', { length: 255 })
  id = '';

  @Column('text')
  json = '';

  @DeleteDateColumn({ type: 'timestamp' })
  destroyedAt?: Date;
}

@Injectable()
class Database implements OnModuleInit, OnApplicationShutdown {
  readonly dataSource: DataSource;

  constructor() {
    const { databaseUrl, pool } = readEnvironment();
    this.dataSource = new DataSource({
      type: 'postgres',
      url: databaseUrl,
      poolSize: pool,
      entities: [Session],
      synchronize: true,
    });
  }

  async onModuleInit(): Promise<void> {
    await this.dataSource.initialize();
  }

  async onApplicationShutdown(): Promise<void> {
    await this.dataSource.destroy();
  }
}

servePeer({
  description:
    'made for TypeORM 0.3, runs on 1.x; each GET reads the session and moves its expiry; a logout is answered before it is written',
  controllers: [ExpressSessionController],
  providers: [Database],
  configure: (app) => {
    // The repository is there before its connections, which come with the application's start.
    const database = app.get(Database);
    const store = new TypeormStore({ cleanupLimit: 2, ttl: 30 * 24 * 60 * 60 });
    app.use(expressSession(store.connect(database.dataSource.getRepository(Session))));
  },
});
