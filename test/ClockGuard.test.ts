import { assert, describe, it } from "@effect/vitest"
import { Clock, Effect, Fiber, Layer, Option, Ref } from "effect"
import { Base64 } from "effect/encoding"
import { HttpClient, HttpClientResponse } from "effect/http"
import { TestClock } from "effect/testing"
import * as Budget from "../src/Budget.ts"
import { Chain, type Node } from "../src/Chain.ts"
import * as ClockGuard from "../src/ClockGuard.ts"
import * as Ledger from "../src/Ledger.ts"
import * as PaymentError from "../src/PaymentError.ts"
import * as AgentTest from "../src/testing/AgentTest.ts"
import { nodeWith } from "./rails/node.ts"
import { layerSqlite } from "./sql/temporary.ts"

const day = 24 * 60 * 60_000
const minute = 60_000

/** The wall clock of the test, which can be set without any time going by. */
const settable = Effect.gen(function*() {
  const clock = yield* Clock.Clock
  let ahead = 0
  const set: Clock.Clock = {
    ...clock,
    currentTimeMillisUnsafe: () => clock.currentTimeMillisUnsafe() + ahead,
    currentTimeMillis: Effect.sync(() => clock.currentTimeMillisUnsafe() + ahead),
    currentTimeNanosUnsafe: () => clock.currentTimeNanosUnsafe() + BigInt(ahead) * 1_000_000n,
    currentTimeNanos: Effect.sync(() => clock.currentTimeNanosUnsafe() + BigInt(ahead) * 1_000_000n)
  }
  return { clock: set, setAhead: (millis: number) => Effect.sync(() => void (ahead = millis)) }
})

const httpDate = (millis: number) => new Date(millis).toUTCString()

const at = (millis: number, age?: number) => ({
  headers: { date: httpDate(millis), ...(age === undefined ? {} : { age: String(age) }) }
})

const rule = <A>(effect: Effect.Effect<A, PaymentError.PolicyDenied>) =>
  Effect.match(effect, { onFailure: ({ rule }) => rule, onSuccess: () => "fine" })

/** A guard over chains whose latest blocks are stamped like this; what fails has no answer. */
const guarded = <A, E>(
  blocks: ReadonlyArray<Effect.Effect<number>>,
  test: (
    guard: Effect.Success<typeof ClockGuard.make>,
    setAhead: (millis: number) => Effect.Effect<void>
  ) => Effect.Effect<
    A,
    E
  >
) =>
  Effect.gen(function*() {
    yield* TestClock.setTime(1_000 * day)
    const { clock, setAhead } = yield* settable
    const nodes = blocks.map((stamped): Node =>
      nodeWith({
        network: "eip155:1",
        block: () => Effect.map(stamped, (millis) => ({ number: 1n, timestamp: BigInt(Math.floor(millis / 1_000)) }))
      })
    )
    const chain = Chain.of({ networks: nodes.length === 0 ? [] : ["eip155:1"], nodes: () => nodes })
    yield* Effect.gen(function*() {
      yield* test(yield* ClockGuard.make, setAhead)
    }).pipe(Effect.provideService(Chain, chain), Effect.provideService(Clock.Clock, clock))
  })

