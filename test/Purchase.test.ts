/**
 * Purchases on a rail whose payer pays fees, and which asks a chain before it signs.
 */
import { assert, describe, it } from "@effect/vitest"
import * as Effect from "effect/Effect"
import * as Fiber from "effect/Fiber"
import * as RetryPolicy from "../src/RetryPolicy.ts"
import { demandsAgain } from "./hostile/tempoMerchant.ts"
import * as World from "./hostile/tempoWorld.ts"

const { buy, hostile, outcome, pass, price, standing } = World

describe("Purchase", () => {
  const accepting = (maxDoubleSpend: string) =>
    Effect.updateService(RetryPolicy.RetryPolicy, (policy): RetryPolicy.Policy => ({
      ...policy,
      fallback: { maxDoubleSpend, perHour: "1" }
    }))

  it.effect("counts the fee in what is lost where another rail is tried without proof", () =>
    Effect.gen(function*() {
      const bought = (maxDoubleSpend: string) =>
        hostile(
          { takesX402: true, paid: [demandsAgain] },
          Effect.fnUntraced(function*({ x402 }) {
            const isEnough = maxDoubleSpend !== "0.01"
            const expected = isEnough ? "content" : "PaymentUncertain (unknown)"
            assert.strictEqual(yield* outcome(accepting(maxDoubleSpend)(buy())), expected)
            assert.strictEqual(x402.length, isEnough ? 1 : 0)
            const { exposed, spent } = yield* standing()
            assert.strictEqual(spent, isEnough ? price : 0n)
            assert.isTrue(exposed > price)
          })
        )
      yield* bought("0.013")
      yield* bought("0.01")
    }))

  it.effect("leaves the challenge to others where it is interrupted before anything is signed", () =>
    hostile(
      { computesIds: true, change: { challenge: { expires: "2027-01-15T08:30:00Z" } } },
      Effect.fnUntraced(function*(world) {
        world.stops.add("rpc eth_getBlockByNumber")
        const fiber = yield* Effect.forkChild(buy(), { startImmediately: true })
        yield* pass(10)
        yield* Fiber.interrupt(fiber)
        world.stops.clear()
        assert.strictEqual(yield* outcome(buy()), "content")
      })
    ))
})
