/**
 * Whatever merchants do, and whatever breaks: the budget holds.
 */
import { assert, describe, it } from "@effect/vitest"
import * as Effect from "effect/Effect"
import { TestClock } from "effect/testing"
import * as Budget from "../../src/Budget.ts"
import * as Ledger from "../../src/Ledger.ts"
import * as Payment from "../../src/Payment.ts"
import * as PaymentError from "../../src/PaymentError.ts"
import * as RetryPolicy from "../../src/RetryPolicy.ts"
import { cuts, demandsAgain, honest, refuses, refusesConnection, type Step, takes, withoutReceipt } from "./merchant.ts"
import * as World from "./world.ts"

const { buy, deliveries, failure, hostile, origin, outcome, pass, price, standing, sweep } = World

const pages = (count: number) => Array.from({ length: count }, (_, n) => `${origin}/${n}`)

describe("the limits", () => {
  it.effect("87: are shared by all that is paid at once, over all rails", () =>
    hostile(
      {
        sells: ["x402", "session"],
        budget: Budget.make({ limit: "0.10", window: "1 hour" })
      },
      Effect.fnUntraced(function*({ moved }) {
        const outcomes = yield* World.patiently(
          Effect.forEach(
            pages(40),
            (page, n) =>
              outcome(Payment.with(World.fetch(page), { rails: [n % 2 === 0 ? "x402/exact" : "mpp/token-session"] })),
            {
              concurrency: "unbounded"
            }
          )
        )
        assert.isTrue((yield* moved) <= 100_000n)
        assert.isAtLeast(outcomes.filter((it) => it === "content").length, 5)
        assert.isTrue(outcomes.every((it) => it === "content" || it === "BudgetExceeded (unspent)"), outcomes.join())
        const { exposed, spent } = yield* standing()
        assert.isTrue(spent + exposed <= 100_000n)
      })
    ))

  it.effect("105: are not emptied by 40 seconds of skew, nor by a clock that goes back, by which nothing is signed", () =>
    hostile(
      { budget: Budget.make({ limit: "0.02", window: "1 hour" }) },
      Effect.fnUntraced(function*() {
        for (const page of pages(2)) yield* buy(page)
        for (const millis of [40_000, -40_000]) {
          yield* TestClock.setTime(World.start + millis)
          assert.strictEqual(yield* outcome(buy()), "BudgetExceeded (unspent)")
        }
        yield* TestClock.setTime(World.start - 86_400_000)
        assert.strictEqual(yield* outcome(buy()), "PolicyDenied (unspent)")
      })
    ))

  it.effect("105: of a wallet's day outlast a clock that jumps over an agent's window", () =>
    hostile(
      { budget: Budget.make({ limit: "0.02", window: "1 hour", perDay: "0.03" }) },
      Effect.fnUntraced(function*() {
        for (const page of pages(2)) yield* buy(page)
        yield* pass("23 hours")
        yield* buy()
        const { reason } = yield* failure(buy())
        assert.deepInclude(reason, { _tag: "BudgetExceeded", scope: "wallet" })
      })
    ))

  it.effect("106: count what is exposed in every window, however old it is", () =>
    hostile(
      {
        nodes: 0,
        others: { "cuts.test": { paid: [cuts] } },
        budget: Budget.make({ limit: "0.02", window: "1 minute" })
      },
      Effect.fnUntraced(function*() {
        assert.strictEqual(yield* outcome(buy("https://cuts.test/data")), "PaymentUncertain (unknown)")
        yield* pass("50 minutes")
        assert.deepStrictEqual(yield* standing("agent:default", 60_000), { spent: 0n, exposed: price })
        assert.strictEqual(yield* outcome(buy()), "content")
        assert.strictEqual(yield* outcome(buy()), "BudgetExceeded (unspent)")
      })
    ))

  it.effect("107: are usable again after twenty origins have refused every payment, each with its share at most", () => {
    const hosts = Array.from({ length: 20 }, (_, n) => `refuses-${n}.test`)
    const refusing = { price: "0.05", paid: [refuses("invalid_exact_evm_signature")] }
    return hostile(
      {
        others: Object.fromEntries(hosts.map((host) => [host, refusing]))
      },
      Effect.fnUntraced(function*() {
        for (const host of hosts) {
          for (let n = 0; n < 4; n++) yield* outcome(buy(`https://${host}/${n}`))
          const { exposed } = yield* standing(`origin:https://${host} default`)
          assert.isTrue(exposed <= 200_000n, `${exposed} hang at ${host}`)
        }
        assert.strictEqual(yield* outcome(buy(`https://${hosts[0]}/again`)), "PolicyDenied (unspent)")
        yield* pass("2 minutes")
        yield* sweep
        assert.deepStrictEqual(yield* standing(), { spent: 0n, exposed: 0n })
        assert.strictEqual(yield* outcome(buy()), "content")
      })
    )
  })

  it.effect("107: close an origin that leaves a fifth of the plan hanging", () =>
    hostile(
      { nodes: 0, price: "0.05", paid: [cuts] },
      Effect.fnUntraced(function*() {
        const outcomes = yield* Effect.forEach(pages(8), (page) => outcome(buy(page)))
        assert.strictEqual(outcomes.filter((it) => it === "PaymentUncertain (unknown)").length, 5)
        assert.strictEqual(outcomes.at(-1), "PolicyDenied (unspent)")
      })
    ))

  it.effect("108: of a wallet's day hold whatever an agent calls itself", () =>
    hostile(
      { budget: Budget.make({ limit: "0.02", window: "1 hour", perDay: "0.05" }) },
      Effect.fnUntraced(function*({ chain }) {
        for (let n = 0; n < 10; n++) yield* outcome(Payment.with(buy(), { agent: `agent-${n}` }))
        assert.strictEqual(chain.moved.length, 5)
        const { reason } = yield* failure(Payment.with(buy(), { agent: "yet another" }))
        assert.deepInclude(reason, { _tag: "BudgetExceeded", scope: "wallet" })
      })
    ))

  it.effect("of an origin hold whatever is paid there, over all rails, and leave the others alone", () =>
    hostile(
      {
        sells: ["session", "x402"],
        others: { "other.test": {} },
        budget: Budget.make({ limit: "1", window: "1 hour", perOrigin: "0.03" })
      },
      Effect.fnUntraced(function*({ moved }) {
        assert.strictEqual(yield* outcome(Payment.with(buy(), { rails: ["x402/exact"] })), "content")
        assert.strictEqual(yield* outcome(Payment.with(buy(), { rails: ["mpp/token-session"] })), "content")
        const held = yield* standing(`origin:${origin} default`)
        assert.deepStrictEqual(held, { spent: 2n * price, exposed: 0n }, "a session of one price, since half is less")
        assert.strictEqual(yield* outcome(buy()), "content")
        const { money, reason } = yield* failure(Payment.with(buy(), { rails: ["x402/exact"] }))
        assert.deepInclude(reason, {
          _tag: "BudgetExceeded",
          scope: "origin",
          limit: 3n * price,
          spent: 3n * price,
          exposed: 0n,
          requested: price
        })
        assert.strictEqual(money, "unspent")
        assert.strictEqual(yield* outcome(buy("https://other.test/data")), "content")
        assert.strictEqual(yield* moved, 4n * price)
        yield* pass("61 minutes")
        assert.strictEqual(yield* outcome(buy()), "content")
      })
    ))

  it.effect("of a count hold for purchases over all rails; what came to nothing is not counted", () =>
    hostile(
      {
        sells: ["session", "x402"],
        others: { "closed.test": { paid: [refusesConnection] } },
        budget: Budget.make({ limit: "1", window: "1 hour", maxRequests: 3 })
      },
      Effect.fnUntraced(function*({ moved }) {
        assert.strictEqual(yield* outcome(buy("https://closed.test/data")), "Unavailable (unspent)")
        assert.strictEqual(yield* outcome(Payment.with(buy(), { rails: ["x402/exact"] })), "content")
        for (let n = 0; n < 2; n++) assert.strictEqual(yield* outcome(Payment.with(buy(), { expect: 10 })), "content")
        for (const rail of ["x402/exact", "mpp/token-session"]) {
          const { money, reason } = yield* failure(Payment.with(buy(), { rails: [rail] }))
          assert.deepInclude(reason, {
            _tag: "BudgetExceeded",
            scope: "count",
            limit: 3n,
            spent: 3n,
            exposed: 0n,
            requested: 1n
          })
          assert.strictEqual(money, "unspent")
        }
        assert.strictEqual(yield* moved, 3n * price)
        yield* pass("61 minutes")
        assert.strictEqual(yield* outcome(buy()), "content")
      })
    ))

  it.effect("that leave no room for a session are named, each with its own figures", () => {
    const cases: ReadonlyArray<readonly [Parameters<typeof Budget.make>[0], object]> = [
      [{ limit: "0.055", window: "1 hour" }, { scope: "agent", limit: 55_000n, spent: 50_000n, exposed: 0n }],
      [{ limit: "1", window: "1 hour", maxDeposit: "0.009" }, {
        scope: "session",
        limit: 9_000n,
        spent: 0n,
        exposed: 0n
      }],
      [{ limit: "1", window: "1 hour", perOrigin: "0.008" }, {
        scope: "origin",
        limit: 8_000n,
        spent: 0n,
        exposed: 0n
      }],
      [{ limit: "1", window: "1 hour", perDay: "0.007" }, { scope: "wallet", limit: 7_000n, spent: 0n, exposed: 0n }]
    ]
    return Effect.forEach(cases, ([plan, figures]) =>
      hostile(
        {
          sells: ["session"],
          others: { "dear.test": { price: "0.05" } },
          budget: Budget.make(plan)
        },
        Effect.fnUntraced(function*({ calls }) {
          if (plan.limit !== "1") assert.strictEqual(yield* outcome(buy("https://dear.test/data")), "content")
          const { reason } = yield* failure(buy())
          assert.deepInclude(reason, { _tag: "BudgetExceeded", requested: price, ...figures })
          assert.strictEqual(calls.length, 0)
        })
      ), { discard: true })
  })

  it.effect("are not raised by a program that asks for more than its ceiling", () =>
    hostile(
      { price: "0.06" },
      Effect.fnUntraced(function*({ signatures }) {
        for (const max of ["1000", 10n ** 18n, "all of it", "-1", "1e9"]) {
          assert.strictEqual(yield* outcome(Payment.with(buy(), { max })), "BudgetExceeded (unspent)")
        }
        assert.strictEqual(signatures(), 0)
      })
    ))
})

