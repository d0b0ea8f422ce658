import { afterAll } from "@effect/vitest"
import { Effect, Layer, ManagedRuntime, Redacted, Scope } from "effect"
import * as LedgerSql from "../../src/sql/LedgerSql.ts"
import * as Postgres from "./postgres.ts"
import { start } from "./processes.ts"
import { type Place, suite } from "./processesTest.ts"

const server = ManagedRuntime.make(Postgres.layer)
afterAll(() => server.dispose())

const place = Effect.gen(function*() {
  const scope = yield* Effect.scope
  const database = yield* Effect.promise(() =>
    server.runPromise(Effect.provideService(Postgres.database, Scope.Scope, scope))
  )
  return {
    start: (leaseMillis) => start({ leaseMillis }, Redacted.value(database.url)),
    layer: LedgerSql.layer().pipe(Layer.provide(Postgres.layerClientOf(database)), Layer.fresh),
    endsIdle: true
  } satisfies Place
})

suite("PostgreSQL", place)
