import { assert, describe, it } from "@effect/vitest"
import type { Answer } from "../../src/Demand.ts"
import { Plan, type Verdict } from "../../src/Rails.ts"
import { type Expected, judge } from "../../src/rails/ChargeVerdict.ts"
import * as Json from "../../src/wire/Json.ts"
import * as Challenge from "../../src/wire/mpp/Challenge.ts"
import * as Problem from "../../src/wire/mpp/Problem.ts"
import * as Receipt from "../../src/wire/mpp/Receipt.ts"

const now = 1_700_000_000_000
const hash = `0x${"ab".repeat(32)}`
const other = `0x${"cd".repeat(32)}`
const challengeId = "challenge-1"

const plan = new Plan({
  rail: "tempo/charge",
  kind: "charge",
  network: "eip155:4217",
  asset: `0x20c0${"00".repeat(18)}`,
  units: 10_000n,
  payer: `0x${"11".repeat(20)}`,
  payee: `0x${"22".repeat(20)}`,
  spendableUntil: now + 25_000,
  data: {}
})

const receipt = (reference: string, members = {}) => ({
  "payment-receipt": Receipt.encode({
    method: "tempo",
    reference,
    timestamp: "2026-01-01T00:00:00Z",
    members
  })
})

const answer = (status: number, headers: Record<string, string> = {}, body?: string): Answer => ({
  status,
  headers,
  body
})

const problem = (status: number, code: string, detail?: string, headers: Record<string, string> = {}) =>
  answer(
    status,
    { "content-type": "application/problem+json", ...headers },
    JSON.stringify(Problem.toJson({ code, title: "Payment", status, ...(detail === undefined ? {} : { detail }) }))
  )

const demand = {
  "www-authenticate": Challenge.format({
    id: "challenge-2",
    realm: "shop.example",
    method: "tempo",
    intent: "charge",
    request: Json.toBase64Url({ amount: "10000", currency: plan.asset, recipient: plan.payee })
  })
}

/** A verdict, in short. */
const shown = (verdict: Verdict): string => {
  const flagged = verdict.evidence.mismatch === true ? ", mismatch" : ""
  switch (verdict._tag) {
    case "Settled":
      return `settled ${verdict.units}${verdict.content ? " with content" : ""}${flagged}`
    case "Rejected":
      return `rejected: ${verdict.problem}`
    case "Void":
      return "void"
    case "Unknown":
      return `unknown${verdict.content ? " with content" : ""}, ${verdict.next._tag}${
        verdict.next._tag === "resend" && verdict.next.after !== undefined ? ` after ${verdict.next.after}` : ""
      }${flagged}`
  }
}

const method = "tempo"
const predicted: Expected = { method, challengeId, reference: hash }
const unpredicted: Expected = { method, challengeId }

const says = (given: Answer, expected: string, options: { readonly of?: Expected; readonly at?: number } = {}) =>
  assert.strictEqual(shown(judge(plan, options.of ?? predicted, given, options.at ?? now)), expected)

