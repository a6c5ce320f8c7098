import { ApolloDriver, type ApolloDriverConfig } from '@nestjs/apollo';
import { type DynamicModule, Injectable, UseGuards } from '@nestjs/common';
import {
  Field,
  GraphQLModule,
  ID,
  Mutation,
  ObjectType,
  Parent,
  Query,
  ResolveField,
  Resolver,
  Subscription,
} from '@nestjs/graphql';
import { MercuriusDriver, type MercuriusDriverConfig } from '@nestjs/mercurius';
import {
  ActiveSession,
  attachedSession,
  CurrentSession,
  NoImpersonation,
  NoRefresh,
  OptionalSession,
  RequireFresh,
  SESSION_AUTHENTICATOR,
  type SessionAuthenticator,
  sessionAtConnect,
  SessionGuard,
  SkipCsrf,
} from 'nestjs-session-tokens';
import type { Adapter } from '../support/app.js';

@ObjectType()
class User {
  @Field(() => ID)
  id!: string;

  @Field()
  role!: string;
}

@ObjectType()
class Item {
  @Field()
  name!: string;
}

/** Guarded where nothing else is said. */
@UseGuards(SessionGuard)
@Resolver(() => User)
export class UserResolver {
  orders = 0;

  @Query(() => User, { nullable: true })
  me(@CurrentSession('userId') id: string): Partial<User> {
    return { id };
  }

  @ResolveField()
  role(@Parent() user: User, @CurrentSession() session: ActiveSession<{ role: string }>): string {
    return `${user.id} is ${session.claims.role}`;
  }

  @OptionalSession()
  @Query(() => String, { nullable: true })
  visitor(@CurrentSession('userId') id?: string): string {
    return id ?? 'nobody';
  }

  @RequireFresh('5m')
  @Query(() => String, { nullable: true })
  fresh(@CurrentSession('userId') id: string): string {
    return id;
  }

  @NoImpersonation()
  @Query(() => String, { nullable: true })
  own(@CurrentSession('userId') id: string): string {
    return id;
  }

  @NoRefresh()
  @Query(() => String, { nullable: true })
  asIs(@CurrentSession('userId') id: string): string {
    return id;
  }

  @SkipCsrf()
  @Query(() => String, { nullable: true })
  hook(@CurrentSession('userId') id: string): string {
    return id;
  }

  @Mutation(() => String, { nullable: true })
  order(@CurrentSession('userId') id: string): string {
    this.orders++;
    return id;
  }
}

@Resolver(() => Item)
export class ItemResolver {
  @Query(() => [Item])
  items(): Item[] {
    return Array.from({ length: 100 }, (_, index) => ({ name: `item ${index}` }));
  }

  @UseGuards(SessionGuard)
  @ResolveField(() => String, { nullable: true })
  owner(@Parent() item: Item, @CurrentSession('userId') id: string): string {
    return `${id} has ${item.name}`;
  }

  @Query(() => String, { nullable: true })
  unguarded(@CurrentSession('userId') id: string): string {
    return id;
  }
}

/** What the subscriptions of one application are told, and how many there are. */
@Injectable()
export class News {
  private readonly listeners = new Set<(value: string) => void>();

  get size(): number {
    return this.listeners.size;
  }

  tell(value: string): void {
    for (const listener of this.listeners) listener(value);
  }

  listen(): AsyncIterableIterator<{ news: string }> {
    const told: string[] = [];
    const waiting: ((result: IteratorResult<{ news: string }>) => void)[] = [];
    const end = { value: undefined, done: true } as const;
    const listener = (news: string) => {
      const next = waiting.shift();
      if (next) next({ value: { news } });
      else told.push(news);
    };
    this.listeners.add(listener);
    return {
      [Symbol.asyncIterator]() {
        return this;
      },
      next: async () => {
        const news = told.shift();
        return news === undefined ? new Promise((resolve) => waiting.push(resolve)) : { value: { news } };
      },
      return: async () => {
        this.listeners.delete(listener);
        for (const resolve of waiting.splice(0)) resolve(end);
        return end;
      },
    };
  }
}

