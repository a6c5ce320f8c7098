import { Module } from '@nestjs/common';
import { TheftDemoController } from './theft-demo.controller.js';
import { Thieves } from './thieves.js';

/**
 * Plays a thief, for the page to show when one is caught. Not for production, where it is off unless asked for: it lets
 * whoever is signed in have a copy of their own cookies used by the server.
 */
@Module({ controllers: [TheftDemoController], providers: [Thieves] })
export class TheftDemoModule {}
