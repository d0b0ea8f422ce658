import { assert, describe, it } from "@effect/vitest"
import { Clock, Effect, Fiber, Ref, type Schedule } from "effect"
import { TestClock } from "effect/testing"
import * as PaymentError from "../src/PaymentError.ts"
import * as RetryPolicy from "../src/RetryPolicy.ts"

/** The waits, in milliseconds, between the attempts of something that always fails in this way. */
const waitsAfter = Effect.fnUntraced(function*<E extends PaymentError.Reason>(
  error: E,
  schedule: (policy: RetryPolicy.Policy) => Schedule.Schedule<unknown, E>
) {
  const times = yield* Ref.make<ReadonlyArray<number>>([])
  const attempt = Effect.flatMap(
    Clock.currentTimeMillis,
    (now) => Effect.andThen(Ref.update(times, (all) => [...all, now]), Effect.fail(error))
  )
  const policy = yield* RetryPolicy.RetryPolicy
  const fiber = yield* Effect.forkChild(Effect.ignore(Effect.retry(attempt, schedule(policy))))
  for (let i = 0; i < 1_000 && fiber.pollUnsafe() === undefined; i++) yield* TestClock.adjust("1 second")
  yield* Fiber.join(fiber)
  const all = yield* Ref.get(times)
  return all.slice(1).map((at, i) => at - all[i]!)
})

const limited = (retryAfter: number) =>
  waitsAfter(new PaymentError.RateLimited({ retryAfter }), (policy) => policy.RateLimited)

const down = (retryAfter: { readonly retryAfter?: number }) =>
  waitsAfter(
    new PaymentError.Unavailable({ service: "merchant", notSent: false, ...retryAfter }),
    (policy) => policy.Unavailable
  )

describe("RetryPolicy", () => {
  it.effect("waits for a rate limit as told, three times", () =>
    Effect.gen(function*() {
      assert.deepStrictEqual(yield* limited(7_000), [7_000, 7_000, 7_000])
    }))

  it.effect("waits at most a minute, whatever the server says", () =>
    Effect.gen(function*() {
      const waits = yield* limited(3_600_000)
      assert.deepStrictEqual(waits, [60_000, 60_000, 60_000])
    }))

  it.effect("tries an outage four times more, with growing waits of at most six seconds", () =>
    Effect.gen(function*() {
      const waits = yield* down({})
      assert.strictEqual(waits.length, 4)
      assert.isTrue(waits.every((wait, i) => wait <= 6_000 && (i === 0 || wait >= waits[i - 1]!)))
    }))

  it.effect("honours Retry-After of an outage", () =>
    Effect.gen(function*() {
      assert.deepStrictEqual(yield* down({ retryAfter: 2_000 }), [2_000, 2_000, 2_000, 2_000])
    }))

  it.effect("renews a token once", () =>
    Effect.gen(function*() {
      const expired = new PaymentError.TokenExpired({ session: "ses_1" })
      assert.strictEqual((yield* waitsAfter(expired, (policy) => policy.TokenExpired)).length, 1)
    }))
})
