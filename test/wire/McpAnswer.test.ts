import { assert, describe, it } from "@effect/vitest"
import { Option, Result } from "effect"
import * as Demand from "../../src/Demand.ts"
import * as McpAnswer from "../../src/wire/McpAnswer.ts"

const challenge = {
  id: "c_1",
  realm: "shop.example",
  method: "tempo",
  intent: "charge",
  request: { amount: "10000", currency: "0xaa", recipient: "0xbb", methodDetails: { chainId: 42431 } }
}
const receipt = { status: "success", method: "tempo", timestamp: "", reference: "0x01", challengeId: "c_1" }
const entry = {
  scheme: "exact",
  network: "eip155:8453",
  amount: "10000",
  asset: "0x833589fCD6eDb6E08f4c7C32D4f71b54bdA02913",
  payTo: "0x3C44CdDdB6a900fa2b585dd299e03d12FA4293BC",
  maxTimeoutSeconds: 60
}
const entryV1 = { ...entry, network: "base", maxAmountRequired: "10000" }
const x402 = { x402Version: 2, error: "Payment required", resource: { url: "mcp://tool/a" }, accepts: [entry] }
const x402V1 = { x402Version: 1, error: "Payment required", accepts: [entryV1] }
const settlement = { success: true, transaction: "0x01", network: "eip155:8453" }

const error = (code: number, data?: unknown, message = "no") => ({ error: { code, message, data } })
const read = (response: Parameters<typeof McpAnswer.read>[0], paid = false) => {
  const answer = McpAnswer.read(response, { paid })
  const { offers, problem, receipt, refused } = Demand.read(answer)
  return {
    status: answer.status,
    offers: offers.map(({ method, protocol, units }) => `${protocol} ${method} ${units}`),
    refused: refused.length,
    problem: Option.getOrUndefined(Option.map(problem, ({ code }) => code)),
    text: Option.getOrUndefined(Option.flatMapNullishOr(problem, ({ merchantText }) => merchantText)),
    receipt: Option.getOrUndefined(receipt)
  }
}

const mpp = ["mpp tempo 10000"]
const exact = ["x402 exact 10000"]

