import { assert, describe, it } from "@effect/vitest"
import { Effect, Fiber, Layer, Option, Schedule } from "effect"
import { HttpClient, HttpClientRequest, HttpClientResponse } from "effect/http"
import { TestClock } from "effect/testing"
import * as Budget from "../src/Budget.ts"
import * as Ledger from "../src/Ledger.ts"
import * as PayingClient from "../src/PayingClient.ts"
import * as Payment from "../src/Payment.ts"
import * as PaymentError from "../src/PaymentError.ts"
import * as RetryPolicy from "../src/RetryPolicy.ts"
import * as AgentTest from "../src/testing/AgentTest.ts"

const origin = "https://merchant.test"
const get = (path: string) => Effect.flatMap(PayingClient.PayingClient, (client) => client.get(`${origin}${path}`))
const charges = Effect.flatMap(AgentTest.Merchant, (merchant) => merchant.charges)
const requests = Effect.flatMap(AgentTest.Merchant, (merchant) => merchant.requests)
const standing = Effect.flatMap(Ledger.Ledger, (ledger) => ledger.standing("agent:default", 3_600_000))
const purchases = Effect.flatMap(Ledger.Ledger, (ledger) => ledger.purchases({}))

const selling = (faults: ReadonlyArray<AgentTest.Fault> = [], options: Partial<AgentTest.Options> = {}) =>
  AgentTest.layer({
    merchant: [
      { path: "/free", answer: { free: true } },
      { path: "/a", price: "0.01", answer: { bought: "a" }, faults },
      { path: "/a", method: "POST", price: "0.01", answer: { bought: "a" }, faults },
      { path: "/dear", price: "9.00", answer: {} }
    ],
    ...options
  })

/** Lets time pass until the fiber has ended. */
const elapse = <A, E>(fiber: Fiber.Fiber<A, E>) =>
  Effect.gen(function*() {
    for (let i = 0; i < 200 && fiber.pollUnsafe() === undefined; i++) yield* TestClock.adjust("500 millis")
    return yield* Fiber.await(fiber)
  })

const reasonOf = <A, R>(effect: Effect.Effect<A, unknown, R>) =>
  Effect.map(Effect.flip(effect), (error) => {
    const found = PaymentError.find(error)
    assert.isTrue(Option.isSome(found), "expected a PaymentError")
    return Option.getOrThrow(found)
  })

