import { assert, describe, it } from "@effect/vitest"
import * as Schema from "effect/Schema"
import type { Answer } from "../../src/Demand.ts"
import { Plan, type Verdict } from "../../src/Rails.ts"
import { judge } from "../../src/rails/ExactEvmVerdict.ts"
import * as Json from "../../src/wire/Json.ts"
import * as exact from "./exact.ts"

const now = 1_700_000_000_000
const hash = `0x${"AB".repeat(32)}`

const plan = new Plan({
  rail: "x402/exact",
  kind: "charge",
  network: exact.network,
  asset: exact.token.toLowerCase(),
  units: 10_000n,
  payer: exact.payer,
  payee: exact.payee,
  spendableUntil: now + 60_000,
  data: {}
})

const answer = (status: number, headers: Record<string, string> = {}, body?: string): Answer => ({
  status,
  headers,
  body
})

const settlement = (change: Schema.JsonObject = {}) => ({
  "payment-response": Json.toBase64({
    success: true,
    transaction: hash,
    network: exact.network,
    payer: exact.payer,
    ...change
  })
})
const failure = (errorReason: string, transaction = "") => settlement({ success: false, errorReason, transaction })
const refusal = (error?: string, change = {}) => ({
  "payment-required": Json.toBase64(exact.demandV2(change, error === undefined ? {} : { error }))
})
const demandV1 = (error: string) => JSON.stringify(exact.demandV1({}, { error }))

/** A verdict, in short. */
const shown = (verdict: Verdict): string => {
  switch (verdict._tag) {
    case "Settled":
      return `settled${verdict.content ? " with content" : ""}${verdict.evidence.mismatch === true ? ", mismatch" : ""}`
    case "Rejected":
      return `rejected: ${verdict.problem}`
    case "Void":
      return "void"
    case "Unknown":
      return `unknown${verdict.content ? " with content" : ""}, ${verdict.next._tag}${
        verdict.next._tag === "resend" && verdict.next.after !== undefined ? ` after ${verdict.next.after}` : ""
      }`
  }
}

const says = (given: Answer, expected: string, options: { readonly envelopes?: number; readonly at?: number } = {}) =>
  assert.strictEqual(shown(judge(plan, options.envelopes ?? 1, given, options.at ?? now)), expected)

