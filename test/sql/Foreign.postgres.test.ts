import { afterAll, assert, describe, it } from "@effect/vitest"
import { Effect, Layer, Logger, ManagedRuntime, Option } from "effect"
import { SqlClient } from "effect/sql"
import * as Ledger from "../../src/Ledger.ts"
import * as Rails from "../../src/Rails.ts"
import * as LedgerSql from "../../src/sql/LedgerSql.ts"
import { charge, hour } from "../ledger.ts"
import * as Postgres from "./postgres.ts"

const database = ManagedRuntime.make(Layer.provideMerge(Postgres.layerClient(), Postgres.layer))
afterAll(() => database.dispose())

const warnings: Array<string> = []

const ledger = LedgerSql.layer({ lease: "400 days" }).pipe(
  Layer.provide(Layer.effect(SqlClient.SqlClient, Effect.promise(() => database.runPromise(SqlClient.SqlClient)))),
  Layer.provide(Logger.layer([Logger.make(({ message }) => void warnings.push([message].flat().join(" ")))])),
  Layer.orDie,
  Layer.fresh
)

const entry = new Ledger.Foreign({
  reference: "eip155:1/0xaa/0x1/0x2/0x3",
  network: "eip155:1",
  asset: "0xaa",
  payer: "0x1",
  payee: "0x2",
  units: 30n,
  usd: 31n,
  transaction: "0x3",
  counters: ["agent:a", "wallet:0x1"],
  at: 0,
  notedAt: 5,
  maybeForgotten: true
})

describe("money that a ledger in PostgreSQL does not know", () => {
  it.effect("is noted once, counts, and is recalled once", () =>
    Effect.gen(function*() {
      const ledger = yield* Ledger.Ledger
      const notes = yield* Effect.all([ledger.foreign(entry), ledger.foreign(entry)], { concurrency: 2 })
      assert.deepStrictEqual(notes.toSorted(), [false, true])
      assert.isFalse(yield* ledger.foreign(entry))
      assert.strictEqual((yield* ledger.standing("wallet:0x1", hour)).spent, 31n)
      assert.deepStrictEqual((yield* ledger.foreigns({ maybeForgotten: true })).map((it) => ({ ...it })), [{
        ...entry
      }])
      assert.deepStrictEqual([yield* ledger.recalled(entry.reference), yield* ledger.recalled(entry.reference)], [
        true,
        false
      ])
      assert.deepStrictEqual(yield* ledger.foreigns({ maybeForgotten: true }), [])
      assert.strictEqual((yield* ledger.foreigns({ limit: 1 }))[0]?.maybeForgotten, false)
    }).pipe(Effect.provide(ledger)))

  it.effect("is told page by page, the newest first", () =>
    Effect.gen(function*() {
      const ledger = yield* Ledger.Ledger
      for (const [at, reference] of ["b", "a", "c"].entries()) {
        yield* ledger.foreign(new Ledger.Foreign({ ...entry, reference, notedAt: 10 + (at >> 1) }))
      }
      const pages: Array<string> = []
      let after: string | undefined
      for (let page = 0; page < 5; page++) {
        const [one] = yield* ledger.foreigns({ limit: 1, after })
        if (one !== undefined) pages.push(one.reference)
        after = one?.reference ?? after
      }
      assert.deepStrictEqual(pages, ["c", "b", "a", entry.reference])
      assert.deepStrictEqual(yield* ledger.foreigns({ after: "nothing" }), [])
    }).pipe(Effect.provide(ledger)))

  it.effect("is told from what the ledger signed, by marks", () =>
    Effect.gen(function*() {
      const ledger = yield* Ledger.Ledger
      const draft = charge("a", 5n)
      const plan = new Rails.Plan({ ...draft.authorization.plan, mark: "one" })
      yield* ledger.authorize({ ...draft, authorization: new Ledger.Authorization({ ...draft.authorization, plan }) })
      assert.deepStrictEqual(yield* ledger.marked(["one", "two"]), [{ id: "a", mark: "one", transaction: undefined }])
      assert.deepStrictEqual(yield* ledger.marked([]), [])
    }).pipe(Effect.provide(ledger)))

  it.effect("is looked for from where the last search ended", () =>
    Effect.gen(function*() {
      const ledger = yield* Ledger.Ledger
      assert.deepStrictEqual(yield* ledger.watermark("account"), Option.none())
      yield* ledger.compared("account", { block: 1n << 70n, generation: 1 })
      yield* ledger.compared("account", { block: (1n << 70n) + 1n, generation: 2 })
      assert.deepStrictEqual(
        yield* ledger.watermark("account"),
        Option.some({ block: (1n << 70n) + 1n, generation: 2 })
      )
    }).pipe(Effect.provide(ledger)))

  it.effect("makes another generation where the ledger is in another database, or on another timeline", () =>
    Effect.gen(function*() {
      const about = Effect.provide(Ledger.Ledger.use((ledger) => ledger.about), ledger)
      const first = yield* about
      assert.strictEqual(first.generation, 1)
      assert.deepStrictEqual(yield* about, first)
      const sql = yield* Effect.promise(() => database.runPromise(SqlClient.SqlClient))
      const [row] = yield* sql<{ identity: string }>`SELECT identity FROM effect_mpp_ledger`
      assert.match(row?.identity ?? "", /^\d+:[0-9A-F]{8}:\d+$/)
      yield* sql`UPDATE effect_mpp_ledger SET identity = ${"another"}`
      assert.deepStrictEqual(yield* about, { ...first, generation: 2 })
      assert.deepStrictEqual(yield* about, { ...first, generation: 2 })
      assert.strictEqual(warnings.length, 1)
      assert.include(warnings[0], "was copied or restored (generation 2)")
    }))
})