describe("Payment", () => {
  it.effect("pays what is demanded, once, and delivers the content", () =>
    Effect.gen(function*() {
      const response = yield* get("/a")
      assert.deepStrictEqual(yield* response.json, { bought: "a" })
      assert.deepStrictEqual(yield* charges, [10_000n])
      const [bought] = yield* purchases
      assert.strictEqual(bought?.purchase.delivery, "delivered")
      assert.deepStrictEqual(bought?.authorizations.map((it) => it.state), ["settled"])
      const { exposed, spent } = yield* standing
      assert.deepStrictEqual({ exposed, spent }, { exposed: 0n, spent: 10_000n })
    }).pipe(Effect.provide(selling())))

  it.effect("leaves what is free alone", () =>
    Effect.gen(function*() {
      const response = yield* get("/free")
      assert.deepStrictEqual(yield* response.json, { free: true })
      assert.deepStrictEqual(yield* requests, [{ method: "GET", path: "/free", paid: false }])
      assert.deepStrictEqual(yield* purchases, [])
    }).pipe(Effect.provide(selling())))

  it.effect("hands back a status that is not about payment, whatever it is", () =>
    Effect.gen(function*() {
      const response = yield* get("/nothing")
      assert.strictEqual(response.status, 404)
    }).pipe(Effect.provide(selling())))

  it.effect("refuses a price above the ceiling for one request", () =>
    Effect.gen(function*() {
      const error = yield* reasonOf(get("/dear"))
      assert.strictEqual(error.reason._tag, "BudgetExceeded")
      assert.strictEqual(error.money, "unspent")
      assert.deepStrictEqual(yield* charges, [])
    }).pipe(Effect.provide(selling())))

  it.effect("stops at the budget of the window", () =>
    Effect.gen(function*() {
      yield* get("/a")
      yield* get("/a")
      const error = yield* reasonOf(get("/a"))
      assert.strictEqual(error.reason._tag, "BudgetExceeded")
      assert.deepStrictEqual(yield* charges, [10_000n, 10_000n])
    }).pipe(Effect.provide(selling([], { budget: Budget.make({ limit: "0.025", window: "1 hour" }) }))))

  it.effect("never overspends, whatever is paid at once", () =>
    Effect.gen(function*() {
      const results = yield* Effect.forEach(
        Array.from({ length: 25 }),
        () => Effect.result(get("/a")),
        { concurrency: "unbounded" }
      )
      assert.strictEqual(results.filter((it) => it._tag === "Success").length, 10)
      assert.strictEqual((yield* charges).length, 10)
    }).pipe(Effect.provide(selling([], { budget: Budget.make({ limit: "0.10", window: "1 hour" }) }))))

  it.effect("takes equal requests at the same time for different purchases", () =>
    Effect.gen(function*() {
      yield* Effect.forEach(Array.from({ length: 25 }), () => get("/a"), { concurrency: "unbounded" })
      assert.strictEqual((yield* charges).length, 25)
      assert.strictEqual((yield* purchases).length, 25)
    }).pipe(Effect.provide(selling())))

  it.effect("signs once for a merchant that takes the money and demands again, and says what happened", () =>
    Effect.gen(function*() {
      const error = yield* reasonOf(get("/a"))
      assert.strictEqual(error.reason._tag, "PaidUndelivered")
      assert.strictEqual(error.money, "spent")
      assert.deepStrictEqual(yield* charges, [10_000n])
    }).pipe(Effect.provide(selling(["take-and-demand"]))))

  it.effect("holds the amount after a refusal until it is proven void, and pays anew then", () =>
    Effect.gen(function*() {
      const error = yield* reasonOf(get("/a"))
      assert.strictEqual(error.reason._tag, "PaymentRejected")
      assert.strictEqual(error.money, "held")
      assert.strictEqual((yield* standing).exposed, 10_000n)
      yield* Effect.flatMap(AgentTest.Merchant, (merchant) => merchant.expireAuthorizations)
      yield* get("/a")
      assert.deepStrictEqual(yield* charges, [10_000n])
      const { exposed, spent } = yield* standing
      assert.deepStrictEqual({ exposed, spent }, { exposed: 0n, spent: 10_000n })
    }).pipe(Effect.provide(selling(["refuse"]))))

  it.effect("knows a refusal for a lie when the money was taken", () =>
    Effect.gen(function*() {
      const error = yield* reasonOf(get("/a"))
      assert.strictEqual(error.reason._tag, "PaidUndelivered")
      assert.deepStrictEqual(yield* charges, [10_000n])
    }).pipe(Effect.provide(selling(["refuse-and-take"]))))

  it.effect("sends the same authorisation again when the answer is lost", () =>
    Effect.gen(function*() {
      const fiber = yield* Effect.forkChild(get("/a"))
      yield* elapse(fiber)
      const response = yield* Fiber.join(fiber)
      assert.strictEqual(response.status, 200)
      assert.deepStrictEqual(yield* charges, [10_000n])
    }).pipe(Effect.provide(selling(["cut"]))))

  it.effect("tries again when the connection is refused, since nothing was sent", () =>
    Effect.gen(function*() {
      const fiber = yield* Effect.forkChild(get("/a"))
      yield* elapse(fiber)
      assert.strictEqual((yield* Fiber.join(fiber)).status, 200)
      assert.strictEqual((yield* charges).length, 1)
    }).pipe(Effect.provide(selling(["refuse-connection", "refuse-connection"]))))

  it.effect("returns the hold when nothing could ever be sent", () =>
    Effect.gen(function*() {
      const fiber = yield* Effect.forkChild(reasonOf(get("/a")))
      yield* elapse(fiber)
      const error = yield* Fiber.join(fiber)
      assert.strictEqual(error.reason._tag, "Unavailable")
      assert.strictEqual(error.money, "unspent")
      assert.strictEqual((yield* standing).exposed, 0n)
    }).pipe(Effect.provide(selling(Array.from({ length: 20 }, () => "refuse-connection" as const)))))

  it.effect("waits as long as a rate limit says", () =>
    Effect.gen(function*() {
      const fiber = yield* Effect.forkChild(get("/a"))
      yield* TestClock.adjust("900 millis")
      assert.isUndefined(fiber.pollUnsafe())
      yield* TestClock.adjust("200 millis")
      assert.strictEqual((yield* Fiber.join(fiber)).status, 200)
      assert.strictEqual((yield* charges).length, 1)
    }).pipe(Effect.provide(selling(["rate-limit"]))))

  it.effect("comes through an outage with the same authorisation", () =>
    Effect.gen(function*() {
      const fiber = yield* Effect.forkChild(get("/a"))
      yield* elapse(fiber)
      assert.strictEqual((yield* Fiber.join(fiber)).status, 200)
      assert.strictEqual((yield* charges).length, 1)
    }).pipe(Effect.provide(selling(["unavailable", "unavailable", "unavailable"]))))

  it.effect("does not repeat an unsafe request by itself", () =>
    Effect.gen(function*() {
      const client = yield* PayingClient.PayingClient
      const error = yield* reasonOf(client.post(`${origin}/a`))
      assert.strictEqual(error.reason._tag, "PaymentUncertain")
      assert.strictEqual((yield* requests).filter((it) => it.paid).length, 1)
      const again = yield* reasonOf(client.post(`${origin}/a`))
      assert.strictEqual(again.reason._tag, "PaymentUncertain")
      assert.strictEqual((yield* requests).filter((it) => it.paid).length, 1)
    }).pipe(Effect.provide(selling(["cut"]))))

  it.effect("repeats an unsafe request that has an idempotency key", () =>
    Effect.gen(function*() {
      const client = yield* PayingClient.PayingClient
      const request = HttpClientRequest.post(`${origin}/a`, { headers: { "idempotency-key": "order-1" } })
      const fiber = yield* Effect.forkChild(client.execute(request))
      yield* elapse(fiber)
      assert.strictEqual((yield* Fiber.join(fiber)).status, 200)
      assert.strictEqual((yield* charges).length, 1)
    }).pipe(Effect.provide(selling(["cut"]))))

  it.effect("resumes a purchase that was paid and not delivered once, then lets it go", () =>
    Effect.gen(function*() {
      const first = yield* reasonOf(get("/a"))
      assert.strictEqual(first.reason._tag, "PaidUndelivered")
      const second = yield* reasonOf(get("/a"))
      assert.strictEqual(second.reason._tag, "PaidUndelivered")
      assert.strictEqual(second.paymentId, first.paymentId)
      assert.strictEqual((yield* charges).length, 1)
      assert.strictEqual((yield* get("/a")).status, 200)
      assert.strictEqual((yield* charges).length, 2)
    }).pipe(Effect.provide(selling(["take-and-fail"]))))

  it.effect("does not use up the resumption of a purchase on a network that is down", () =>
    Effect.gen(function*() {
      for (let request = 0; request < 4; request++) {
        const fiber = yield* Effect.forkChild(reasonOf(get("/a")))
        yield* elapse(fiber)
        assert.strictEqual((yield* Fiber.join(fiber)).reason._tag, "PaidUndelivered")
      }
      assert.strictEqual((yield* charges).length, 1)
      assert.strictEqual((yield* purchases).length, 1)
    }).pipe(
      Effect.provide(selling(["take-and-cut", ...Array.from({ length: 40 }, () => "refuse-connection" as const)]))
    ))

  it.effect("pays once under a generic retry around the drop-in client", () =>
    Effect.gen(function*() {
      const client = (yield* HttpClient.HttpClient).pipe(
        HttpClient.retryTransient({ schedule: Schedule.spaced("10 millis"), times: 5 })
      )
      const fiber = yield* Effect.forkChild(Effect.retry(client.get(`${origin}/a`), { times: 5 }))
      yield* elapse(fiber)
      assert.isTrue((yield* charges).length <= 2)
      const { exposed, spent } = yield* standing
      assert.strictEqual(spent + exposed, BigInt((yield* charges).length) * 10_000n)
    }).pipe(Effect.provide(selling(["take-and-cut"]))))

  it.effect("keeps what was sent held when the fiber is interrupted, and resumes it", () =>
    Effect.gen(function*() {
      const fiber = yield* Effect.forkChild(get("/a"))
      yield* TestClock.adjust("10 millis")
      yield* Fiber.interrupt(fiber)
      assert.strictEqual((yield* standing).exposed, 10_000n)
      assert.strictEqual((yield* get("/a")).status, 200)
      assert.strictEqual((yield* charges).length, 1)
    }).pipe(Effect.provide(selling(["unavailable"]))))

  it.effect("sums what it may lose over all that was signed for a purchase, and marks the purchase", () => {
    const accepts = ["4000", "10000", "20000"].map((amount, place) => ({
      scheme: "exact",
      network: AgentTest.asset.network,
      amount,
      asset: AgentTest.asset.address,
      payTo: `0x00000000000000000000000000000000000000c${place}`,
      maxTimeoutSeconds: 60,
      extra: AgentTest.asset.domain
    }))
    const signed: Array<string> = []
    /** Says nothing of any payment, and demands it again. */
    const merchant = HttpClient.make((request) =>
      Effect.sync(() => {
        signed.push(...Option.toArray(Option.fromNullishOr(request.headers["payment-signature"])))
        const required = btoa(JSON.stringify({ x402Version: 2, resource: { url: request.url }, accepts }))
        return HttpClientResponse.fromWeb(
          request,
          new Response("{}", { status: 402, headers: { "payment-required": required } })
        )
      })
    )
    return Effect.gen(function*() {
      const error = yield* reasonOf(get("/a"))
      assert.strictEqual(error.reason._tag, "PaymentUncertain")
      assert.strictEqual(error.money, "unknown")
      assert.strictEqual(signed.length, 2)
      const [bought] = yield* purchases
      assert.deepInclude(bought?.purchase, { approvedUsd: 14_000n, doubleSpend: true, delivery: "undelivered" })
      assert.deepStrictEqual(bought?.authorizations.map((it) => it.exposedUsd), [4_000n, 10_000n])
      assert.strictEqual((yield* standing).exposed, 14_000n)
    }).pipe(
      Effect.updateService(RetryPolicy.RetryPolicy, (policy): RetryPolicy.Policy => ({
        ...policy,
        fallback: { maxDoubleSpend: "0.012", perHour: "1" }
      })),
      Effect.provide(AgentTest.layerOver({}, Layer.succeed(HttpClient.HttpClient, merchant)))
    )
  })

  it.effect("obeys a lower ceiling, and the choice of rails, from the fiber", () =>
    Effect.gen(function*() {
      const dear = yield* reasonOf(Payment.with(get("/a"), { max: "0.005" }))
      assert.strictEqual(dear.reason._tag, "BudgetExceeded")
      const other = yield* reasonOf(Payment.with(get("/a"), { rails: ["tempo/charge"] }))
      assert.strictEqual(other.reason._tag, "NoPayableOffer")
      assert.deepStrictEqual(yield* charges, [])
    }).pipe(Effect.provide(selling())))

  it.effect("quotes without signing", () =>
    Effect.gen(function*() {
      const quote = yield* PayingClient.quote(HttpClientRequest.get(`${origin}/a`))
      assert.isFalse(quote.free)
      assert.strictEqual(quote.candidates[0]?.usd, 10_000n)
      assert.deepStrictEqual(yield* requests, [{ method: "GET", path: "/a", paid: false }])
      assert.deepStrictEqual(yield* purchases, [])
    }).pipe(Effect.provide(selling())))
})
