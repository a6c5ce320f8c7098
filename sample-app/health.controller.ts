import { Controller, Get } from '@nestjs/common';
import { SessionService } from 'nestjs-session-tokens';

@Controller('health')
export class HealthController {
  constructor(private readonly sessions: SessionService) {}

  /** Asks the very tables that every sign-in needs. While they do not answer, the module's filter makes this a 503. */
  @Get()
  async check(): Promise<object> {
    await this.sessions.find('00000000-0000-7000-8000-000000000000');
    return { status: 'ok' };
  }
}
