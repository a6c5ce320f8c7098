import { Controller, Get } from '@nestjs/common';
import { HealthCheckService } from '@nestjs/terminus';
import { SessionHealthIndicator } from 'nestjs-session-tokens/terminus';

@Controller('health')
export class HealthController {
  constructor(
    private readonly health: HealthCheckService,
    private readonly sessions: SessionHealthIndicator,
  ) {}

  /** 503 while the database does not answer, revocations are not heard of, or keys are not replaced. */
  @Get()
  async check(): Promise<object> {
    return this.health.check([async () => this.sessions.isHealthy('sessions')]);
  }
}