describe("McpAnswer", () => {
  it.each([
    ["the scheme's error", error(-32042, { httpStatus: 402, challenges: [challenge] }), mpp],
    ["a refusal with fresh challenges", error(-32043, { challenges: [challenge] }), mpp],
    ["the metadata of a result", {
      result: { content: [], _meta: { "org.paymentauth/payment-required": { challenges: [challenge] } } }
    }, mpp],
    ["a server that takes both protocols", error(-32042, { challenges: [challenge], x402 }), [...mpp, ...exact]],
    ["a server that takes x402 alone, in the scheme's error", error(-32042, { x402 }), exact],
    ["x402's result", { result: { isError: true, structuredContent: x402, content: [] } }, exact],
    ["x402's result, wrapped", {
      result: { isError: true, structuredContent: { "x402/error": { code: 402, data: x402 } } }
    }, exact],
    [
      "x402's result in text",
      { result: { isError: true, content: [{ type: "text", text: JSON.stringify(x402) }] } },
      exact
    ],
    ["x402's result in text, wrapped", {
      result: {
        isError: true,
        content: [{ type: "text", text: JSON.stringify({ "x402/error": { code: 402, data: x402 } }) }]
      }
    }, exact],
    ["x402's first version", error(402, x402V1), exact],
    ["x402's first version in a result", { result: { isError: true, structuredContent: x402V1 } }, exact]
  ])("finds the demand in %s", (_, response, offers) => {
    for (const paid of [false, true]) {
      const { offers: found, refused, status } = read(response, paid)
      assert.deepStrictEqual({ status, found, refused }, { status: 402, found: offers, refused: 0 })
    }
  })

  it.each([
    ["an elicitation that has the code of a demand", error(-32042, { elicitations: [{ mode: "url" }] })],
    ["another error", error(-32601, { challenges: [challenge] })],
    ["content about payments", { result: { structuredContent: x402, content: [] } }],
    ["a text that is no JSON", { result: { isError: true, content: [{ type: "text", text: "{" }] } }],
    ["an empty list", { result: { isError: true, structuredContent: { x402Version: 2, accepts: {} } } }],
    ["a result that is none", { result: null }],
    ["content of any form", { result: { isError: true, content: "x", structuredContent: [1], _meta: 3 } }]
  ])("demands nothing in %s", (_, response) => {
    const { offers, refused } = read(response)
    assert.deepStrictEqual([offers, refused], [[], 0])
  })

  it("says in which words a payment was refused", () => {
    const refusals = [
      read(error(-32043, { failure: { reason: "signature-invalid", detail: "Signature mismatch" } }), true),
      read(
        error(-32043, { problem: { type: "https://paymentauth.org/problems/payment-expired", title: "Late" } }),
        true
      ),
      read(error(-32043, { problem: { type: "https://paymentauth.org/problems/payment-required" } }, "bad"), true),
      read(error(-32602, undefined, "Malformed"), true),
      read(error(-32602, { problem: { type: "https://paymentauth.org/problems/invalid-payload", detail: "x" } }), true),
      read(
        error(-32042, { problem: { type: "https://paymentauth.org/problems/verification-failed", detail: "y" } }),
        true
      )
    ]
    assert.deepStrictEqual(refusals.map(({ problem, status, text }) => [status, problem, text]), [
      [402, "verification-failed", "Signature mismatch"],
      [402, "payment-expired", "Late"],
      [402, "verification-failed", "bad"],
      [402, "malformed-credential", "Malformed"],
      [402, "invalid-payload", "x"],
      [402, "payment-required", "y"]
    ])
  })

  it("takes a complaint about parameters for one about the payment only if there was one", () => {
    assert.strictEqual(read(error(-32602)).status, 400)
    assert.strictEqual(read(error(-32602), true).status, 402)
  })

  it("says that the server failed", () => {
    const { problem, status } = read(error(-32603), true)
    assert.deepStrictEqual([status, problem], [500, "internal-payment-error"])
  })

  it("finds receipts and settlements, whatever else the answer says", () => {
    const mppReceipt = { content: [], _meta: { "org.paymentauth/receipt": receipt } }
    const x402Receipt = { content: [], _meta: { "x402/payment-response": settlement } }
    for (const extra of [{}, { isError: true }]) {
      const { receipt: one, status } = read({ result: { ...mppReceipt, ...extra } }, true)
      assert.strictEqual(status, "isError" in extra ? 500 : 200)
      assert(one?.protocol === "mpp")
      assert.deepStrictEqual([one.challengeId, one.reference], ["c_1", "0x01"])
      const { receipt: other } = read({ result: { ...x402Receipt, ...extra } }, true)
      assert(other?.protocol === "x402")
      assert.deepStrictEqual([other.success, other.transaction], [true, "0x01"])
    }
  })

  it("finds a settlement that failed within the demand", () => {
    const failed = {
      ...x402,
      "x402/payment-response": { success: false, errorReason: "insufficient_funds", transaction: "" }
    }
    for (
      const response of [{ result: { isError: true, structuredContent: failed } }, error(402, { ...failed, ...x402V1 })]
    ) {
      const { problem, receipt: one, status } = read(response, true)
      assert(one?.protocol === "x402")
      assert.deepStrictEqual([status, one.success, problem], [402, false, "insufficient_funds"])
    }
  })

  it("hands on a tool's own error before a payment, and what it said after one", () => {
    const response = { result: { isError: true, content: [{ type: "text", text: "no\u202esuch city" }] } }
    assert.strictEqual(read(response).status, 200)
    const { problem, status, text } = read(response, true)
    assert.deepStrictEqual([status, problem, text], [500, "unspecified", "no such city"])
  })

  it("takes a result that is none yet for no content, once it was paid for", () => {
    const response = (resultType: string) => ({ result: { resultType, content: [] } })
    assert.deepStrictEqual([read(response("complete"), true).status, read(response("input_required")).status], [
      200,
      200
    ])
    assert.strictEqual(read(response("input_required"), true).status, 400)
  })

  it("knows what the official SDK makes of the errors that a tool throws", () => {
    const thrown = (said: string, more: object = {}) =>
      read({ result: { isError: true, content: [{ type: "text", text: said }], ...more } }, true)
    const refused = thrown("MCP error -32043: Payment verification failed.")
    assert.deepStrictEqual([refused.status, refused.problem, refused.text], [
      402,
      "verification-failed",
      "Payment verification failed."
    ])
    assert.strictEqual(thrown("MCP error -32602: Credential is malformed.").problem, "malformed-credential")
    assert.strictEqual(
      thrown("MCP error -32603: An internal payment error occurred.").problem,
      "internal-payment-error"
    )
    assert.strictEqual(thrown("MCP error -32042: Payment is required.").problem, "payment-required")
    assert.strictEqual(thrown("MCP error -32000: Connection closed").problem, "unspecified")
    const receipted = thrown("MCP error -32043: no", { _meta: { "org.paymentauth/receipt": receipt } })
    assert.deepStrictEqual([receipted.status, receipted.problem], [500, "unspecified"])
    const response = { result: { isError: true, content: [{ type: "text", text: "MCP error -32602: no" }] } }
    assert.strictEqual(read(response).status, 200)
  })

  it("never throws, whatever a server says", () => {
    const deep: unknown = JSON.parse("[".repeat(100_000) + "]".repeat(100_000))
    const odd: ReadonlyArray<unknown> = [
      undefined,
      null,
      0,
      "",
      "x",
      [],
      {},
      deep,
      { a: deep },
      [deep],
      Symbol.iterator
    ]
    for (const value of odd) {
      for (const code of [-32042, -32043, -32602, -32603, 402, 0, Number.NaN]) {
        for (
          const data of [value, { challenges: value }, { challenges: [value] }, {
            problem: value,
            failure: value,
            x402: value
          }]
        ) {
          assert.isTrue(Result.isSuccess(Result.try(() => read(error(code, data), true))))
        }
      }
      for (const _meta of [value, { "org.paymentauth/receipt": value, "x402/payment-response": value }]) {
        const result = { _meta, content: value, structuredContent: value, isError: true }
        assert.isTrue(Result.isSuccess(Result.try(() => read({ result }, true))))
      }
    }
  })
})
