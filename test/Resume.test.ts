import { assert, describe, it } from "@effect/vitest"
import * as Deferred from "effect/Deferred"
import * as Effect from "effect/Effect"
import * as Fiber from "effect/Fiber"
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

  it.effect("is not given up by a caller who was interrupted before he could hear so", () => {
    const [reached, go] = [Deferred.makeUnsafe<void>(), Deferred.makeUnsafe<void>()]
    let writes: number | undefined
    return hostile({
      paid: [takes(status(500))],
      ledger: (inner) => ({
        ...inner,
        delivered: (purchase, delivery) => {
          const written = inner.delivered(purchase, delivery)
          // The merchant's answer is written first, and how the purchase ended after it.
          return delivery === "undelivered" && writes !== undefined && ++writes === 2
            ? Deferred.succeed(reached, undefined).pipe(
              Effect.andThen(Deferred.await(go)),
              Effect.andThen(written)
            )
            : written
        }
      })
    }, ({ chain }) =>
      Effect.gen(function*() {
        assert.strictEqual(yield* outcome(get()), "PaidUndelivered (spent)")
        writes = 0
        const asking = yield* Effect.forkChild(World.fetch())
        yield* World.patiently(Deferred.await(reached))
        const interrupting = yield* Effect.forkChild(Fiber.interrupt(asking))
        yield* World.idle
        yield* Deferred.succeed(go, undefined)
        yield* Fiber.join(interrupting)
        yield* World.idle
        assert.deepStrictEqual(yield* deliveries, ["undelivered"])
        assert.strictEqual(yield* outcome(get()), "PaidUndelivered (spent)")
        assert.deepStrictEqual(chain.moved, [price])
      }))
  })

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
