import { assert, describe, it } from "@effect/vitest"
import { Effect, Fiber, Schema } from "effect"
import { TestClock } from "effect/testing"
import * as Budget from "../src/Budget.ts"
import * as Ledger from "../src/Ledger.ts"
import * as PayingClient from "../src/PayingClient.ts"
import * as Reconciler from "../src/Reconciler.ts"
import * as AgentTest from "../src/testing/AgentTest.ts"

/** What may happen to an agent, one after the other. */
const Event = Schema.Union([
  Schema.TaggedStruct("Get", {}),
  Schema.TaggedStruct("Post", {}),
  Schema.TaggedStruct("GetAtOnce", { copies: Schema.Literals([2, 3, 5]) }),
  Schema.TaggedStruct("Interrupt", { afterMillis: Schema.Literals([0, 100, 1_000]) }),
  Schema.TaggedStruct("Sweep", {}),
  Schema.TaggedStruct("Expire", {}),
  Schema.TaggedStruct("Wait", { minutes: Schema.Literals([1, 30, 61]) })
])

const Faults = Schema.Array(Schema.Literals([
  "refuse",
  "refuse-and-take",
  "take-and-cut",
  "take-and-fail",
  "take-and-demand",
  "receipt-only",
  "cut",
  "refuse-connection",
  "unavailable",
  "rate-limit"
]))

const limit = 50_000n

const fetching = (method: "get" | "post") =>
  Effect.flatMap(
    PayingClient.PayingClient,
    (client) => Effect.flatMap(client[method]("https://merchant.test/a"), (response) => response.text)
  ).pipe(Effect.ignore)

/** Lets time pass until the fibers have ended. */
const elapse = (fibers: ReadonlyArray<Fiber.Fiber<unknown, unknown>>) =>
  Effect.gen(function*() {
    for (let i = 0; i < 100 && fibers.some((fiber) => fiber.pollUnsafe() === undefined); i++) {
      yield* TestClock.adjust("1 second")
    }
    yield* Fiber.awaitAll(fibers)
  })

const happen = Effect.fnUntraced(function*(event: typeof Event.Type) {
  switch (event._tag) {
    case "Get":
    case "Post":
      return yield* elapse([yield* Effect.forkChild(fetching(event._tag === "Get" ? "get" : "post"))])
    case "GetAtOnce": {
      const fibers = yield* Effect.forEach(
        Array.from({ length: event.copies }),
        () => Effect.forkChild(fetching("get"))
      )
      return yield* elapse(fibers)
    }
    case "Interrupt": {
      const fiber = yield* Effect.forkChild(fetching("get"))
      yield* TestClock.adjust(event.afterMillis)
      return yield* Fiber.interrupt(fiber)
    }
    case "Sweep":
      return yield* Effect.flatMap(Reconciler.Reconciler, (reconciler) => reconciler.sweep)
    case "Expire":
      return yield* Effect.flatMap(AgentTest.Merchant, (merchant) => merchant.expireAuthorizations)
    case "Wait":
      return yield* TestClock.adjust(`${event.minutes} minutes`)
  }
})

/** What holds at every moment, whatever a merchant does and whenever the program is interrupted. */
const invariants = Effect.gen(function*() {
  const ledger = yield* Ledger.Ledger
  const charges = yield* Effect.flatMap(AgentTest.Merchant, (merchant) => merchant.charges)
  const purchases = yield* ledger.purchases({})
  const authorizations = purchases.flatMap((it) => it.authorizations)
  const { exposed, spent } = yield* ledger.standing("agent:default", 365 * 86_400_000)
  const moved = charges.reduce((sum, usd) => sum + usd, 0n)
  assert.isTrue(moved <= spent + exposed, `${moved} moved, ${spent} spent, ${exposed} exposed`)
  const window = yield* ledger.standing("agent:default", 3_600_000)
  assert.isTrue(window.spent + window.exposed <= limit, "over the limit of the window")
  assert.strictEqual(exposed, authorizations.reduce((sum, it) => sum + it.exposedUsd, 0n), "exposed is the open holds")
  for (const { authorizations, purchase } of purchases) {
    const possible = authorizations.filter((it) => it.state !== "released")
    assert.isAtMost(possible.length, 1, `two authorisations of ${purchase.id} could be spent`)
    assert.isTrue(
      authorizations.every((it) => it.spentUsd + it.exposedUsd <= purchase.approvedUsd),
      "more than approved"
    )
  }
})

describe("Payment, whatever happens", () => {
  it.effect.prop(
    "never pays twice for a purchase, never spends more than its limit, and never loses sight of money",
    { events: Schema.Array(Event), faults: Faults },
    ({ events, faults }) =>
      Effect.gen(function*() {
        for (const event of events.slice(0, 12)) {
          yield* happen(event)
          yield* invariants
        }
      }).pipe(Effect.provide(AgentTest.layer({
        budget: Budget.make({ limit, window: "1 hour" }),
        merchant: [
          { path: "/a", price: "0.01", answer: {}, faults: faults.slice(0, 12) },
          { path: "/a", method: "POST", price: "0.01", answer: {} }
        ]
      }))),
    { arbitrary: { runs: 150 } }
  )
})
