import { Controller, Delete, Get, HttpCode, Param, UseGuards } from '@nestjs/common';
import {
  ActiveSession,
  CurrentSession,
  SessionGuard,
  SessionNotFoundError,
  SessionService,
} from 'nestjs-session-tokens';

/** The devices on which a user is signed in: each is a session. */
@UseGuards(SessionGuard)
@Controller('sessions')
export class DevicesController {
  constructor(private readonly sessions: SessionService) {}

  @Get()
  async list(@CurrentSession() current: ActiveSession): Promise<object[]> {
    const sessions = await this.sessions.findAllForUser(current.userId);
    return sessions.map(({ id, createdAt, lastSeenAt, expiresAt, userAgent, ip }) => ({
      id,
      current: id === current.id,
      createdAt,
      lastSeenAt,
      expiresAt,
      userAgent,
      ip,
    }));
  }

  @Delete(':id')
  @HttpCode(204)
  async signOut(@CurrentSession() current: ActiveSession, @Param('id') id: string): Promise<void> {
    // Its own revoke() takes the cookies from this browser, too.
    if (id === current.id) {
      await current.revoke();
      return;
    }
    const device = await this.sessions.find(id);
    // Somebody else's session is answered as one that does not exist, so that nobody learns which ids do.
    if (device?.userId !== current.userId) throw new SessionNotFoundError(id);
    await this.sessions.revoke(device.id, { reason: 'user', by: current.userId });
  }

  @Delete()
  async signOutOthers(@CurrentSession() current: ActiveSession): Promise<object> {
    const { id: except, userId } = current;
    return { revoked: await this.sessions.revokeAllForUser(userId, { except, reason: 'user', by: userId }) };
  }
}
