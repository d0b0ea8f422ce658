import { assert, describe, it } from "@effect/vitest"
import { Option, Redacted } from "effect"
import * as McpCall from "../../src/wire/McpCall.ts"
import * as Credential from "../../src/wire/mpp/Credential.ts"
import * as V1 from "../../src/wire/x402/V1.ts"
import * as V2 from "../../src/wire/x402/V2.ts"

const challenge = { id: "c_1", realm: "shop", method: "tempo", intent: "charge", request: "e30" }
const header = Credential.format({ challenge, payload: { type: "hash" } })
const payment = (fields: Parameters<typeof McpCall.payment>[0]) => McpCall.payment(fields, undefined)

describe("McpCall", () => {
  it.each(["authorization", "payment-authorization"])("carries the credential of the field %s", (name) => {
    assert.deepStrictEqual(
      payment({ [name]: header }),
      Option.some({
        "org.paymentauth/credential": { challenge: { ...challenge, request: {} }, payload: { type: "hash" } }
      })
    )
  })

  it("carries a credential with the challenge as it came", () => {
    const native = { ...challenge, request: {}, note: { kept: true } }
    assert.deepStrictEqual(
      McpCall.payment({ authorization: header }, JSON.stringify(native)),
      Option.some({ "org.paymentauth/credential": { challenge: native, payload: { type: "hash" } } })
    )
  })

  it("carries payments of both versions of x402", () => {
    const accepted = { scheme: "exact", more: [1] }
    assert.deepStrictEqual(
      payment({ [V2.paymentHeader]: Redacted.make(V2.encodePayment({ accepted, payload: { a: 1 } })) }),
      Option.some({ "x402/payment": { x402Version: 2, accepted, payload: { a: 1 } } })
    )
    assert.deepStrictEqual(
      payment({
        [V1.paymentHeader]: Redacted.make(V1.encodePayment({ scheme: "exact", network: "base", payload: {} }))
      }),
      Option.some({ "x402/payment": { x402Version: 1, scheme: "exact", network: "base", payload: {} } })
    )
  })

  it.each([
    ["the token of a session", { authorization: Credential.formatToken(Redacted.make("tok_1")) }],
    ["two fields", { authorization: header, "payment-authorization": header }],
    ["no field", {}],
    ["a field that is unknown", { "x-other": Redacted.make("Basic x") }],
    ["a payment that is no object", { [V2.paymentHeader]: Redacted.make("x") }]
  ])("carries nothing of %s", (_, fields) => assert.isTrue(Option.isNone(payment(fields))))

  it("adds metadata to what is there", () => {
    assert.deepStrictEqual(McpCall.withMetadata({ a: 1, _meta: { b: 2 } }, { c: 3 }), { a: 1, _meta: { b: 2, c: 3 } })
    assert.deepStrictEqual(McpCall.withMetadata(undefined, { c: 3 }), { _meta: { c: 3 } })
    assert.deepStrictEqual(McpCall.withMetadata({ _meta: "x" }, { c: 3 }), { _meta: { c: 3 } })
  })

  it("says what can be paid where capabilities are said", () => {
    const methods = { methods: { tempo: { intents: ["charge"] } } }
    const key = "io.modelcontextprotocol/clientCapabilities"
    assert.deepStrictEqual(
      McpCall.advertise("initialize", { v: 1, capabilities: { roots: {}, experimental: { other: {} } } }, methods),
      { v: 1, capabilities: { roots: {}, experimental: { other: {}, payment: methods } } }
    )
    assert.deepStrictEqual(McpCall.advertise("tools/call", { name: "a", _meta: { [key]: {}, b: 1 } }, methods), {
      name: "a",
      _meta: { [key]: { experimental: { payment: methods } }, b: 1 }
    })
    assert.deepStrictEqual(McpCall.advertise("tools/call", { name: "a" }, methods), { name: "a" })
    assert.isUndefined(McpCall.advertise("tools/list", undefined, methods))
  })
})
