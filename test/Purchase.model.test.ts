/**
 * Two ways to pay at unequal prices, a session and a charge, and whatever may happen to them: no purchase can cost more than
 * was approved for it, whichever way was tried first.
 */
import { assert, describe, it } from "@effect/vitest"
import { Effect, Fiber, Schema } from "effect"
import * as Budget from "../src/Budget.ts"
import * as Ledger from "../src/Ledger.ts"
import * as Payment from "../src/Payment.ts"
import * as RetryPolicy from "../src/RetryPolicy.ts"
import {
  cuts,
  demandsAgain,
  honest,
  refuses,
  refusesConnection,
  type Reply,
  type Step,
  takes,
  withoutReceipt
} from "./hostile/merchant.ts"
import * as World from "./hostile/world.ts"

/** What the merchant does with one payment after the other. */
const steps = {
  honest,
  refusesConnection,
  cuts,
  "takes, and cuts": takes(cuts),
  "takes, and demands again": takes(demandsAgain),
  "takes, and says nothing": takes(withoutReceipt(200)),
  refuses: refuses("invalid_exact_evm_insufficient_balance"),
  "demands again": demandsAgain,
  unavailable: withoutReceipt(503),
  "says that the token expired": ({ demand }) =>
    new Response("{}", { status: 401, headers: { "www-authenticate": demand().headers.get("www-authenticate") ?? "" } })
} satisfies { readonly [name: string]: Step }

/** What the session endpoint does, until it is told otherwise. */
const manners: { readonly [name: string]: () => Reply } = {
  unavailable: () => new Response("{}", { status: 503 }),
  limits: () => new Response("{}", { status: 429 }),
  cuts: () => "cut"
}

const names = <Names extends string>(all: { readonly [K in Names]: unknown }) =>
  Schema.Literals(Object.keys(all) as Array<Names>)

/** What may happen to an agent, one after the other. */
const Event = Schema.Union([
  Schema.TaggedStruct("Get", {
    path: Schema.Literals(["a", "b"]),
    expect: Schema.Literals([1, 10]),
    acceptsLoss: Schema.Boolean
  }),
  Schema.TaggedStruct("CrawlAtOnce", { copies: Schema.Literals([2, 5]) }),
  Schema.TaggedStruct("Interrupt", { afterMillis: Schema.Literals([0, 300, 2_000]) }),
  Schema.TaggedStruct("Endpoint", { does: Schema.Literals(["answers", ...Object.keys(manners)]) }),
  Schema.TaggedStruct("Sweep", {}),
  Schema.TaggedStruct("Wait", { minutes: Schema.Literals([1, 59, 121]) })
])

type Event = typeof Event.Type

const Prices = Schema.Literals(["0.004", "0.010", "0.016"])

const limit = 300_000n
const accepted = 12_000n

const acceptingLoss = Effect.updateService(RetryPolicy.RetryPolicy, (policy): RetryPolicy.Policy => ({
  ...policy,
  fallback: { maxDoubleSpend: "0.012", perHour: "0.05" }
}))

const crawl = Payment.with({ expect: 10 })

const fetch = (path: string) => Effect.ignore(World.fetch(`${World.origin}/${path}`))

const happen = (event: Event, endpoint: (does: string) => void) => {
  switch (event._tag) {
    case "Get": {
      const getting = Payment.with(fetch(event.path), { expect: event.expect })
      return World.patiently(event.acceptsLoss ? acceptingLoss(getting) : getting)
    }
    case "CrawlAtOnce": {
      const copies = Array.from({ length: event.copies }, () => crawl(fetch("b")))
      return World.patiently(Effect.all(copies, { concurrency: "unbounded", discard: true }))
    }
    case "Interrupt":
      return Effect.gen(function*() {
        const fiber = yield* Effect.forkChild(crawl(fetch("b")))
        yield* World.pass(event.afterMillis)
        yield* World.patiently(Fiber.interrupt(fiber))
      })
    case "Endpoint":
      return Effect.sync(() => endpoint(event.does))
    case "Sweep":
      return World.sweep
    case "Wait":
      return World.pass(`${event.minutes} minutes`)
  }
}

const isOpen = ({ state }: Ledger.Authorization) => state === "signed" || state === "unknown" || state === "rejected"

const sum = (amounts: ReadonlyArray<bigint>) => amounts.reduce((total, amount) => total + amount, 0n)

/** What holds at every moment; a loss was accepted for so many requests. */
const invariants = Effect.fnUntraced(function*(
  world: World.World,
  prices: ReadonlyArray<bigint>,
  lossesAccepted: number
) {
  const ledger = yield* Ledger.Ledger
  const { exposed, spent } = yield* World.standing("agent:default", 365 * 86_400_000)
  const moved = yield* world.moved
  assert.isTrue(moved <= spent + exposed, `${moved} moved, ${spent} are spent and ${exposed} exposed`)
  const window = yield* World.standing()
  assert.isTrue(window.spent + window.exposed <= limit, "over the limit of the window")
  const purchases = yield* ledger.purchases({})
  assert.isAtMost(purchases.filter(({ purchase }) => purchase.doubleSpend).length, lossesAccepted)
  for (const { authorizations, purchase } of purchases) {
    const takable = authorizations.filter(({ state }) => state !== "released")
    const taken = sum(takable.map((it) => isOpen(it) ? it.holdUsd + it.drawUsd : it.spentUsd))
    assert.isTrue(taken <= purchase.approvedUsd, `${taken} can be taken, ${purchase.approvedUsd} are approved`)
    if (purchase.doubleSpend) {
      assert.isTrue(
        purchase.approvedUsd <= accepted + prices.reduce((a, b) => a > b ? a : b),
        "more lost than accepted"
      )
    } else {
      assert.include(prices, purchase.approvedUsd)
      assert.isAtMost(takable.length, 1, "two authorisations could be taken")
    }
  }
})

describe("a purchase with two ways to pay", () => {
  it.effect.prop(
    "costs no more than was approved for it, whatever happens",
    {
      events: Schema.Array(Event).check(Schema.isMinLength(1), Schema.isMaxLength(10)),
      paid: Schema.Array(names(steps)).check(Schema.isMaxLength(12)),
      session: Prices,
      charge: Prices
    },
    ({ charge, events, paid, session }) => {
      let does = "answers"
      const units = (price: string) => BigInt(Math.round(Number(price) * 1_000_000))
      return World.hostile(
        {
          sells: ["session", "x402"],
          price: session,
          requirement: { amount: units(charge).toString() },
          paid: [...paid.map((name) => steps[name]), honest],
          budget: Budget.make({ limit, window: "1 hour" }),
          endpoint: ({ honest }) =>
            Effect.suspend(() => {
              const reply = manners[does]?.()
              return reply === undefined ? honest : Effect.succeed(reply)
            })
        },
        Effect.fnUntraced(function*(world) {
          let lossesAccepted = 0
          for (const event of events) {
            if (event._tag === "Get" && event.acceptsLoss) lossesAccepted++
            yield* happen(event, (now) => does = now)
            yield* invariants(world, [units(session), units(charge)], lossesAccepted)
          }
        })
      )
    },
    { arbitrary: { runs: 80 }, timeout: 60_000 }
  )
})
