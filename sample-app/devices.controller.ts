import { Controller, Delete, Get, HttpCode, Param, Patch, Query, UseGuards } from '@nestjs/common';
import {
  ActiveSession,
  CurrentSession,
  type JsonValue,
  SessionGuard,
  SessionNotFoundError,
  SessionService,
} from 'nestjs-session-tokens';
import { JsonBody } from './json-body.decorator.js';

/** The devices on which a user is signed in: each is a session. */
@UseGuards(SessionGuard)
@Controller('sessions')
export class DevicesController {
  constructor(private readonly sessions: SessionService) {}

  /** A page of them, newest first. `next` is the `after` of the next page. */
  @Get()
  async list(
    @CurrentSession() { id, userId }: ActiveSession,
    @Query('after') after?: string,
  ): Promise<object> {
    const { sessions, next } = await this.sessions.findAllForUser(userId, { current: id, after });
    // Not the claims and the data: they are for the application, not for this list.
    const devices = sessions.map(({ claims: _claims, data: _data, ...device }) => device);
    return { sessions: devices, next };
  }

  /** Gives a device a name, or takes it away: `{ "label": null }`. */
  @Patch(':id')
  @HttpCode(204)
  async rename(
    @CurrentSession() current: ActiveSession,
    @Param('id') id: string,
    @JsonBody() body: JsonValue,
  ): Promise<void> {
    await this.checkOwn(current, id);
    // The library checks what it is.
    const { label } = (body ?? {}) as { label: string | null };
    await this.sessions.rename(id, label);
  }

  @Delete(':id')
  @HttpCode(204)
  async signOut(@CurrentSession() current: ActiveSession, @Param('id') id: string): Promise<void> {
    // Its own revoke() takes the cookies from this browser, too.
    if (id === current.id) {
      await current.revoke();
      return;
    }
    await this.checkOwn(current, id);
    await this.sessions.revoke(id, { reason: 'user', by: current.userId });
  }

  @Delete()
  async signOutOthers(@CurrentSession() current: ActiveSession): Promise<object> {
    const { id: except, userId } = current;
    return { revoked: await this.sessions.revokeAllForUser(userId, { except, reason: 'user', by: userId }) };
  }

  /** Somebody else's session is answered as one that does not exist, so that nobody learns which ids do. */
  private async checkOwn({ userId }: ActiveSession, id: string): Promise<void> {
    const device = await this.sessions.find(id);
    if (device?.userId !== userId) throw new SessionNotFoundError(id);
  }
}
