import { afterAll } from "@effect/vitest"
import { Effect, Layer, ManagedRuntime } from "effect"
import { SqlClient } from "effect/sql"
import * as LedgerSql from "../../src/sql/LedgerSql.ts"
import { suite } from "../LedgerTest.ts"
import * as Postgres from "./postgres.ts"

const database = ManagedRuntime.make(Layer.provideMerge(Postgres.layerClient(), Postgres.layer))
afterAll(() => database.dispose())

const tables = ["lease", "purchase", "authorization", "session", "counter", "origin", "foreign", "watermark"].map((
  name
) => `effect_mpp_${name}`)

const emptied = Effect.gen(function*() {
  const sql = yield* SqlClient.SqlClient
  const [ledger] = yield* sql`SELECT 1 FROM pg_tables WHERE tablename = 'effect_mpp_ledger'`
  if (ledger === undefined) return sql
  yield* sql.unsafe(`TRUNCATE ${tables.join()}`)
  yield* sql`UPDATE effect_mpp_ledger SET time = 0, sequence = 0`
  return sql
})

/** An empty ledger, each time that it is provided. Tests jump through weeks without a renewal. */
const layer = LedgerSql.layer({ lease: "400 days" }).pipe(
  Layer.provide(Layer.effect(SqlClient.SqlClient, Effect.promise(() => database.runPromise(emptied)))),
  Layer.orDie,
  Layer.fresh
)

suite("LedgerSql.layer over PostgreSQL", layer, { runs: 3 })
