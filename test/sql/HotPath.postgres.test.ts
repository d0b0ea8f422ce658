import { assert, layer } from "@effect/vitest"
import { Effect, Layer } from "effect"
import { SqlClient } from "effect/sql"
import * as LedgerSql from "../../src/sql/LedgerSql.ts"
import * as History from "../bench/history.ts"
import { growing, housekeeping, request } from "./hotPath.ts"
import * as Postgres from "./postgres.ts"

interface Executed {
  readonly sql: string
  readonly parameters: string
}

/** The statements that a log of the server tells of. */
const parse = (log: string): ReadonlyArray<Executed> => {
  const executed: Array<Executed> = []
  for (const entry of log.split(/\n(?=\d{4}-\d\d-\d\d )/)) {
    const [, kind, text = ""] = /(LOG: {2}execute|DETAIL: {2}Parameters)[^:]*: ([^]*)$/.exec(entry) ?? []
    const told = text.replace(/\s+/g, " ").trim()
    const last = executed.at(-1)
    if (kind?.startsWith("LOG") === true) executed.push({ sql: told, parameters: "" })
    else if (kind !== undefined && last !== undefined) executed[executed.length - 1] = { ...last, parameters: told }
  }
  return executed
}

const payments = Effect.gen(function*() {
  yield* request
  yield* request
})

/** A ledger with so many payments of history, in a database whose server writes down what it executes. */
const filled = Effect.fnUntraced(function*(rows: number) {
  const server = yield* Postgres.Server
  const database = yield* Postgres.database
  yield* Effect.gen(function*() {
    const sql = yield* SqlClient.SqlClient
    yield* Effect.scoped(Layer.build(LedgerSql.layer()))
    if (rows > 0) yield* History.fill(rows)
    const [named] = yield* sql<{ name: string }>`SELECT current_database() AS name`
    yield* sql.unsafe(`ALTER DATABASE ${named?.name} SET log_statement = 'all'`)
  }).pipe(Effect.provide(Postgres.layerClientOf(database)), Effect.scoped)
  const recorded = <E, R>(run: Effect.Effect<void, E, R>) =>
    Effect.suspend(() => {
      const before = server.log().length
      return Effect.map(run, () => parse(server.log().slice(before)))
    })
  return { recorded, ledger: LedgerSql.layer({ lease: "1 hour" }), client: Postgres.layerClientOf(database) }
})

/** What the server executes for two payments after others. */
const paying = Effect.fnUntraced(function*(rows: number) {
  const { client, ledger, recorded } = yield* filled(rows)
  return yield* Effect.andThen(payments, recorded(payments)).pipe(
    Effect.provide(Layer.provide(ledger, client)),
    Effect.scoped
  )
})

layer(Postgres.layerServer, { timeout: "2 minutes", excludeTestServices: true })(
  "a payment that is written to PostgreSQL",
  (it) => {
    it.effect("waits for the disk once", () =>
      Effect.gen(function*() {
        const waits = (yield* paying(0)).filter(({ sql }) => sql.includes("'synchronous_commit'"))
          .map(({ parameters }) => / = '(on|off)'/.exec(parameters)?.[1])
        // authorize, judged, delivering, delivered
        assert.deepStrictEqual(waits, ["on", "off", "off", "off", "on", "off", "off", "off"])
      }))

    it.effect("takes as many journeys to the server, however much was paid before", () =>
      Effect.gen(function*() {
        const [first, after] = yield* Effect.forEach([0, 3_000], paying)
        assert.deepStrictEqual(after?.map(({ sql }) => sql), first?.map(({ sql }) => sql))
        assert.strictEqual((first?.length ?? 0) / 2, 36)
      }))

    it.effect("finds every row by an index, and so do those who look after what was paid", () =>
      Effect.gen(function*() {
        const { client, ledger, recorded } = yield* filled(300)
        const executed = yield* recorded(
          Effect.andThen(payments, housekeeping).pipe(
            Effect.provide(Layer.provide(ledger, client)),
            Effect.scoped
          )
        )
        const statements = Array.from(new Set(executed.map(({ sql }) => sql)))
          .filter((sql) => /^(SELECT|INSERT|UPDATE|DELETE|WITH)/.test(sql) && sql.includes("effect_mpp_"))
        assert.isAbove(statements.length, 12)
        const plans = yield* Effect.gen(function*() {
          const sql = yield* SqlClient.SqlClient
          yield* sql`SET LOCAL enable_seqscan = off`
          yield* sql`SET LOCAL plan_cache_mode = force_generic_plan`
          return yield* Effect.forEach(statements, (statement, at) =>
            Effect.gen(function*() {
              const parameters = new Set(statement.match(/\$\d+/g)).size
              const values = parameters === 0 ? "" : `(${Array(parameters).fill("NULL").join()})`
              yield* sql.unsafe(`PREPARE explained_${at} AS ${statement}`)
              const plan = yield* sql.unsafe<{ readonly "QUERY PLAN": string }>(
                `EXPLAIN EXECUTE explained_${at}${values}`
              )
              return { statement, steps: plan.map((row) => row["QUERY PLAN"]) }
            }))
        }).pipe(
          (explained) => SqlClient.SqlClient.use((sql) => sql.withTransaction(explained)),
          Effect.provide(client)
        )
        assert.isTrue(plans.some(({ steps }) => steps.some((step) => step.includes("Index Scan"))))
        for (const { statement, steps } of plans) {
          for (const step of steps) {
            const [, scanned] = /Seq Scan on effect_mpp_(\w+)/.exec(step) ?? []
            assert.isFalse(scanned !== undefined && growing.includes(scanned), `${step}: ${statement}`)
          }
        }
      }))
  }
)
