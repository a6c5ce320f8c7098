// What a guard costs that does nothing: Nest's own share of every guard and of a parameter decorator.
import {
  type CanActivate,
  Controller,
  createParamDecorator,
  Get,
  Injectable,
  Module,
  UseGuards,
} from '@nestjs/common';
import { nestServer } from '../support/nest.js';
import { serve } from '../support/serve.js';

@Injectable()
class EmptyGuard implements CanActivate {
  canActivate(): boolean {
    return true;
  }
}

const Answer = createParamDecorator(() => true);

@Controller()
class AccountController {
  @UseGuards(EmptyGuard)
  @Get('bare')
  bare(@Answer() ok: boolean): object {
    return { ok };
  }
}

@Module({ controllers: [AccountController] })
class AppModule {}

serve(nestServer(() => AppModule));
