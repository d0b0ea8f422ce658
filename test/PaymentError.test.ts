import { assert, describe, it } from "@effect/vitest"
import { Effect, Option, Schema } from "effect"
import * as PaymentError from "../src/PaymentError.ts"

const reasons: ReadonlyArray<PaymentError.Reason> = [
  new PaymentError.SessionRequired({ realm: "r", offers: [], refused: [], merchantText: "SAID" }),
  new PaymentError.TokenExpired({ session: "ses_1", expiredAt: 0, merchantText: "SAID" }),
  new PaymentError.RateLimited({ retryAfter: 1_500, merchantText: "SAID" }),
  new PaymentError.Unavailable({ service: "merchant", status: 503, notSent: false, merchantText: "SAID" }),
  new PaymentError.BudgetExceeded({ scope: "agent", limit: 1n, spent: 1n, exposed: 0n, requested: 10_000n }),
  new PaymentError.PolicyDenied({ rule: "plain-http", detail: "because", merchantText: "SAID" }),
  new PaymentError.NoPayableOffer({ offers: [], refused: [], merchantText: "SAID" }),
  new PaymentError.PaymentRejected({
    rail: "x402/exact",
    status: 402,
    problem: "p",
    spendableUntil: 0,
    merchantText: "SAID"
  }),
  new PaymentError.PaidUndelivered({ rail: "x402/exact", status: 500, evidence: {}, merchantText: "SAID" }),
  new PaymentError.PaymentUncertain({ rail: "x402/exact", evidence: {}, spendableUntil: 0, merchantText: "SAID" }),
  new PaymentError.InsufficientFunds({ network: "eip155:1", asset: "0xaa", needed: 2n, available: 1n }),
  new PaymentError.ProtocolError({ protocol: "mpp/1.0", detail: "no id", merchantText: "SAID" }),
  new PaymentError.WalletError({ operation: "sign", detail: "locked" }),
  new PaymentError.ChainError({ network: "eip155:1", operation: "eth_call", detail: "timeout" }),
  new PaymentError.LedgerUnavailable({ operation: "authorize", detail: "disk full" })
]

const failure = (reason: PaymentError.Reason, money: PaymentError.Money = "unspent") =>
  new PaymentError.PaymentError({ reason, money, origin: "https://merchant.test", paymentId: "pay_1" })

describe("PaymentError", () => {
  it("covers every reason in this test", () => {
    assert.deepStrictEqual(
      new Set(reasons.map((it) => it._tag)),
      new Set(PaymentError.Reason.members.map((it) => it.fields._tag.schema.literal))
    )
  })

  it("says what happened, what it means for the money, and where", () => {
    for (const reason of reasons) {
      const { message } = failure(reason, "held")
      assert.include(message, reason.message)
      assert.include(message, "held until it is proven")
      assert.include(message, "https://merchant.test pay_1")
    }
  })

  it("keeps a merchant's words out of every message", () => {
    for (const reason of reasons) assert.notInclude(failure(reason).message, "SAID")
  })

  it("encodes every reason to JSON and back", () => {
    const codec = Schema.toCodecJson(PaymentError.PaymentError)
    for (const reason of reasons) {
      const json = JSON.parse(JSON.stringify(Schema.encodeSync(codec)(failure(reason))))
      const decoded = Schema.decodeUnknownSync(codec)(json)
      assert.strictEqual(decoded.reason._tag, reason._tag)
      assert.strictEqual(decoded.message, failure(reason).message)
    }
  })

  it.effect("gives its reasons one by one, or all of them at once", () =>
    Effect.gen(function*() {
      const failing: Effect.Effect<never, PaymentError.PaymentError> = Effect.fail(failure(reasons[2]!))
      const one = yield* failing.pipe(
        Effect.catchReason("PaymentError", "RateLimited", (reason) => Effect.succeed(reason.retryAfter))
      )
      assert.strictEqual(one, 1_500)
      const all = yield* failing.pipe(
        Effect.unwrapReason("PaymentError"),
        Effect.catchTags({ RateLimited: () => Effect.succeed("limited"), Unavailable: () => Effect.succeed("down") })
      )
      assert.strictEqual(all, "limited")
    }))

  it("is retryable only where nothing was spent and nothing is held", () => {
    assert.isTrue(failure(reasons[2]!).isRetryable)
    assert.isTrue(failure(reasons[3]!).isRetryable)
    assert.isFalse(failure(reasons[3]!, "unknown").isRetryable)
    assert.isFalse(failure(reasons[4]!).isRetryable)
  })

  it("is found inside another error, and not where it is none", () => {
    const inner = failure(reasons[0]!)
    const wrapped = new Error("outer", { cause: new Error("middle", { cause: inner }) })
    assert.deepStrictEqual(PaymentError.find(wrapped), Option.some(inner))
    const circle: Error & { cause?: unknown } = new Error("circle")
    circle.cause = circle
    for (const other of [circle, undefined, "text", new Error("x")]) {
      assert.isTrue(Option.isNone(PaymentError.find(other)))
    }
  })
})
