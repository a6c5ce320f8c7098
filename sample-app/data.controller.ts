import { Controller, Get, Header, HttpCode, Put, UseGuards } from '@nestjs/common';
import { ActiveSession, type JsonValue, CurrentSession, SessionGuard } from 'nestjs-session-tokens';
import { JsonBody } from './json-body.decorator.js';

/** The session's data: any JSON, kept in the database, unlike the claims, which travel in the access token. */
@UseGuards(SessionGuard)
@Controller('data')
export class DataController {
  @Get()
  // Written out here, because Nest sends a string as text and null as nothing.
  @Header('content-type', 'application/json; charset=utf-8')
  async read(@CurrentSession() session: ActiveSession): Promise<string> {
    return JSON.stringify(await session.getData());
  }

  @Put()
  @HttpCode(204)
  async write(@CurrentSession() session: ActiveSession, @JsonBody() data: JsonValue): Promise<void> {
    // Any JSON, as the page has it; an application registers its type.
    await session.updateData(data as object);
  }
}