describe("ClockGuard", () => {
  it.effect("believes a clock that nothing contradicts, whatever time it tells", () =>
    guarded([], (guard) =>
      Effect.gen(function*() {
        assert.strictEqual(yield* rule(guard.check(undefined)), "fine")
        yield* TestClock.adjust("9 days")
        assert.strictEqual(yield* rule(guard.check({ headers: {} })), "fine")
        assert.isFalse(yield* guard.hasJumped)
      })))

  it.effect("tolerates forty seconds of skew, and a step of four minutes", () =>
    guarded([], (guard, setAhead) =>
      Effect.gen(function*() {
        for (const skew of [-40_000, 40_000]) {
          assert.strictEqual(yield* rule(guard.check(at(1_000 * day + skew))), "fine")
        }
        for (const step of [4 * minute, -4 * minute]) {
          yield* setAhead(step)
          assert.strictEqual(yield* rule(guard.check(undefined)), "fine")
        }
      })))

  it.effect("doubts a clock that jumps, in either direction, until it is set right", () =>
    guarded([], (guard, setAhead) =>
      Effect.gen(function*() {
        for (const jump of [6 * minute, day, -6 * minute, -day]) {
          yield* setAhead(jump)
          assert.isTrue(yield* guard.hasJumped)
          assert.strictEqual(yield* rule(guard.check(undefined)), "clock")
          assert.strictEqual(yield* rule(guard.check({ headers: {} })), "clock")
          yield* setAhead(0)
          assert.strictEqual(yield* rule(guard.check(undefined)), "fine")
        }
      })))

  it.effect("believes a clock that jumped and agrees with the server's: the machine slept", () =>
    guarded([], (guard, setAhead) =>
      Effect.gen(function*() {
        yield* setAhead(day)
        assert.strictEqual(yield* rule(guard.check(at(1_001 * day - minute))), "fine")
        assert.isFalse(yield* guard.hasJumped)
        assert.strictEqual(yield* rule(guard.check(undefined)), "fine")
      })))

  it.effect("doubts a clock that differs from the server's, and says by how much", () =>
    guarded([], (guard) =>
      Effect.gen(function*() {
        const denied = yield* Effect.flip(guard.check(at(999 * day)))
        assert.strictEqual(denied.rule, "clock")
        assert.include(denied.detail, "1d ahead of the server's")
        assert.include(denied.detail, "MPP_RPC_<chainId>")
        assert.include((yield* Effect.flip(guard.check(at(1_000 * day + 180_000)))).detail, "3m behind the server's")
      })))

  it.effect("counts how long an answer was kept by a cache", () =>
    guarded([], (guard) =>
      Effect.gen(function*() {
        assert.strictEqual(yield* rule(guard.check(at(1_000 * day - 60 * minute, 3_600))), "fine")
        assert.strictEqual(yield* rule(guard.check(at(1_000 * day - 60 * minute, 60))), "clock")
      })))

  it.effect("takes no other text for a time", () =>
    Effect.sync(() => {
      for (const date of ["", "yesterday", "1970-01-01T00:00:00Z", "Thu, 99 Jan 1970 00:00:00 GMT", "0"]) {
        assert.deepStrictEqual(ClockGuard.timeOf({ headers: { date } }), Option.none())
      }
      const headers = { date: "Thu, 01 Jan 1970 00:00:00 GMT", age: "-1" }
      assert.deepStrictEqual(ClockGuard.timeOf({ headers }), Option.none())
    }))

  it.effect("believes a clock that a chain confirms, against the server and after a jump", () =>
    Effect.gen(function*() {
      let asked = 0
      const stamped = Effect.sync(() => {
        asked++
        return 1_001 * day - minute
      })
      yield* guarded([Effect.succeed(0), stamped], (guard, setAhead) =>
        Effect.gen(function*() {
          yield* setAhead(day)
          assert.strictEqual(yield* rule(guard.check(at(0))), "fine")
          assert.strictEqual(yield* rule(guard.check(at(0))), "fine")
          assert.strictEqual(asked, 1, "a server whose clock is wrong does not cost a question each time")
          assert.strictEqual(yield* rule(guard.check(undefined)), "fine")
          yield* setAhead(0)
          assert.strictEqual(yield* rule(guard.check(undefined)), "clock")
          assert.strictEqual(asked, 2)
        }))
    }))

  it.effect("does not believe a clock that no chain confirms, nor wait for one that does not answer", () =>
    guarded([Effect.succeed(1_000 * day - 121_000), Effect.never], (guard) =>
      Effect.gen(function*() {
        const fiber = yield* Effect.forkChild(Effect.flip(guard.check(at(0))))
        yield* TestClock.adjust("3 seconds")
        assert.include((yield* Fiber.join(fiber)).detail, "no chain confirms it")
      })))
})

// ---------------------------------------------------------------------------------------------------------------------
// While paying
// ---------------------------------------------------------------------------------------------------------------------

const origin = "https://merchant.test"

