// express-session with connect-pg-simple.
import connectPgSimple from 'connect-pg-simple';
import session from 'express-session';
import { ExpressSessionController, expressSession } from './support/express-sessions.js';
import { servePeer } from './support/peer-server.js';
import { Pool } from './support/pool.js';

const PgStore = connectPgSimple(session);

servePeer({
  description: 'each GET reads the session and moves its expiry',
  controllers: [ExpressSessionController],
  providers: [Pool],
  configure: (app) => {
    const pool = app.get(Pool).pg;
    app.use(expressSession(new PgStore({ pool, createTableIfMissing: true })));
  },
});
