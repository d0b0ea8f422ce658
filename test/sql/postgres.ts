/**
 * A real PostgreSQL for tests, and an empty database in it for each.
 *
 * It is the one at `DATABASE_URL` where that is set, else one of our own, which is started for the tests that share the
 * layer. Tests that stop, restart or kill a server use `layerServer`, which is always one of our own.
 */
import { PgClient, PgConnection } from "@effect/sql-pg"
import { Config, Context, Effect, Layer, Option, Redacted, type Scope } from "effect"
import type { SqlClient } from "effect/sql/SqlClient"
import type { SqlError } from "effect/sql/SqlError"
import { randomBytes } from "node:crypto"
import * as PostgresServer from "./postgresServer.ts"

/** A database, for whoever knows its URL: this process, or another that is given it in its environment. */
export interface Database {
  readonly url: Redacted.Redacted
}

export class Databases extends Context.Service<Databases, {
  /** A new and empty one, which is dropped with the scope, whoever still uses it. */
  readonly create: Effect.Effect<Database, never, Scope.Scope>
}>()("test/sql/Databases") {}

/** A server that a test may do anything to. */
export class Server extends Context.Service<Server, PostgresServer.PostgresServer>()("test/sql/Server") {}

/** A new and empty database, which is dropped with the scope. */
export const database: Effect.Effect<Database, never, Databases | Scope.Scope> = Effect.flatMap(
  Databases,
  ({ create }) => create
)

const databases = (url: Redacted.Redacted, isUp: () => boolean): Databases["Service"] => {
  const administer = (statement: string) =>
    PgConnection.make({ url, applicationName: "tests" }).pipe(
      Effect.flatMap((connection) => connection.query(statement)),
      Effect.scoped,
      Effect.asVoid,
      Effect.orDie
    )
  return {
    create: Effect.gen(function*() {
      const name = `test_${randomBytes(8).toString("hex")}`
      const address = new URL(Redacted.value(url))
      address.pathname = `/${name}`
      yield* Effect.acquireRelease(
        administer(`CREATE DATABASE ${name}`),
        () => Effect.suspend(() => isUp() ? administer(`DROP DATABASE IF EXISTS ${name} WITH (FORCE)`) : Effect.void)
      )
      return { url: Redacted.make(address.href, { label: name }) }
    })
  }
}

/** A server of our own, and databases in it. */
export const layerServer: Layer.Layer<Databases | Server> = Layer.effectContext(
  Effect.map(PostgresServer.make, (server) =>
    Context.make(Server, server).pipe(
      Context.add(Databases, databases(server.url, () => server.pid() !== undefined))
    ))
)

/** Databases in the server at `DATABASE_URL`, or in one of our own. */
export const layer: Layer.Layer<Databases> = Layer.unwrap(
  Effect.map(
    Effect.orDie(Config.option(Config.Redacted("DATABASE_URL"))),
    Option.match({
      onNone: () => layerServer,
      onSome: (url) => Layer.succeed(Databases, databases(url, () => true))
    })
  )
)

export type ClientOptions = Omit<PgClient.PgPoolConfig, "url">

/** A client of a database. */
export const layerClientOf = (
  { url }: Database,
  options: ClientOptions = {}
): Layer.Layer<PgClient.PgClient | SqlClient, SqlError> => PgClient.layer({ maxConnections: 8, ...options, url })

/** A client of a new and empty database. */
export const layerClient = (
  options?: ClientOptions
): Layer.Layer<PgClient.PgClient | SqlClient, SqlError, Databases> =>
  Layer.unwrap(Effect.map(database, (it) => layerClientOf(it, options)))
