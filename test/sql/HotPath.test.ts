import { afterAll, assert, beforeAll, describe, it } from "@effect/vitest"
import { Context, Effect, Layer } from "effect"
import * as Reactivity from "effect/reactivity/Reactivity"
import { SqlClient } from "effect/sql"
import { join } from "node:path"
import { DatabaseSync, StatementSync } from "node:sqlite"
import * as Ledger from "../../src/Ledger.ts"
import * as LedgerSql from "../../src/sql/LedgerSql.ts"
import * as NodeSqlite from "../../src/sql/NodeSqlite.ts"
import * as History from "../bench/history.ts"
import { growing, housekeeping, request } from "./hotPath.ts"
import * as Temporary from "./temporary.ts"

const file = Effect.map(Temporary.directory, (directory) => join(directory, "ledger.sqlite"))

const open = (filename: string) => Layer.build(Layer.fresh(LedgerSql.layerSqlite({ filename, lease: "1 hour" })))

const client = <A, E>(filename: string, run: Effect.Effect<A, E, SqlClient.SqlClient>) =>
  Effect.scoped(Effect.provideServiceEffect(run, SqlClient.SqlClient, NodeSqlite.make({ filename }))).pipe(
    Effect.provide(Reactivity.layer)
  )

interface Executed {
  readonly sql: string
  readonly rows: number
  /** Whether SQLite waits for the disk at this moment. */
  readonly waits: boolean
}

const executed: Array<Executed> = []
const databases = new WeakMap<StatementSync, DatabaseSync>()
const { prepare } = DatabaseSync.prototype
const { all } = StatementSync.prototype

const replace = (of: object, name: string, value: unknown) =>
  Object.defineProperty(of, name, { value, configurable: true, writable: true })

const isFull = (database: DatabaseSync | undefined) =>
  database !== undefined && prepare.call(database, "PRAGMA synchronous").get()?.["synchronous"] === 2

// Statements are kept prepared, so that this must be there before the ledger is.
beforeAll(() => {
  replace(DatabaseSync.prototype, "prepare", function(this: DatabaseSync, sql: string) {
    const statement = prepare.call(this, sql)
    databases.set(statement, this)
    return statement
  })
  replace(StatementSync.prototype, "all", function(this: StatementSync, ...params: ReadonlyArray<unknown>) {
    const rows: ReadonlyArray<unknown> = Reflect.apply(all, this, params)
    const sql = this.sourceSQL.replace(/\s+/g, " ").trim()
    executed.push({ sql, rows: rows.length, waits: sql === "COMMIT" && isFull(databases.get(this)) })
    return rows
  })
})
afterAll(() => {
  replace(DatabaseSync.prototype, "prepare", prepare)
  replace(StatementSync.prototype, "all", all)
})

/** All statements that SQLite executes meanwhile, those that begin and end transactions among them. */
const recorded = <E, R>(run: Effect.Effect<void, E, R>) =>
  Effect.suspend(() => {
    executed.length = 0
    return Effect.map(run, () => executed.splice(0))
  })

const payments = Effect.gen(function*() {
  yield* request
  yield* request
})

const filled = Effect.fnUntraced(function*(rows: number) {
  const filename = yield* file
  yield* Effect.scoped(open(filename))
  if (rows > 0) yield* client(filename, History.fill(rows))
  return { filename, ledger: Context.get(yield* open(filename), Ledger.Ledger) }
})

describe("a payment that is written to SQLite", () => {
  it.live("waits for the disk once", () =>
    Effect.gen(function*() {
      const { ledger } = yield* filled(0)
      const executed = yield* recorded(Effect.provideService(payments, Ledger.Ledger, ledger))
      const commits = executed.filter(({ sql }) => sql === "COMMIT").map(({ waits }) => waits)
      // authorize, judged, delivering, delivered
      assert.deepStrictEqual(commits, [true, false, false, false, true, false, false, false])
    }))

  it.live("executes as many statements and reads as many rows, however much was paid before", () =>
    Effect.gen(function*() {
      const measured = yield* Effect.forEach([0, 30, 3_000], (rows) =>
        Effect.gen(function*() {
          const { ledger } = yield* filled(rows)
          const run = Effect.provideService(payments, Ledger.Ledger, ledger)
          yield* run
          return (yield* recorded(run)).map(({ rows, sql }) => ({ rows, sql }))
        }))
      assert.isAbove(measured[0]!.length, 20)
      assert.deepStrictEqual(measured[1], measured[0])
      assert.deepStrictEqual(measured[2], measured[0])
    }))

  it.live("finds every row by an index, and so do those who look after what was paid", () =>
    Effect.gen(function*() {
      const filename = yield* file
      yield* Effect.scoped(open(filename))
      yield* client(filename, History.fill(300))
      const executed = yield* recorded(
        Effect.scoped(
          Effect.flatMap(open(filename), (context) => Effect.provide(Effect.andThen(payments, housekeeping), context))
        )
      )
      const statements = new Set(
        executed.map(({ sql }) => sql).filter((sql) =>
          /^(SELECT|INSERT|UPDATE|DELETE)/.test(sql) && sql.includes("effect_mpp_")
        )
      )
      assert.isAbove(statements.size, 15)
      const plans = yield* client(
        filename,
        Effect.gen(function*() {
          const sql = yield* SqlClient.SqlClient
          return yield* Effect.forEach(statements, (statement) =>
            Effect.map(
              sql.unsafe<{ detail: string }>(`EXPLAIN QUERY PLAN ${statement}`),
              (plan) => ({ statement, steps: plan.map(({ detail }) => detail) })
            ))
        })
      )
      assert.isTrue(plans.some(({ steps }) => steps.some((step) => step.startsWith("SEARCH"))))
      // A table goes by its own name, or by the one that a statement gives it.
      const names = new Set(growing.flatMap((table) => [`effect_mpp_${table}`, table.charAt(0), "o"]))
      for (const { statement, steps } of plans) {
        for (const step of steps) {
          // An index of what is under way may be read whole: it is short.
          if (/ USING (?:COVERING )?INDEX effect_mpp_\w+_(?:lease|open|unproven)$/.test(step)) continue
          const [, scanned] = /^SCAN (\w+)/.exec(step) ?? []
          assert.isFalse(scanned !== undefined && names.has(scanned), `${step}: ${statement}`)
        }
      }
    }))
})
