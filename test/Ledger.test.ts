import { assert, describe, it } from "@effect/vitest"
import { Effect, Logger } from "effect"
import * as Ledger from "../src/Ledger.ts"
import { maxEnded } from "../src/ledger/MemoryRows.ts"
import { authorize, charge, close, deliver, drawing, judge, live, money, standing } from "./ledger.ts"
import { suite } from "./LedgerTest.ts"

suite("Ledger.layerMemory", Ledger.layerMemory({ quiet: true }))

describe("Ledger.layerMemory, by itself", () => {
  const build = (options?: { readonly quiet?: boolean }) =>
    Effect.gen(function*() {
      const warnings: Array<string> = []
      const logger = Logger.make(({ message }) => void warnings.push(String(message)))
      yield* Effect.provide(Ledger.Ledger, Ledger.layerMemory(options)).pipe(Effect.provide(Logger.layer([logger])))
      return warnings
    })

  it.effect("warns once that a crash forgets, unless it is told to be quiet", () =>
    Effect.gen(function*() {
      const [warning, ...more] = yield* build()
      assert.include(warning, "a crash forgets")
      assert.deepStrictEqual(more, [])
      assert.deepStrictEqual(yield* build({ quiet: true }), [])
    }))

  it.effect("is not durable", () =>
    Effect.gen(function*() {
      assert.isFalse((yield* Ledger.Ledger).durable)
    }).pipe(Effect.provide(Ledger.layerMemory({ quiet: true }))))

  it.effect("forgets what has ended when there is much of it, and nothing that is open, and no spending", () =>
    Effect.gen(function*() {
      const ledger = yield* Ledger.Ledger
      yield* authorize(charge("unknown", 5n))
      yield* judge("unknown", "unknown", "claimed")
      yield* deliver("p-unknown", "delivered")
      yield* authorize(charge("undelivered", 5n))
      yield* judge("undelivered", "settled", "claimed")
      yield* deliver("p-undelivered", "undelivered")
      yield* live("s", 1_000_000n)
      const count = maxEnded + 100
      for (let at = 0; at < count; at++) {
        yield* authorize(drawing(`a${at}`, "s", 1n))
        yield* judge(`a${at}`, "settled", "claimed")
        yield* deliver(`p-a${at}`, "delivered")
      }
      const kept = (yield* ledger.purchases({})).map(({ purchase }) => purchase.id)
      assert.strictEqual(kept.length, maxEnded + 2)
      assert.includeMembers(kept, ["p-unknown", "p-undelivered", `p-a${count - 1}`])
      assert.notInclude(kept, "p-a0")
      assert.strictEqual((yield* standing()).spent, BigInt(count) + 5n)
      yield* close("s", BigInt(count))
      assert.deepStrictEqual(yield* money(), { spent: BigInt(count) + 5n, exposed: 5n })
    }).pipe(Effect.provide(Ledger.layerMemory({ quiet: true }))))

  it.effect("forgets purchases whose content nobody reads, when there are many of them", () =>
    Effect.gen(function*() {
      const ledger = yield* Ledger.Ledger
      for (let at = 0; at <= maxEnded; at++) {
        yield* authorize(charge(`unread-${at}`, 1n))
        yield* judge(`unread-${at}`, "settled", "claimed")
        yield* deliver(`p-unread-${at}`, "delivering")
      }
      assert.strictEqual((yield* ledger.purchases({})).length, maxEnded)
    }).pipe(Effect.provide(Ledger.layerMemory({ quiet: true }))))

  it.effect("forgets sessions that have ended", () =>
    Effect.gen(function*() {
      const ledger = yield* Ledger.Ledger
      yield* live("alive", 1n)
      for (let at = 0; at <= maxEnded; at++) {
        yield* live(`s${at}`, 1n)
        yield* close(`s${at}`, 0n)
      }
      const kept = (yield* ledger.sessions({})).map(({ id }) => id)
      assert.strictEqual(kept.length, maxEnded + 1)
      assert.include(kept, "alive")
      assert.notInclude(kept, "s0")
    }).pipe(Effect.provide(Ledger.layerMemory({ quiet: true }))))
})
