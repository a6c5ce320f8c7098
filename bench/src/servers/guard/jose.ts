// The least that a guard with JWTs can do: `jose` verifies each request's token with a key imported once.
import {
  type CanActivate,
  Controller,
  createParamDecorator,
  type ExecutionContext,
  Get,
  Injectable,
  Module,
  UnauthorizedException,
  UseGuards,
} from '@nestjs/common';
import { type JWTPayload, jwtVerify } from 'jose';
import { BareController, nestServer } from '../support/nest.js';
import { serve } from '../support/serve.js';
import { algorithm, key } from './signing-key.js';

interface AuthenticatedRequest {
  readonly headers: { readonly cookie?: string };
  token?: JWTPayload;
}

@Injectable()
class JoseGuard implements CanActivate {
  async canActivate(context: ExecutionContext): Promise<boolean> {
    const request = context.switchToHttp().getRequest<AuthenticatedRequest>();
    const token = /session_access=([^;]+)/.exec(request.headers.cookie ?? '')?.[1];
    if (token === undefined) throw new UnauthorizedException();
    try {
      const { payload } = await jwtVerify(token, key, {
        algorithms: [algorithm],
        requiredClaims: ['sub', 'sid', 'iat', 'exp'],
      });
      request.token = payload;
    } catch {
      throw new UnauthorizedException();
    }
    return true;
  }
}

const UserId = createParamDecorator(
  (_: unknown, context: ExecutionContext) =>
    context.switchToHttp().getRequest<AuthenticatedRequest>().token?.sub,
);

@Controller()
class AccountController {
  @UseGuards(JoseGuard)
  @Get('me')
  me(@UserId() userId: string): object {
    return { userId };
  }
}

@Module({ controllers: [BareController, AccountController] })
class AppModule {}

serve(nestServer(() => AppModule));
