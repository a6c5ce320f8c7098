import { ApolloDriver, type ApolloDriverConfig } from '@nestjs/apollo';
import { UseGuards } from '@nestjs/common';
import { Field, GraphQLModule, ID, ObjectType, Parent, Query, ResolveField, Resolver } from '@nestjs/graphql';
import { MercuriusDriver, type MercuriusDriverConfig } from '@nestjs/mercurius';
import { ActiveSession, CurrentSession, OptionalSession, SessionGuard } from 'nestjs-session-tokens';
import { describe, expect, it } from 'vitest';
import { accountApps, setCookieNames } from '../http/account-app.js';
import { type Adapter } from '../support/app.js';
import { pass } from '../support/time.js';

@ObjectType()
class User {
  @Field(() => ID)
  id!: string;

  @Field()
  role!: string;
}

@Resolver(() => User)
class UserResolver {
  @UseGuards(SessionGuard)
  @Query(() => User)
  me(@CurrentSession('userId') id: string): Partial<User> {
    return { id };
  }

  @UseGuards(SessionGuard)
  @ResolveField()
  role(@Parent() user: User, @CurrentSession() session: ActiveSession<{ role: string }>): string {
    return `${user.id} is ${session.claims.role}`;
  }

  @OptionalSession()
  @UseGuards(SessionGuard)
  @Query(() => String)
  visitor(@CurrentSession('userId') id?: string): string {
    return id ?? 'nobody';
  }

  @Query(() => String)
  unguarded(@CurrentSession('userId') id: string): string {
    return id;
  }
}

const drivers: { name: string; adapter: Adapter; module: () => ReturnType<typeof GraphQLModule.forRoot> }[] =
  [
    {
      name: 'Apollo on Express',
      adapter: 'express',
      module: () =>
        GraphQLModule.forRoot<ApolloDriverConfig>({
          driver: ApolloDriver,
          autoSchemaFile: true,
          playground: false,
        }),
    },
    {
      name: 'Mercurius on Fastify',
      adapter: 'fastify',
      module: () =>
        GraphQLModule.forRoot<MercuriusDriverConfig>({ driver: MercuriusDriver, autoSchemaFile: true }),
    },
  ];

const query = (text: string) => ({ query: `{ ${text} }` });

describe.each(drivers)('resolvers of $name', ({ adapter, module }) => {
  const apps = accountApps(adapter);
  const start = () => apps({}, { metadata: { imports: [module()], providers: [UserResolver] } });

  it('are guarded, field by field, and get the session', async () => {
    const app = await start();
    const refused = await app.browser().post('/graphql', query('me { id }'));
    expect(refused.body).toMatchObject({
      data: null,
      errors: [{ message: 'The request carries no session. Sign in first.' }],
    });
    const browser = await app.signIn({ userId: 'alice', claims: { role: 'admin' } });
    expect((await browser.post('/graphql', query('me { id role }'))).body).toEqual({
      data: { me: { id: 'alice', role: 'alice is admin' } },
    });
  });

  it('have the session refreshed on the way', async () => {
    const app = await start();
    const browser = await app.signIn({ userId: 'alice', claims: { role: 'admin' } });
    pass('16m');
    const answer = await browser.post('/graphql', query('me { id role }'));
    expect(answer.body).toEqual({ data: { me: { id: 'alice', role: 'alice is admin' } } });
    expect(setCookieNames(answer)).toEqual(['__Host-Http-session_access', '__Host-Http-session_refresh']);
  });

  it('may do without one', async () => {
    const app = await start();
    const visitor = await app.browser().post('/graphql', query('visitor'));
    expect(visitor.body).toEqual({ data: { visitor: 'nobody' } });
    const browser = await app.signIn();
    expect((await browser.post('/graphql', query('visitor'))).body).toEqual({ data: { visitor: 'alice' } });
  });

  it('say so where no guard has looked', async () => {
    const app = await start();
    const browser = await app.signIn();
    expect((await browser.post('/graphql', query('unguarded'))).body).toMatchObject({
      errors: [{ message: expect.stringMatching(/@UseGuards\(SessionGuard\)/) as string }],
    });
  });
});