@Resolver()
export class NewsResolver {
  constructor(private readonly source: News) {}

  @UseGuards(SessionGuard)
  @Subscription(() => String)
  news(@CurrentSession('userId') _id: string): AsyncIterableIterator<object> {
    return this.source.listen();
  }

  /** Tells each user what is theirs. */
  @UseGuards(SessionGuard)
  @Subscription(() => String, {
    filter: (payload: { news: string }, _variables: unknown, context: object) =>
      payload.news.endsWith(`for ${String(attachedSession(context)?.userId)}`),
    resolve: (payload: { news: string }) => payload.news,
  })
  mine(): AsyncIterableIterator<object> {
    return this.source.listen();
  }

  @RequireFresh('5m')
  @UseGuards(SessionGuard)
  @Subscription(() => String, { resolve: (payload: { news: string }) => payload.news })
  freshNews(): AsyncIterableIterator<object> {
    return this.source.listen();
  }

  @OptionalSession()
  @UseGuards(SessionGuard)
  @Subscription(() => String, { resolve: (payload: { news: string }) => payload.news })
  visitorNews(@CurrentSession('userId') _id?: string): AsyncIterableIterator<object> {
    return this.source.listen();
  }

  @SkipCsrf()
  @UseGuards(SessionGuard)
  @Subscription(() => String, { resolve: (payload: { news: string }) => payload.news })
  anySite(): AsyncIterableIterator<object> {
    return this.source.listen();
  }

  @Subscription(() => String, { resolve: (payload: { news: string }) => payload.news })
  publicNews(): AsyncIterableIterator<object> {
    return this.source.listen();
  }
}

/** How a GraphQL module is set up. */
export interface GraphQLSetUp {
  /** Whether connections need a session. */
  readonly atConnect?: boolean;
  /** Whether several operations may come in one request. */
  readonly batches?: boolean;
  /** The context of resolvers. @default that of the server */
  readonly context?: object;
}

export interface Driver {
  readonly name: string;
  readonly adapter: Adapter;
  module(setUp?: GraphQLSetUp): DynamicModule;
}

const common = { autoSchemaFile: true, fieldResolverEnhancers: ['guards' as const] };

/** GraphQL servers of Nest, with the options of their documentation. */
export const drivers: readonly Driver[] = [
  {
    name: 'Apollo on Express',
    adapter: 'express',
    module: ({ atConnect = false, batches = false, context } = {}) =>
      GraphQLModule.forRootAsync<ApolloDriverConfig>({
        driver: ApolloDriver,
        inject: [SESSION_AUTHENTICATOR],
        useFactory: (sessions: SessionAuthenticator) => ({
          ...common,
          ...(context && { context }),
          graphiql: false,
          allowBatchedHttpRequests: batches,
          subscriptions: { 'graphql-ws': atConnect ? { onConnect: sessionAtConnect(sessions) } : true },
        }),
      }),
  },
  {
    name: 'Mercurius on Fastify',
    adapter: 'fastify',
    module: ({ atConnect = false, batches = false, context } = {}) =>
      GraphQLModule.forRootAsync<MercuriusDriverConfig>({
        driver: MercuriusDriver,
        inject: [SESSION_AUTHENTICATOR],
        useFactory: (sessions: SessionAuthenticator) => ({
          ...common,
          ...(context && { context }),
          allowBatchedQueries: batches,
          subscription: {
            fullWsTransport: true,
            ...(atConnect && { onConnect: sessionAtConnect(sessions) }),
          },
        }),
      }),
  },
];

/** The part of an application that answers GraphQL. */
export const graphqlParts = (driver: Driver, setUp?: GraphQLSetUp) => ({
  imports: [driver.module(setUp)],
  providers: [UserResolver, ItemResolver, NewsResolver, News],
});
