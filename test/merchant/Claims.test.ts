import { assert, describe, it } from "@effect/vitest"
import { Effect } from "effect"
import { TestClock } from "effect/testing"
import * as Claims from "../../src/merchant/Claims.ts"

const take = (claims: Claims.Claims, until = 60_000) => claims.take("payment", until)

describe("claims in memory", () => {
  it.effect("belong to one asker at a time", () =>
    Effect.gen(function*() {
      const claims = yield* Claims.memory
      const taken = yield* Effect.all([take(claims), take(claims), take(claims)], { concurrency: "unbounded" })
      assert.deepStrictEqual(taken, ["fresh", "taken", "taken"])
    }))

  it.effect("are gone once their payment was answered", () =>
    Effect.gen(function*() {
      const claims = yield* Claims.memory
      yield* take(claims)
      yield* claims.leave("payment", "sold")
      assert.strictEqual(yield* take(claims), "taken")
    }))

  it.effect("can be taken again where nothing was settled", () =>
    Effect.gen(function*() {
      const claims = yield* Claims.memory
      yield* take(claims)
      yield* claims.leave("payment", "free")
      assert.strictEqual(yield* take(claims), "fresh")
    }))

  it.effect("remember what is owed, and who serves it", () =>
    Effect.gen(function*() {
      const claims = yield* Claims.memory
      yield* take(claims)
      yield* claims.leave("payment", "owed")
      assert.deepStrictEqual([yield* take(claims), yield* take(claims)], ["owed", "taken"])
    }))

  it.effect("are not taken by a look", () =>
    Effect.gen(function*() {
      const claims = yield* Claims.memory
      const look = claims.look("payment")
      assert.deepStrictEqual([yield* look, yield* look, yield* take(claims), yield* look], [
        "fresh",
        "fresh",
        "fresh",
        "taken"
      ])
      yield* claims.leave("payment", "owed")
      assert.deepStrictEqual([yield* look, yield* take(claims)], ["owed", "owed"])
    }))

  it.effect("are forgotten when their payment is void, unless it is being served", () =>
    Effect.gen(function*() {
      const claims = yield* Claims.memory
      yield* claims.take("serving", 1_000)
      yield* take(claims, 1_000)
      yield* claims.leave("payment", "sold")
      yield* TestClock.adjust("2 seconds")
      for (let number = 0; number < 2_000; number++) yield* claims.take(`other ${number}`, 90_000)
      assert.strictEqual(yield* take(claims), "fresh")
      assert.strictEqual(yield* claims.take("serving", 1_000), "taken")
    }))
})

describe("a claim of several names", () => {
  const names = ["challenge", "payment"]
  const all = (claims: Claims.Claims) => Effect.all(names.map((name) => claims.look(name)))

  it.effect("is taken and left as one", () =>
    Effect.gen(function*() {
      const claims = yield* Claims.memory
      const claim = Claims.together(claims, names)
      assert.deepStrictEqual([yield* claim.take(60_000), yield* claim.take(60_000)], ["fresh", "taken"])
      for (const [left, found] of [["owed", "owed"], ["free", "fresh"], ["sold", "taken"]] as const) {
        yield* claim.leave(left)
        assert.deepStrictEqual(yield* all(claims), [found, found])
        assert.strictEqual(yield* claim.take(60_000), found)
      }
    }))

  const before: ReadonlyArray<readonly [what: string, name: string, left: Claims.Left | undefined]> = [
    ["its first name is being served", "challenge", undefined],
    ["its second name is being served", "payment", undefined],
    ["its first name was sold", "challenge", "sold"],
    ["its second name was sold", "payment", "sold"],
    ["its first name is owed for something else", "challenge", "owed"],
    ["its second name is owed for something else", "payment", "owed"]
  ]
  for (const [what, name, left] of before) {
    it.effect(`is taken where ${what}, and changes nothing`, () =>
      Effect.gen(function*() {
        const claims = yield* Claims.memory
        yield* claims.take(name, 60_000)
        if (left !== undefined) yield* claims.leave(name, left)
        const found = yield* all(claims)
        assert.strictEqual(yield* Claims.together(claims, names).take(60_000), "taken")
        assert.deepStrictEqual(yield* all(claims), found)
      }))
  }
})
