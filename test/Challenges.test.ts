import { assert, describe, it } from "@effect/vitest"
import { Effect } from "effect"
import { TestClock } from "effect/testing"
import * as Challenges from "../src/Challenges.ts"
import * as Demand from "../src/Demand.ts"
import type { Offer } from "../src/Offer.ts"
import * as Challenge from "../src/wire/mpp/Challenge.ts"
import * as PaymentRequest from "../src/wire/mpp/PaymentRequest.ts"

const origin = "https://merchant.test"

const offerOf = (id: string, more: Partial<Challenge.Challenge> = {}): Offer =>
  Demand.read({
    status: 402,
    headers: {
      "www-authenticate": Challenge.format({
        id,
        realm: "merchant.test",
        method: "tempo",
        intent: "charge",
        expires: "1970-01-01T00:01:00Z",
        request: PaymentRequest.encode({ amount: "1", currency: "0x01", recipient: "0x02" }),
        ...more
      })
    },
    body: undefined
  }).offers[0]!

const offer = offerOf("a")

describe("Challenges", () => {
  it.effect("gives a challenge to one purchase, as often as it likes", () =>
    Effect.gen(function*() {
      const { take } = yield* Challenges.make
      assert.isTrue(yield* take(origin, offer, "p1"))
      assert.isTrue(yield* take(origin, offer, "p1"))
      assert.isFalse(yield* take(origin, offer, "p2"))
      assert.isTrue(yield* take(origin, offerOf("b"), "p2"))
    }))

  it.effect("gives it to another once it is free, and only its own purchase frees it", () =>
    Effect.gen(function*() {
      const { free, take } = yield* Challenges.make
      yield* take(origin, offer, "p1")
      yield* free(origin, offer, "p2")
      assert.isFalse(yield* take(origin, offer, "p2"))
      yield* free(origin, offer, "p1")
      assert.isTrue(yield* take(origin, offer, "p2"))
    }))

  it.effect("gives it to another once it has expired, and after an hour at the latest", () =>
    Effect.gen(function*() {
      const { take } = yield* Challenges.make
      const eternal = offerOf("e", { expires: "2100-01-01T00:00:00Z" })
      yield* take(origin, offer, "p1")
      yield* take(origin, eternal, "p1")
      yield* TestClock.adjust("60 seconds")
      assert.isTrue(yield* take(origin, offer, "p2"))
      assert.isFalse(yield* take(origin, eternal, "p2"))
      yield* TestClock.adjust("1 hour")
      assert.isTrue(yield* take(origin, eternal, "p2"))
    }))

  it.effect("tells origins apart, and leaves sessions alone", () =>
    Effect.gen(function*() {
      const { take } = yield* Challenges.make
      yield* take(origin, offer, "p1")
      assert.isTrue(yield* take("https://other.test", offer, "p2"))
      const session = offerOf("s", { intent: "session" })
      assert.isTrue(yield* take(origin, session, "p1"))
      assert.isTrue(yield* take(origin, session, "p2"))
    }))

  it.effect("remembers no more than it must of a server that makes challenges for ever", () =>
    Effect.gen(function*() {
      const { take } = yield* Challenges.make
      const last = offerOf("last", { expires: "2100-01-01T00:00:00Z" })
      for (let at = 0; at < 10_000; at++) {
        yield* take(`https://${at}.test`, last, "p1")
      }
      assert.isFalse(yield* take("https://0.test", last, "p2"))
      yield* take(origin, last, "p1")
      assert.isTrue(yield* take("https://0.test", last, "p2"))
      assert.isFalse(yield* take("https://9999.test", last, "p2"))
    }))
})
