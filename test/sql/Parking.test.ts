import { assert, describe, it } from "@effect/vitest"
import { Effect } from "effect"
import { join } from "node:path"
import * as Ledger from "../../src/Ledger.ts"
import * as Rails from "../../src/Rails.ts"
import * as LedgerSql from "../../src/sql/LedgerSql.ts"
import * as steps from "../ledger.ts"
import { directory } from "./temporary.ts"

const handle = (resumable: boolean) =>
  new Rails.SessionHandle({
    wireId: "0x1",
    limit: 1_000n,
    expiresAt: 10 * steps.hour,
    ...(resumable ? { resumable } : {}),
    data: null
  })

/** A process that keeps a session, and is gone. */
const process = (filename: string, resumable: boolean) =>
  Effect.gen(function*() {
    yield* steps.live("s", 1_000n)
    yield* steps.update("s", { handle: handle(resumable) })
    yield* steps.authorize(steps.drawing("a", "s", 300n))
  }).pipe(Effect.provide(LedgerSql.layerSqlite({ filename })))

const stateOf = (id: string) => Effect.map(steps.session(id), (session) => session?.state)

describe("a session whose process is gone", () => {
  it.live("is kept for the next one if it needs nothing of the first, with all that was drawn on it", () =>
    Effect.gen(function*() {
      const filename = join(yield* directory, "ledger.sqlite")
      yield* process(filename, true)
      yield* Effect.gen(function*() {
        const ledger = yield* Ledger.Ledger
        yield* ledger.orphans
        assert.strictEqual(yield* stateOf("s"), "parked")
        const parked = yield* Effect.flip(steps.authorize(steps.drawing("b", "s", 100n)))
        assert.strictEqual(parked._tag, "LedgerUnavailable")
        yield* steps.update("s", { state: "live" })
        const dear = yield* Effect.flip(steps.authorize(steps.drawing("b", "s", 701n)))
        assert.deepInclude<object>(dear, { _tag: "BudgetExceeded", scope: "session", exposed: 300n })
        yield* steps.authorize(steps.drawing("b", "s", 700n))
      }).pipe(Effect.provide(LedgerSql.layerSqlite({ filename })))
    }).pipe(Effect.scoped))

  it.live("is gone on with by one of two others", () =>
    Effect.gen(function*() {
      const filename = join(yield* directory, "ledger.sqlite")
      yield* process(filename, true)
      const taken = Effect.gen(function*() {
        const ledger = yield* Ledger.Ledger
        yield* ledger.orphans
        return yield* Effect.isSuccess(ledger.updateSession("s", { state: "live" }))
      })
      const one = Effect.gen(function*() {
        const mine = yield* taken
        const others = yield* Effect.provide(taken, LedgerSql.layerSqlite({ filename }))
        return [mine, others]
      })
      assert.deepStrictEqual(yield* Effect.provide(one, LedgerSql.layerSqlite({ filename })), [true, false])
    }).pipe(Effect.scoped))

  it.live("is closed if what it was drawn on with is gone", () =>
    Effect.gen(function*() {
      const filename = join(yield* directory, "ledger.sqlite")
      yield* process(filename, false)
      yield* Effect.gen(function*() {
        yield* Effect.flatMap(Ledger.Ledger, (ledger) => ledger.orphans)
        assert.strictEqual(yield* stateOf("s"), "closing")
        assert.strictEqual((yield* Effect.flip(steps.update("s", { state: "live" })))._tag, "LedgerUnavailable")
      }).pipe(Effect.provide(LedgerSql.layerSqlite({ filename })))
    }).pipe(Effect.scoped))
})
