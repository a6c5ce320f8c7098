import { type INestApplication, UseGuards } from '@nestjs/common';
import { IoAdapter } from '@nestjs/platform-socket.io';
import { WsAdapter } from '@nestjs/platform-ws';
import { ConnectedSocket, MessageBody, SubscribeMessage, WebSocketGateway } from '@nestjs/websockets';
import {
  attachedSession,
  CurrentSession,
  OptionalSession,
  SESSION_AUTHENTICATOR,
  SessionGuard,
  SkipSession,
} from 'nestjs-session-tokens';
import { DAY } from '../support/time.js';
import type { Transport } from './gateway-client.js';

/** A socket of either adapter. */
export type Socket = object & {
  readonly terminate?: unknown;
  readonly send: (text: string) => void;
  readonly emit: (event: string, data: unknown) => void;
};

export function say(client: Socket, event: string, data: unknown): void {
  if (client.terminate) client.send(JSON.stringify({ event, data }));
  else client.emit(event, data);
}

/** A gateway that welcomes clients by the user whom it has found. */
export class WelcomingGateway {
  readonly calls: string[] = [];

  handleConnection(client: Socket): void {
    this.calls.push('connected');
    say(client, 'welcome', attachedSession(client)?.userId ?? 'nobody');
  }

  handleDisconnect(): void {
    this.calls.push('disconnected');
  }

  answer(event: string, data: unknown, client: Socket): unknown {
    this.calls.push(event);
    return client.terminate ? { event, data } : data;
  }
}

/** What each gateway does with messages. */
export class Messages extends WelcomingGateway {
  @SubscribeMessage('say')
  say(
    @MessageBody() text: string,
    @CurrentSession('userId') userId: string | undefined,
    @ConnectedSocket() client: Socket,
  ): unknown {
    return this.answer('say', `${userId ?? 'nobody'}: ${text}`, client);
  }

  @SkipSession()
  @SubscribeMessage('ping')
  ping(@ConnectedSocket() client: Socket): unknown {
    return this.answer('ping', 'pong', client);
  }
}

@UseGuards(SessionGuard)
@WebSocketGateway()
export class GuardedGateway extends Messages {}

@WebSocketGateway()
export class PlainGateway extends Messages {}

@OptionalSession()
@UseGuards(SessionGuard)
@WebSocketGateway()
export class OptionalGateway extends Messages {}

@SkipSession()
@UseGuards(SessionGuard)
@WebSocketGateway()
export class SkippingGateway extends WelcomingGateway {
  @SubscribeMessage('say')
  say(@ConnectedSocket() client: Socket): unknown {
    return this.answer('say', 'anybody', client);
  }
}

/** Only one kind of message needs a session. */
@WebSocketGateway()
export class PartlyGuardedGateway extends WelcomingGateway {
  @UseGuards(SessionGuard)
  @SubscribeMessage('say')
  say(
    @MessageBody() text: string,
    @CurrentSession('userId') userId: string,
    @ConnectedSocket() client: Socket,
  ): unknown {
    return this.answer('say', `${userId}: ${text}`, client);
  }

  @SubscribeMessage('ping')
  ping(@ConnectedSocket() client: Socket): unknown {
    return this.answer('ping', 'pong', client);
  }
}

type IoServer = ReturnType<IoAdapter['createIOServer']>;

/** Clients of Socket.IO give up when they are not pinged in time. In the tests, time passes without pings. */
class PatientIoAdapter extends IoAdapter {
  override createIOServer(...[port, options]: Parameters<IoAdapter['createIOServer']>): IoServer {
    return super.createIOServer(port, { ...options!, pingTimeout: 20 * DAY });
  }
}

/** Has the application use the adapter that a transport needs. */
export function adapterFor(transport: Transport): (app: INestApplication) => void {
  return (app) => {
    app.useWebSocketAdapter(transport === 'ws' ? new WsAdapter(app) : new PatientIoAdapter(app));
  };
}

/** How many connections the module of an application knows. */
export function connectionsOf(app: INestApplication): number {
  const { connections } = app.get<{ connections: { size: number } }>(SESSION_AUTHENTICATOR, {
    strict: false,
  });
  return connections.size;
}