describe("a ledger that cannot be written", () => {
  type Service = Ledger.Ledger["Service"]
  const gone = new PaymentError.LedgerUnavailable({ operation: "write", detail: "the disk is full" })

  /** Fails at one operation, from its nth call on. */
  const failing = (operation: keyof Service, from = 0) => (it: Service): Service => {
    let calls = 0
    const original = it[operation] as (...args: ReadonlyArray<unknown>) => Effect.Effect<unknown, unknown>
    return {
      ...it,
      [operation]: (...args: ReadonlyArray<unknown>) =>
        Effect.suspend(() => calls++ < from ? original(...args) : Effect.fail(gone))
    }
  }

  for (const operation of ["authorize", "claim"] as const) {
    it.effect(`109: at ${operation} has nothing signed`, () =>
      hostile(
        { ledger: failing(operation) },
        Effect.fnUntraced(function*({ paid, signatures }) {
          assert.strictEqual(yield* outcome(buy()), "LedgerUnavailable (unspent)")
          assert.deepStrictEqual([paid().length, signatures()], [0, 0])
        })
      ))
  }

  it.effect("109: at authorize tries no other rail", () =>
    hostile(
      { sells: ["session", "x402"], ledger: failing("authorize") },
      Effect.fnUntraced(function*({ calls, signatures }) {
        assert.strictEqual(yield* outcome(Payment.with(buy(), { expect: 10 })), "LedgerUnavailable (unspent)")
        assert.deepStrictEqual([calls.length, signatures()], [0, 0])
      })
    ))

  for (const operation of ["judged", "delivered"] as const) {
    it.effect(`109: at ${operation} does not hide the content, and keeps the hold`, () =>
      hostile(
        { ledger: failing(operation) },
        Effect.fnUntraced(function*({ printed }) {
          assert.strictEqual(yield* outcome(buy()), "content")
          const { exposed, spent } = yield* standing()
          assert.strictEqual(spent + exposed, price)
          assert.include(printed.join(), "could not be written")
        })
      ))
  }

  it.effect("109: at the repetition of a payment sends nothing, and does not call it unspent", () =>
    hostile(
      { paid: [cuts], ledger: failing("resent") },
      Effect.fnUntraced(function*({ paid }) {
        assert.strictEqual(yield* outcome(buy()), "PaymentUncertain (unknown)")
        const before = paid().length
        assert.strictEqual(yield* outcome(buy()), "LedgerUnavailable (unknown)")
        assert.strictEqual(paid().length, before)
        assert.deepStrictEqual(yield* deliveries, ["undelivered"])
      })
    ))

  it.effect("109: when a session was opened closes it again, and draws nothing", () =>
    hostile(
      { sells: ["session"], ledger: failing("updateSession") },
      Effect.fnUntraced(function*({ authority, paid }) {
        assert.strictEqual(yield* outcome(buy()), "LedgerUnavailable (held)")
        assert.strictEqual(paid().length, 0)
        assert.strictEqual((yield* authority.audit).accounts[0]!.reservedUsd, 0n)
      })
    ))
})

