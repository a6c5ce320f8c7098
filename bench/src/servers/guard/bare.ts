// Nest alone: the floor of every guard.
import { Module } from '@nestjs/common';
import { BareController, nestServer } from '../support/nest.js';
import { serve } from '../support/serve.js';

@Module({ controllers: [BareController] })
class AppModule {}

serve(nestServer(() => AppModule));
