import { assert, describe, it } from "@effect/vitest"
import * as Effect from "effect/Effect"
import { status, takes } from "./hostile/merchant.ts"
import * as World from "./hostile/world.ts"

const { deliveries, get, hostile, outcome, price } = World

describe("a purchase that was paid for, and is not delivered when it is asked for again", () => {
  it.effect("is given up only after its caller has heard so", () => {
    const events: Array<string> = []
    const asked = World.patiently(Effect.tap(outcome(World.fetch()), (heard) => Effect.sync(() => events.push(heard))))
    return hostile(
      {
        paid: [takes(status(500))],
        ledger: (inner) => ({
          ...inner,
          delivered: (purchase, delivery) =>
            Effect.andThen(
              Effect.sync(() => {
                if (delivery === "abandoned") events.push("given up")
              }),
              inner.delivered(purchase, delivery)
            )
        })
      },
      () =>
        Effect.gen(function*() {
          yield* asked
          yield* asked
          yield* World.idle
          assert.deepStrictEqual(events, ["PaidUndelivered (spent)", "PaidUndelivered (spent)", "given up"])
        })
    )
  })

  it.effect("is another purchase for whoever asks at once, having heard so", () =>
    hostile({ paid: [takes(status(500))] }, ({ chain }) =>
      Effect.gen(function*() {
        for (let n = 0; n < 3; n++) yield* outcome(get())
        assert.deepStrictEqual(chain.moved, [price, price])
        assert.deepStrictEqual(yield* deliveries, ["abandoned", "undelivered"])
      })))

  it.effect("is given up when the program ends in order, also if it ends at once", () =>
    Effect.gen(function*() {
      let abandoned = 0
      yield* hostile({
        paid: [takes(status(500))],
        ledger: (inner) => ({
          ...inner,
          delivered: (purchase, delivery) =>
            Effect.tap(inner.delivered(purchase, delivery), () =>
              Effect.sync(() => {
                if (delivery === "abandoned") abandoned++
              }))
        })
      }, () => Effect.andThen(outcome(get()), outcome(get())))
      assert.strictEqual(abandoned, 1)
    }))
})
