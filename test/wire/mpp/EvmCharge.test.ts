import { assert, describe, it } from "@effect/vitest"
import * as Option from "effect/Option"
import * as Result from "effect/Result"
import * as Schema from "effect/Schema"
import type { Hex } from "viem"
import { keccak256, stringToBytes } from "viem/utils"
import * as Json from "../../../src/wire/Json.ts"
import * as EvmCharge from "../../../src/wire/mpp/EvmCharge.ts"
import * as PaymentRequest from "../../../src/wire/mpp/PaymentRequest.ts"

const usdc = "0x036CbD53842c5426634e7929541eC2318f3dCF7e"
const recipient = "0x742d35Cc6634C0532925a3b844Bc9e7595f8fE00"

const lower = (hex: Hex): Hex => `0x${hex.slice(2).toLowerCase()}`

const required = { amount: "1000000", currency: usdc, recipient, methodDetails: { chainId: 84532 } }

const challengeOf = (request: string) => ({ id: "1", realm: "r", method: "evm", intent: "charge", request })

const read = (json: Schema.JsonObject) => EvmCharge.fromChallenge(challengeOf(Json.toBase64Url(json)))

const details = (methodDetails: Schema.JsonObject) => ({
  ...required,
  methodDetails: { chainId: 84532, ...methodDetails }
})

describe("EvmCharge.fromChallenge", () => {
  it("reads every member, and addresses in lower case", () => {
    assert.deepStrictEqual(
      read({
        ...details({
          credentialTypes: ["permit2", "authorization"],
          decimals: 18,
          permit2Address: null,
          splits: [{ amount: "1", recipient, memo: "for people" }]
        }),
        externalId: "order_1",
        description: "a report"
      }),
      Result.succeed({
        amount: 1_000_000n,
        currency: lower(usdc),
        recipient: lower(recipient),
        externalId: "order_1",
        description: "a report",
        methodDetails: {
          chainId: 84532,
          credentialTypes: ["permit2", "authorization"],
          splits: [{ amount: 1n, recipient: lower(recipient) }]
        }
      })
    )
  })

  it.each<readonly [what: string, json: Schema.JsonObject, why: string]>([
    ["no amount", { ...required, amount: null }, "amount"],
    ["a fraction", { ...required, amount: "0.5" }, "amount"],
    ["a currency that is no token", { ...required, currency: "usdc" }, "currency"],
    ["no recipient", { ...required, recipient: null }, "recipient"],
    ["no details", { ...required, methodDetails: null }, "methodDetails"],
    ["a later version of the method", details({ version: 2 }), "methodDetails"],
    ["no chain", { ...required, methodDetails: {} }, "methodDetails"],
    ["a chain that is a text", { ...required, methodDetails: { chainId: "84532" } }, "methodDetails"],
    ["types that are a text", details({ credentialTypes: "authorization" }), "methodDetails"],
    ["a split of nothing", details({ splits: [{ amount: "0", recipient }] }), "methodDetails"]
  ])("refuses %s", (_, json, why) => {
    assert.include(Option.getOrThrow(Result.getFailure(read(json))), why)
  })

  it("takes the first version of the method, whether it is said or not", () => {
    for (const version of [1, "1", null]) assert.isTrue(Result.isSuccess(read(details({ version }))))
  })

  it("refuses other methods and intents, and a request that is none", () => {
    const challenge = challengeOf(Json.toBase64Url(required))
    assert.isTrue(Result.isFailure(EvmCharge.fromChallenge({ ...challenge, method: "tempo" })))
    assert.isTrue(Result.isFailure(EvmCharge.fromChallenge({ ...challenge, intent: "session" })))
    assert.isTrue(Result.isFailure(EvmCharge.fromChallenge({ ...challenge, request: "W10" })))
  })

  const encode = Schema.encodeSync(EvmCharge.Request)

  it.prop("reads what it writes", [EvmCharge.Request], ([request]) => {
    const json: Schema.JsonObject = JSON.parse(JSON.stringify(encode(request)))
    const again = Result.getOrThrow(EvmCharge.fromChallenge(challengeOf(PaymentRequest.encode(json))))
    assert.strictEqual(JSON.stringify(encode(again)).toLowerCase(), JSON.stringify(json).toLowerCase())
  })
})

describe("EvmCharge.takesAuthorization", () => {
  it.each<readonly [Schema.JsonObject, boolean]>([
    [{ credentialTypes: ["authorization"] }, true],
    [{ credentialTypes: ["permit2", "authorization"] }, true],
    [{ credentialTypes: ["permit2"] }, false],
    [{ credentialTypes: [] }, false],
    [{}, false],
    [{ credentialTypes: ["authorization"], splits: [{ amount: "1", recipient }] }, false]
  ])("of %j is %s", (methodDetails, expected) => {
    assert.strictEqual(EvmCharge.takesAuthorization(Result.getOrThrow(read(details(methodDetails)))), expected)
  })
})

describe("EvmCharge.nonce", () => {
  it.prop("is the digest of the challenge's id and realm as UTF-8", [Schema.String, Schema.String], ([id, realm]) => {
    assert.strictEqual(EvmCharge.nonce({ id, realm }), keccak256(stringToBytes(id + realm)))
  })

  it("is the same as that of other implementations", () => {
    assert.strictEqual(
      EvmCharge.nonce({ id: "kM9xPqWvT2nJrHsY4aDfEb", realm: "api.example.com" }),
      "0xd2d72dfca885760b79fc7ce459bc3ab304be7f63bbbfc1384bbf4a54ff0344cc"
    )
  })
})

describe("EvmCharge.Payload", () => {
  const decode = Schema.decodeUnknownOption(EvmCharge.Payload)
  const payload = {
    type: "authorization",
    from: usdc,
    to: recipient,
    value: "1000000",
    validAfter: "0",
    validBefore: "1767700000",
    nonce: `0x${"0f".repeat(32)}`,
    signature: `0x${"1b".repeat(65)}`
  }

  it("reads numbers that are decimal strings", () => {
    assert.deepInclude(Option.getOrThrow(decode(payload)), {
      to: lower(recipient),
      value: 1_000_000n,
      validAfter: 0n,
      validBefore: 1_767_700_000n
    })
  })

  it.each<readonly [string, Schema.Json]>([
    ["another type", { ...payload, type: "permit2" }],
    ["a value that is a number", { ...payload, value: 1_000_000 }],
    ["a short nonce", { ...payload, nonce: "0x00" }],
    ["no signature", { ...payload, signature: "0x" }],
    ["nothing", {}]
  ])("refuses %s", (_, json) => {
    assert.isTrue(Option.isNone(decode(json)))
  })

  it.prop("reads what it writes", [EvmCharge.Payload], ([written]) => {
    const json = Schema.encodeSync(EvmCharge.Payload)(written)
    const again = Schema.encodeSync(EvmCharge.Payload)(Option.getOrThrow(decode(json)))
    assert.strictEqual(JSON.stringify(again).toLowerCase(), JSON.stringify(json).toLowerCase())
  })
})