/** Sells everything for a cent, and tells the time as it likes. While it is deaf it sees no payment. */
const merchant = (date: Ref.Ref<Option.Option<number>>, isDeaf: Ref.Ref<boolean>) =>
  Layer.succeed(
    HttpClient.HttpClient,
    HttpClient.make((request, url) =>
      Effect.gen(function*() {
        const time = Option.match(yield* Ref.get(date), {
          onNone: () => ({}),
          onSome: (millis) => ({ date: httpDate(millis) })
        })
        const answer = (status: number, headers: Record<string, string>) =>
          HttpClientResponse.fromWeb(request, new Response("{}", { status, headers: { ...headers, ...time } }))
        const encode = (value: unknown) => Base64.encode(JSON.stringify(value))
        if (request.headers["payment-signature"] === undefined || (yield* Ref.get(isDeaf))) {
          const { asset } = AgentTest
          return answer(402, {
            "payment-required": encode({
              x402Version: 2,
              resource: { url: url.href },
              accepts: [{
                scheme: "exact",
                network: asset.network,
                amount: "10000",
                asset: asset.address,
                payTo: "0x00000000000000000000000000000000000000b2",
                maxTimeoutSeconds: 60,
                extra: asset.domain
              }]
            })
          })
        }
        const receipt = {
          success: true,
          transaction: "0x01",
          network: AgentTest.asset.network,
          payer: "0x00000000000000000000000000000000000000a1"
        }
        return answer(200, { "payment-response": encode(receipt) })
      })
    )
  )

for (const [name, ledger] of [["memory", undefined], ["SQLite", layerSqlite]] as const) {
  describe(`a clock that is wrong, with a ledger in ${name}`, () => {
    const test = (
      sentence: string,
      body: (world: {
        readonly setAhead: (millis: number) => Effect.Effect<void>
        readonly date: Ref.Ref<Option.Option<number>>
        readonly isDeaf: Ref.Ref<boolean>
      }) => Effect.Effect<void, unknown, HttpClient.HttpClient | Ledger.Ledger>
    ) =>
      it.effect(sentence, () =>
        Effect.gen(function*() {
          yield* TestClock.setTime(1_000 * day)
          const { clock, setAhead } = yield* settable
          const date = yield* Ref.make(Option.none<number>())
          const isDeaf = yield* Ref.make(false)
          const agent = AgentTest.layerOver({
            budget: Budget.make({ limit: "0.02", window: "1 hour", maxPrice: "0.01" }),
            ...(ledger === undefined ? {} : { ledger })
          }, merchant(date, isDeaf))
          yield* body({ setAhead, date, isDeaf }).pipe(
            Effect.provide(agent),
            Effect.provideService(Clock.Clock, clock)
          )
        }))

    const get = Effect.gen(function*() {
      const client = yield* HttpClient.HttpClient
      const response = yield* client.get(`${origin}/a`)
      yield* response.text
      return "paid"
    }).pipe(
      Effect.catch((error) =>
        Effect.succeed(Option.match(PaymentError.find(error), {
          onNone: () => "failed",
          onSome: ({ reason }) => reason._tag === "PolicyDenied" ? reason.rule : reason._tag
        }))
      )
    )

    for (const [what, jump] of [["a day ahead", day], ["a day behind", -day]] as const) {
      test(`${what} empties no window, and nothing new is signed by it`, ({ setAhead }) =>
        Effect.gen(function*() {
          assert.deepStrictEqual([yield* get, yield* get, yield* get], ["paid", "paid", "BudgetExceeded"])
          yield* setAhead(jump)
          yield* TestClock.adjust("1 minute")
          assert.strictEqual(yield* get, "clock")
          yield* setAhead(0)
          yield* TestClock.adjust("1 minute")
          assert.strictEqual(yield* get, "BudgetExceeded")
          yield* TestClock.adjust("1 hour")
          assert.deepStrictEqual([yield* get, yield* get, yield* get], ["paid", "paid", "BudgetExceeded"])
        }))
    }

    test("differs from the server's by a day: nothing is signed; by forty seconds: it is tolerated", ({ date }) =>
      Effect.gen(function*() {
        yield* Ref.set(date, Option.some(999 * day))
        assert.strictEqual(yield* get, "clock")
        yield* Ref.set(date, Option.some(1_001 * day))
        assert.strictEqual(yield* get, "clock")
        for (const skew of [40_000, -40_000]) {
          yield* Ref.set(date, Option.some(1_000 * day + skew))
          assert.strictEqual(yield* get, "paid")
        }
      }))

    test("does not keep what was begun from going on", ({ date, isDeaf, setAhead }) =>
      Effect.gen(function*() {
        yield* Ref.set(isDeaf, true)
        assert.strictEqual(yield* get, "PaymentUncertain")
        yield* Ref.set(isDeaf, false)
        yield* setAhead(-day)
        yield* Ref.set(date, Option.none())
        assert.strictEqual(yield* get, "paid")
        const ledger = yield* Ledger.Ledger
        assert.strictEqual((yield* ledger.purchases({})).length, 1)
      }))
  })
}
