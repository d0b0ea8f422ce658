import { assert, describe, it } from "@effect/vitest"
import { Effect, Option } from "effect"
import { SqlClient } from "effect/sql"
import { TestClock } from "effect/testing"
import { existsSync, readdirSync } from "node:fs"
import { dirname, join } from "node:path"
import * as Ledger from "../../src/Ledger.ts"
import * as Lease from "../../src/sql/Lease.ts"
import * as LedgerFile from "../../src/sql/LedgerFile.ts"
import * as LedgerSql from "../../src/sql/LedgerSql.ts"
import * as SqliteBackend from "../../src/sql/SqliteBackend.ts"
import * as SqliteLocks from "../../src/sql/SqliteLocks.ts"
import * as Tables from "../../src/sql/Tables.ts"
import * as steps from "../ledger.ts"
import { directory } from "./temporary.ts"

const made = Effect.gen(function*() {
  const file = yield* LedgerFile.prepare(join(yield* directory, "ledger.sqlite"))
  const backend = yield* SqliteBackend.make(file)
  yield* Effect.provideService(Tables.migrate, SqlClient.SqlClient, backend.sql)
  const lease = yield* Lease.make(backend, 60_000)
  const renew = backend.transaction(true, lease.renewed)
  const undone = Effect.flip(backend.transaction(true, Effect.andThen(lease.renewed, Effect.fail("undone"))))
  return { backend, file, lease, renew, undone }
})

describe("a lease", () => {
  it.effect("does not stand before it is written", () =>
    Effect.gen(function*() {
      const { lease, renew, undone } = yield* made
      assert.isFalse(yield* lease.stands)
      yield* undone
      assert.isFalse(yield* lease.stands)
      yield* renew
      assert.isTrue(yield* lease.stands)
    }))

  it.effect("is not believed to stand for longer than it is written, though it was renewed in what was undone", () =>
    Effect.gen(function*() {
      const { backend, lease, renew, undone } = yield* made
      yield* renew
      assert.isTrue(yield* lease.stands)
      const now = yield* backend.now
      yield* backend.sql`UPDATE effect_mpp_lease SET until = ${now + 500}`
      yield* undone
      // As if this process had stood still: both of its clocks say how long.
      yield* TestClock.adjust("1 second")
      yield* backend.sql`UPDATE effect_mpp_lease SET until = ${now - 1}`
      assert.isFalse(yield* lease.stands)
    }))

  it.effect("is another one when it is gone, also if the first try to take it was undone", () =>
    Effect.gen(function*() {
      const { backend, file, lease, renew, undone } = yield* made
      yield* renew
      const first = yield* lease.mine
      yield* backend.sql`DELETE FROM effect_mpp_lease`
      yield* undone
      yield* TestClock.adjust("10 seconds")
      assert.isFalse(yield* lease.stands)
      const { mine } = yield* renew
      assert.notStrictEqual(mine, first)
      assert.isTrue(yield* lease.stands)
      assert.isFalse(yield* lease.isFirst)
      assert.deepStrictEqual(yield* backend.sql`SELECT id FROM effect_mpp_lease`, [{ id: mine }])
      // What it took and did not come to write is let go.
      const locks = readdirSync(dirname(file.filename)).filter((name) => /-lease-[0-9a-f]+$/.test(name))
      assert.deepStrictEqual(locks, [`ledger.sqlite-lease-${mine}`])
    }))

  it.effect("ends with the scope of who holds it", () =>
    Effect.gen(function*() {
      const { file } = yield* made
      const locks = yield* SqliteLocks.make(file.filename)
      yield* Effect.scoped(Effect.gen(function*() {
        const isHeld = yield* locks.hold("mine")
        assert.isTrue(yield* isHeld)
        assert.isTrue(yield* locks.isHeld("mine"))
      }))
      assert.isFalse(yield* locks.isHeld("mine"))
      assert.isFalse(existsSync(`${file.filename}-lease-mine`))
    }))
})

describe("a ledger whose clock goes back", () => {
  it.effect("tells no earlier time than it has told, and lets nothing out of its windows sooner", () =>
    Effect.gen(function*() {
      yield* TestClock.setTime(10 * steps.hour)
      const filename = join(yield* directory, "ledger.sqlite")
      yield* Effect.gen(function*() {
        yield* steps.authorize(steps.charge("a", 600n))
        yield* steps.judge("a", "settled", "claimed")
        yield* TestClock.setTime(steps.hour)
        assert.deepStrictEqual(yield* steps.money(), { spent: 600n, exposed: 0n })
        const limits = [steps.agentLimit(1_000n)]
        const error = yield* Effect.flip(steps.authorize(steps.charge("b", 401n, { limits })))
        assert.include(error, { _tag: "BudgetExceeded" })
        yield* steps.authorize(steps.charge("b", 400n, { limits }))
        yield* steps.judge("b", "settled", "claimed")
        const ledger = yield* Ledger.Ledger
        const b = yield* ledger.authorization("b")
        assert.isAtLeast(Option.getOrThrow(b).updatedAt, 10 * steps.hour)
        yield* TestClock.setTime(10.5 * steps.hour)
        assert.deepStrictEqual(yield* steps.money(), { spent: 1_000n, exposed: 0n })
      }).pipe(Effect.provide(LedgerSql.layerSqlite({ filename, lease: "400 days" })))
    }))
})
