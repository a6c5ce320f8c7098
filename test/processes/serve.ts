import { SessionError } from 'nestjs-session-tokens';

/** A call of the parent. */
interface Call {
  readonly id: number;
  readonly command: string;
  readonly parameters: unknown[];
}

/** Runs the calls that the parent makes of these commands, and tells it that it may begin. All values are sent as JSON. */
export function serveCommands(commands: object): void {
  process.on('message', ({ id, command, parameters }: Call) => {
    const run = Reflect.get(commands, command) as (...parameters: unknown[]) => unknown;
    Promise.resolve()
      .then(() => run.apply(commands, parameters))
      .then(
        (result) => process.send!({ id, result }),
        (error: unknown) => {
          const code = error instanceof SessionError ? error.code : undefined;
          process.send!({ id, error: { code, message: String(error) } });
        },
      );
  });
  process.send!({ event: 'ready' });
}