describe("another rail without proof", () => {
  const accepting = (maxDoubleSpend: string, perHour: string) =>
    Effect.updateService(RetryPolicy.RetryPolicy, (policy) => ({ ...policy, fallback: { maxDoubleSpend, perHour } }))

  /** Takes x402 payments and says nothing of them; deals honestly with sessions. */
  const halfHonest: Step = (sale) => sale.token === undefined ? takes(demandsAgain)(sale) : honest(sale)

  it.effect("is never used, unless the program accepts the loss", () =>
    hostile(
      { nodes: 0, sells: ["x402", "session"], paid: [halfHonest] },
      Effect.fnUntraced(function*({ calls }) {
        assert.strictEqual(yield* outcome(buy()), "PaymentUncertain (unknown)")
        assert.strictEqual(yield* outcome(accepting("0.009999", "1")(buy(`${origin}/b`))), "PaymentUncertain (unknown)")
        assert.strictEqual(yield* outcome(accepting("nonsense", "1")(buy(`${origin}/c`))), "PaymentUncertain (unknown)")
        assert.strictEqual(calls.length, 0)
      })
    ))

  it.effect("costs no more than the program accepts, once and in an hour, and both count", () => {
    const shop: World.Options = { sells: ["x402", "session"], paid: [halfHonest] }
    const hosts = ["a.test", "b.test", "c.test", "d.test"]
    return hostile(
      {
        nodes: 0,
        sessionOrigins: ["*"],
        others: Object.fromEntries(hosts.map((host) => [host, shop]))
      },
      Effect.fnUntraced(function*({ moved }) {
        const bounded = accepting("0.01", "0.02")
        const at = (host: string) => outcome(bounded(buy(`https://${host}/data`)))
        assert.strictEqual(yield* at("a.test"), "content")
        assert.strictEqual(yield* at("b.test"), "content")
        assert.strictEqual(yield* at("c.test"), "PaymentUncertain (unknown)")
        assert.strictEqual(yield* moved, 5n * price)
        const { exposed, spent } = yield* standing()
        assert.isTrue(spent + exposed >= 5n * price)
        yield* pass("61 minutes")
        assert.strictEqual(yield* at("d.test"), "content")
      })
    )
  })

  it.effect("is marked in the ledger where it was used, and there alone; both count", () =>
    hostile(
      {
        nodes: 0,
        sessionOrigins: ["*"],
        others: {
          "a.test": { sells: ["x402", "session"], paid: [halfHonest] },
          "b.test": { sells: ["x402", "session"], paid: [halfHonest] }
        }
      },
      Effect.fnUntraced(function*() {
        const bounded = accepting("0.01", "0.01")
        const purchases = Effect.map(
          Effect.flatMap(Ledger.Ledger, (ledger) => ledger.purchases({})),
          (all) =>
            all.toReversed().map(({ authorizations, purchase: { approvedUsd, delivery, doubleSpend } }) => ({
              approvedUsd,
              delivery,
              doubleSpend,
              states: authorizations.map(({ state }) => state)
            }))
        )
        assert.strictEqual(yield* outcome(bounded(buy())), "content")
        assert.strictEqual(yield* outcome(bounded(buy("https://a.test/data"))), "content")
        assert.strictEqual(yield* outcome(bounded(buy("https://b.test/data"))), "PaymentUncertain (unknown)")
        assert.deepStrictEqual(yield* purchases, [
          { approvedUsd: price, delivery: "delivered", doubleSpend: false, states: ["settled"] },
          { approvedUsd: 2n * price, delivery: "delivered", doubleSpend: true, states: ["unknown", "settled"] },
          { approvedUsd: price, delivery: "undelivered", doubleSpend: false, states: ["unknown"] }
        ])
        // Three may have been taken by x402, and one was drawn on a session of two prices.
        assert.deepStrictEqual(yield* standing(), { spent: 2n * price, exposed: 3n * price })
      })
    ))

  it.effect("that fails too does not make the first unspent", () =>
    hostile(
      {
        nodes: 0,
        sells: ["x402", "session"],
        paid: [halfHonest],
        endpoint: () => Effect.succeed(new Response("{}", { status: 403 }))
      },
      Effect.fnUntraced(function*() {
        assert.strictEqual(yield* outcome(accepting("0.01", "1")(buy())), "PaymentUncertain (unknown)")
        assert.deepStrictEqual(yield* deliveries, ["undelivered"])
      })
    ))

  it.effect("that took nothing leaves the first to be resumed, and not to be paid anew", () => {
    const failing: Step = (sale) => sale.token === undefined ? takes(demandsAgain)(sale) : withoutReceipt(503)(sale)
    return hostile(
      { nodes: 0, sells: ["x402", "session"], paid: [failing] },
      Effect.fnUntraced(function*({ chain }) {
        assert.strictEqual(yield* outcome(accepting("0.01", "1")(buy())), "PaymentUncertain (unknown)")
        assert.strictEqual(yield* outcome(buy()), "PaymentUncertain (unknown)")
        assert.deepStrictEqual(chain.moved, [price])
        assert.deepStrictEqual(yield* deliveries, ["undelivered"])
      })
    )
  })
})