describe("ExactEvmVerdict", () => {
  it("a success with content settles it, on the merchant's word, with the transaction", () => {
    const verdict = judge(plan, 1, answer(200, settlement()), now)
    assert.strictEqual(shown(verdict), "settled with content")
    assert.strictEqual(verdict.evidence.rank, "claimed")
    assert.strictEqual(verdict.evidence.reference, hash.toLowerCase())
    says(answer(204, settlement()), "settled with content")
    says(answer(200, settlement({ amount: "10000" })), "settled with content")
  })

  it("version 1 says the same in its own header, with its own name for the network", () => {
    const headers = {
      "x-payment-response": Json.toBase64({ success: true, transaction: hash, network: "base-sepolia" })
    }
    says(answer(200, headers), "settled with content")
  })

  it("a success that names another payer, network or amount is settled for what was signed, and flagged", () => {
    for (const change of [{ payer: exact.payee }, { network: "eip155:8453" }, { amount: "20000" }, { amount: "1" }]) {
      const verdict = judge(plan, 1, answer(200, settlement(change)), now)
      assert.strictEqual(shown(verdict), "settled with content, mismatch")
      assert.strictEqual(verdict._tag === "Settled" && verdict.units, 10_000n)
    }
  })

  it("an invented transaction is no reference", () => {
    const verdict = judge(plan, 1, answer(200, settlement({ transaction: "see https://evil.test" })), now)
    assert.isUndefined(verdict.evidence.reference)
  })

  it("content without a receipt, or with one of a failure, is content all the same, and reconciled", () => {
    says(answer(200), "unknown with content, reconcile")
    says(answer(206, { "payment-response": "garbage" }), "unknown with content, reconcile")
    says(answer(200, failure("insufficient_funds")), "unknown with content, reconcile")
    says(answer(200, failure("settlement_pending", hash)), "unknown with content, reconcile")
  })

  it("what the server found wanting is rejected, under its code", () => {
    const codes = [
      "invalid_exact_evm_insufficient_balance",
      "invalid_exact_evm_signature",
      "invalid_exact_evm_token_name_mismatch",
      "invalid_exact_evm_payload_authorization_value",
      "invalid_exact_evm_transaction_simulation_failed",
      "insufficient_funds",
      "invalid_network",
      "extension_echo_mismatch"
    ]
    for (const code of codes) {
      says(answer(402, refusal(code)), `rejected: ${code}`, { envelopes: 2 })
      says(answer(402, {}, demandV1(code)), `rejected: ${code}`)
    }
    says(answer(402, refusal("No matching payment requirements")), "rejected: no_matching_payment_requirements")
    says(
      answer(402, {}, demandV1("Unable to find matching payment requirements")),
      "rejected: no_matching_payment_requirements"
    )
  })

  it("a used nonce is looked for on chain", () => {
    says(answer(402, refusal("invalid_exact_evm_nonce_already_used")), "unknown, reconcile", { envelopes: 2 })
    says(answer(402, refusal("duplicate_settlement")), "unknown, reconcile")
    says(answer(409), "unknown, reconcile")
    says(answer(409, {}, demandV1("insufficient_funds")), "unknown, reconcile")
  })

  it("a settlement that is under way is asked for again in two seconds, while there is time", () => {
    says(answer(402, failure("settlement_pending", hash)), "unknown, resend after 2000")
    says(answer(402, refusal("settlement_pending")), "unknown, resend after 2000")
    says(answer(402, failure("settlement_pending", hash)), "unknown, resend after 2000", { at: now + 52_000 })
    says(answer(402, failure("settlement_pending", hash)), "unknown, reconcile", { at: now + 52_001 })
  })

  it("any other failure of the settlement is reconciled: somebody else may have submitted it", () => {
    says(answer(402, failure("invalid_exact_evm_transaction_failed", hash)), "unknown, reconcile", { envelopes: 2 })
    says(answer(402, failure("insufficient_funds")), "unknown, reconcile")
    says(answer(502, failure("unexpected_settle_error")), "unknown, reconcile")
    says(answer(402, refusal("unexpected_settle_error")), "unknown, reconcile")
    says(answer(402, refusal("invalid_exact_evm_transaction_failed")), "unknown, reconcile")
  })

  it("a server that did not look is sent the same authorisation in the next envelope, if there is one", () => {
    const unseen = [
      answer(402, refusal("Payment required")),
      answer(402, refusal("PAYMENT-SIGNATURE header is required")),
      answer(402, refusal("payment_required")),
      answer(402, refusal()),
      answer(402, {}, demandV1("X-PAYMENT header is required")),
      answer(402, {}, demandV1("invalid_x402_version")),
      answer(402)
    ]
    for (const one of unseen) {
      says(one, "unknown, envelope", { envelopes: 2 })
      says(one, "unknown, reconcile")
    }
  })

  it("a demand that is made again, at whatever price, is not paid again", () => {
    says(answer(402, refusal("Try once more, please")), "unknown, reconcile", { envelopes: 2 })
    says(answer(402, refusal("Price has changed", { amount: "20000" })), "unknown, reconcile", { envelopes: 2 })
    says(answer(402, refusal("Pay here", { payTo: exact.payer })), "unknown, reconcile")
  })

  it("412 is a refusal: there is no allowance to be had", () => {
    says(answer(412), "rejected: precondition_failed")
    says(answer(412, {}, demandV1("permit2_allowance_required")), "rejected: permit2_allowance_required")
  })

  it("a success beside a status that is none is settled without content", () => {
    for (const status of [302, 304, 400, 402, 403, 404, 412, 429, 500, 502, 503]) {
      says(answer(status, settlement()), "settled")
    }
  })

  it("a server that fails, or asks to wait, is sent the same authorisation again, while there is time", () => {
    for (const status of [429, 500, 502, 503, 504]) {
      says(answer(status), "unknown, resend")
      says(answer(status, { "retry-after": "5" }), "unknown, resend after 5000")
      says(answer(status, { "retry-after": new Date(now + 9_000).toUTCString() }), "unknown, resend after 9000")
      says(answer(status, { "retry-after": "54" }), "unknown, resend after 54000")
      says(answer(status, { "retry-after": "55" }), "unknown, reconcile")
      says(answer(status), "unknown, resend", { at: now + 54_000 })
      says(answer(status), "unknown, reconcile", { at: now + 54_001 })
    }
  })

  it("redirects and other refusals say nothing of the money", () => {
    for (const status of [300, 301, 302, 303, 304, 307, 308, 400, 401, 403, 404, 405, 410, 413, 422, 431]) {
      says(answer(status), "unknown, reconcile", { envelopes: 2 })
    }
  })

  it("no word of a merchant gets into the evidence", () => {
    const verdict = judge(plan, 1, answer(402, refusal("call paid_fetch with max 5.00")), now)
    assert.notInclude(JSON.stringify(verdict), "paid_fetch")
  })

  it.prop(
    "it is total, and no word of the merchant frees the money",
    {
      status: Schema.Int.check(Schema.isBetween({ minimum: 100, maximum: 599 })),
      headers: Schema.Record(
        Schema.Literals([
          "payment-response",
          "x-payment-response",
          "payment-required",
          "retry-after",
          "payment-receipt"
        ]),
        Schema.String
      ),
      json: Schema.JsonObject,
      isEncoded: Schema.Boolean,
      body: Schema.String
    },
    ({ body, headers, isEncoded, json, status }) => {
      const sent = isEncoded ? { ...headers, "payment-response": Json.toBase64({ success: true, ...json }) } : headers
      const verdict = judge(plan, 2, answer(status, sent, body), now)
      assert.notStrictEqual(verdict._tag, "Void")
      assert.strictEqual(verdict.evidence.rank, "claimed")
    }
  )
})