describe("ChargeVerdict", () => {
  it("a receipt of the transaction that was signed settles it, with content or without", () => {
    says(answer(200, receipt(hash)), "settled 10000 with content")
    says(answer(200, receipt(hash.toUpperCase().replace("0X", "0x"))), "settled 10000 with content")
    says(answer(204, receipt(hash, { challengeId })), "settled 10000 with content")
    for (const status of [302, 402, 403, 404, 429, 500, 503]) says(answer(status, receipt(hash)), "settled 10000")
    says(
      { ...problem(402, "verification-failed"), headers: receipt(hash) },
      "settled 10000"
    )
  })

  it("a receipt is the merchant's word, and names the transaction", () => {
    const { evidence } = judge(plan, unpredicted, answer(200, receipt(hash.toUpperCase().replace("0X", "0x"))), now)
    assert.strictEqual(evidence.rank, "claimed")
    assert.strictEqual(evidence.reference, hash)
    assert.isUndefined(judge(plan, unpredicted, answer(200, receipt("<b> a hash")), now).evidence.reference)
  })

  it("where no transaction was predicted, any reference will do", () => {
    says(answer(200, receipt(other)), "settled 10000 with content", { of: unpredicted })
    says(answer(200, receipt("pi_123", { challengeId })), "settled 10000 with content", { of: unpredicted })
    says(answer(500, receipt(other)), "settled 10000", { of: unpredicted })
  })

  it("a receipt of another transaction or another challenge settles nothing, and is flagged", () => {
    says(answer(200, receipt(other)), "unknown with content, reconcile, mismatch")
    says(answer(200, receipt("")), "unknown with content, reconcile, mismatch")
    says(answer(200, receipt(hash, { challengeId: "challenge-2" })), "unknown with content, reconcile, mismatch")
    says(answer(500, receipt(other)), "unknown, reconcile, mismatch")
    says(answer(402, { ...receipt(other), ...demand }), "unknown, reconcile, mismatch")
  })

  it("a receipt of another method settles nothing", () => {
    says(answer(200, receipt(hash)), "unknown with content, reconcile, mismatch", {
      of: { ...predicted, method: "evm" }
    })
  })

  it("a demand that says when to come back is answered with the same payment then, if there is time", () => {
    says(answer(402, { ...demand, "retry-after": "3" }), "unknown, resend after 3000")
    says(answer(402, { ...demand, "retry-after": "30" }), "unknown, reconcile")
    says(answer(402, demand), "unknown, reconcile")
  })

  it("content without a receipt of this protocol is content all the same", () => {
    says(answer(200), "unknown with content, reconcile")
    says(answer(206), "unknown with content, reconcile")
    says(answer(200, { "payment-receipt": "garbage" }), "unknown with content, reconcile")
    const token = Receipt.encodeSeed({ sessionId: "sess_1", amount: 10_000n, remaining: 0n })
    says(answer(200, { "payment-receipt": token }), "unknown with content, reconcile")
    const x402 = Json.toBase64({ success: true, transaction: hash, network: "eip155:4217" })
    says(answer(200, { "payment-response": x402 }), "unknown with content, reconcile")
  })

  it("what was used before has an outcome that the chain knows", () => {
    for (const detail of ["Transaction hash has already been used.", "hash already claimed", "This hash was used"]) {
      says(problem(402, "verification-failed", detail), "unknown, reconcile")
    }
    says(problem(402, "invalid-challenge", undefined, demand), "unknown, reconcile")
  })

  it("an explicit refusal is one, on the merchant's word", () => {
    for (
      const code of [
        "payment-expired",
        "payment-insufficient",
        "payment-action-required",
        "malformed-credential",
        "invalid-payload"
      ]
    ) says(problem(402, code, undefined, demand), `rejected: ${code}`)
    says(problem(400, "method-unsupported"), "rejected: method-unsupported")
    says(problem(400, "bad-request"), "rejected: bad-request")
    says(problem(402, "verification-failed", "The signature is wrong"), "rejected: verification-failed")
    assert.strictEqual(judge(plan, predicted, problem(402, "payment-expired"), now).evidence.rank, "claimed")
  })

  it("a demand that is made again says nothing of the money", () => {
    says(answer(402, demand), "unknown, reconcile")
    says(problem(402, "payment-required", undefined, demand), "unknown, reconcile")
    says(problem(402, "something-else", undefined, demand), "unknown, reconcile")
    says(
      answer(402, demand, JSON.stringify({ x402Version: 1, error: "payment required", accepts: [] })),
      "unknown, reconcile"
    )
    says(answer(402), "unknown, reconcile")
  })

  it("after an outage the same is sent again, as late as the server asks and while there is time", () => {
    for (const status of [429, 500, 502, 503, 504]) says(answer(status), "unknown, resend")
    says(answer(503, { "retry-after": "3" }), "unknown, resend after 3000")
    says(answer(503, { "retry-after": "20" }), "unknown, reconcile")
    says(answer(503), "unknown, resend", { at: now + 19_000 })
    says(answer(503), "unknown, reconcile", { at: now + 19_001 })
    says(problem(503, "payment-expired"), "unknown, resend")
    says(problem(429, "payment-required"), "unknown, resend")
  })

  it("what was mined can be presented for longer than it could be taken", () => {
    const of = { ...predicted, resendUntil: now + 60_000 }
    says(answer(503), "unknown, resend", { of, at: now + 50_000 })
    says(answer(503), "unknown, reconcile", { of, at: now + 55_000 })
  })

  it("a merchant that failed at the payment itself is not asked again", () => {
    says(problem(500, "internal-payment-error"), "unknown, reconcile")
    says(problem(402, "internal-payment-error"), "unknown, reconcile")
  })

  it("any other status says nothing", () => {
    for (const status of [301, 307, 399, 400, 401, 403, 404, 405, 409, 410, 418]) {
      says(answer(status), "unknown, reconcile")
    }
  })
})
