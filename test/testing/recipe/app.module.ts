import { Module } from '@nestjs/common';
import { SessionModule } from 'nestjs-session-tokens';
import { AccountController } from './account.controller.js';

/** Nobody listens there: the recipe must need no database. */
const database = { type: 'postgres', url: 'postgres://nobody@127.0.0.1:1/none' } as const;

@Module({
  imports: [SessionModule.forRoot({ secret: process.env['SESSION_SECRET'], database })],
  controllers: [AccountController],
})
export class AppModule {}
