// Nest with a TypeORM connection and nothing else: what the module's start-up is compared with.
import { Module } from '@nestjs/common';
import { DataSource } from 'typeorm';
import { dataSourceOptions } from '../support/data-source-options.js';
import { BareController, nestServer } from '../support/nest.js';
import { serve } from '../support/serve.js';

@Module({
  controllers: [BareController],
  providers: [{ provide: DataSource, useFactory: () => new DataSource(dataSourceOptions()).initialize() }],
})
class AppModule {}

serve(nestServer(() => AppModule));
