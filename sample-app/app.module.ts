import { type DynamicModule, Module } from '@nestjs/common';
import { TerminusModule } from '@nestjs/terminus';
import { TypeOrmModule } from '@nestjs/typeorm';
import { SessionModule } from 'nestjs-session-tokens';
import { SessionHealthIndicator } from 'nestjs-session-tokens/terminus';
import type { DataSource } from 'typeorm';
import { AuthController } from './auth.controller.js';
import { DataController } from './data.controller.js';
import { DevicesController } from './devices.controller.js';
import { HealthController } from './health.controller.js';
import { PageController } from './page/page.controller.js';
import { Settings } from './settings.js';
import { SignInLimiter } from './sign-in-limiter.js';
import { TheftDemoModule } from './theft-demo/theft-demo.module.js';
import { UsersModule } from './users/users.module.js';

@Module({
  // It would log each probe that fails. The session module logs when trouble begins, and when it is over.
  imports: [UsersModule, TerminusModule.forRoot({ logger: false })],
  providers: [SessionHealthIndicator, SignInLimiter],
  controllers: [AuthController, DevicesController, DataController, HealthController, PageController],
})
export class AppModule {
  static with(settings: Settings, dataSource: DataSource): DynamicModule {
    return {
      module: AppModule,
      global: true,
      imports: [
        // Nest closes it when the application ends.
        TypeOrmModule.forRootAsync({ useFactory: () => ({}), dataSourceFactory: async () => dataSource }),
        SessionModule.forRoot({ isGlobal: true, ...settings.session }),
        ...(settings.theftDemo ? [TheftDemoModule] : []),
      ],
      providers: [{ provide: Settings, useValue: settings }],
      exports: [Settings],
    };
  }
}
