import { assert, describe, it } from "@effect/vitest"
import * as Option from "effect/Option"
import * as Result from "effect/Result"
import * as Schema from "effect/Schema"
import type { Hex } from "viem"
import { privateKeyToAccount } from "viem/accounts"
import { hashTypedData } from "viem/utils"
import * as Json from "../../../src/wire/Json.ts"
import * as PaymentRequest from "../../../src/wire/mpp/PaymentRequest.ts"
import * as TempoCharge from "../../../src/wire/mpp/TempoCharge.ts"

const pathUsd = "0x20c0000000000000000000000000000000000000"
const recipient = "0x742d35Cc6634C0532925a3b844Bc9e7595f8fE00"
const platform = "0x8Ba1f109551bD432803012645Ac136ddd64DBA72"
const memo: Hex = `0x${"Ab".repeat(32)}`

const lower = (hex: Hex): Hex => `0x${hex.slice(2).toLowerCase()}`

const required = { amount: "1000000", currency: pathUsd, recipient }

const challengeOf = (request: string) => ({ id: "1", realm: "r", method: "tempo", intent: "charge", request })

const read = (json: Schema.JsonObject) => TempoCharge.fromChallenge(challengeOf(Json.toBase64Url(json)))

describe("TempoCharge.fromChallenge", () => {
  it("reads every member, and addresses in lower case", () => {
    const json = {
      ...required,
      currency: pathUsd.toUpperCase().replace("0X", "0x"),
      externalId: "order_1",
      description: "a report",
      unknown: [1],
      expires: "2020-01-01T00:00:00Z",
      methodDetails: {
        chainId: 42431,
        feePayer: true,
        memo,
        splits: [{ amount: "1", recipient: platform, memo, unknown: 1 }, { amount: "2", recipient: platform }],
        supportedModes: ["push", "pull"],
        machineTokenEnabled: true
      }
    }
    assert.deepStrictEqual(
      read(json),
      Result.succeed({
        amount: 1_000_000n,
        currency: pathUsd,
        recipient: lower(recipient),
        externalId: "order_1",
        description: "a report",
        methodDetails: {
          chainId: 42431,
          feePayer: true,
          memo: lower(memo),
          splits: [
            { amount: 1n, recipient: lower(platform), memo: lower(memo) },
            { amount: 2n, recipient: lower(platform) }
          ],
          supportedModes: ["push", "pull"]
        }
      })
    )
  })

  it("does not care for the order of the members", () => {
    const published =
      "eyJhbW91bnQiOiIxMDAwMDAwIiwiY3VycmVuY3kiOiIweDIwYzAwMDAwMDAwMDAwMDAwMDAwMDAwMDAwMDAwMDAwMDAwMDAwMDAiLCJyZWNpcGllbnQiOiIweDc0MmQzNUNjNjYzNEMwNTMyOTI1YTNiODQ0QmM5ZTc1OTVmOGZFMDAiLCJtZXRob2REZXRhaWxzIjp7ImNoYWluSWQiOjQyMTcsInN1cHBvcnRlZE1vZGVzIjpbInB1bGwiXX19"
    const request = Result.getOrThrow(TempoCharge.fromChallenge(challengeOf(published)))
    assert.deepStrictEqual(request.methodDetails, { chainId: 4217, supportedModes: ["pull"] })
    assert.notStrictEqual(PaymentRequest.encode(Option.getOrThrow(Json.fromBase64Url(published))), published)
  })

  it("takes null for absent, wherever it stands", () => {
    const plain = read(required)
    assert.isTrue(Result.isSuccess(plain))
    assert.deepStrictEqual(read({ ...required, externalId: null, description: null, methodDetails: null }), plain)
    assert.deepStrictEqual(
      read({
        ...required,
        methodDetails: {
          chainId: null,
          feePayer: null,
          memo: null,
          supportedModes: null,
          splits: [{ amount: "1", recipient: platform, memo: null }]
        }
      }),
      read({ ...required, methodDetails: { splits: [{ amount: "1", recipient: platform }] } })
    )
    assert.deepStrictEqual(
      read({ ...required, methodDetails: { splits: null } }),
      read({ ...required, methodDetails: {} })
    )
  })

  it("leaves out modes that it does not know", () => {
    const modes = (supportedModes: ReadonlyArray<string>) =>
      Result.getOrThrow(read({ ...required, methodDetails: { supportedModes } })).methodDetails?.supportedModes
    assert.deepStrictEqual(modes(["teleport", "pull"]), ["pull"])
    assert.deepStrictEqual(modes(["teleport"]), [])
    assert.deepStrictEqual(modes([]), [])
  })

  it("reads a price of nothing", () => {
    assert.strictEqual(Result.getOrThrow(read({ ...required, amount: "0" })).amount, 0n)
  })

  const split = { amount: "1", recipient: platform }
  const details = (methodDetails: Schema.Json) => ({ ...required, methodDetails })

  it.each<readonly [what: string, json: Schema.JsonObject, why: string]>([
    ["no amount", { currency: pathUsd, recipient }, "amount"],
    ["an amount that is a number", { ...required, amount: 1_000_000 }, "amount"],
    ["a negative amount", { ...required, amount: "-1" }, "amount"],
    ["a signed amount", { ...required, amount: "+1" }, "amount"],
    ["a fraction", { ...required, amount: "1.5" }, "amount"],
    ["an exponent", { ...required, amount: "1e6" }, "amount"],
    ["an amount in hexadecimal", { ...required, amount: "0x10" }, "amount"],
    ["an empty amount", { ...required, amount: "" }, "amount"],
    ["more than a chain can count", { ...required, amount: (2n ** 256n).toString() }, "amount"],
    ["no currency", { amount: "1", recipient }, "currency"],
    ["a currency that is no token", { ...required, currency: "usd" }, "currency"],
    ["no recipient", { amount: "1", currency: pathUsd }, "recipient"],
    ["a recipient that is cut off", { ...required, recipient: recipient.slice(0, -1) }, "recipient"],
    ["an external id that is none", { ...required, externalId: 5 }, "externalId"],
    ["details that are a list", details([]), "methodDetails"],
    ["a chain that is a text", details({ chainId: "4217" }), "methodDetails"],
    ["a chain without number", details({ chainId: 0 }), "methodDetails"],
    ["a chain that is half", details({ chainId: 1.5 }), "methodDetails"],
    ["a fee payer that is a text", details({ feePayer: "true" }), "methodDetails"],
    ["a short memo", details({ memo: "0x00" }), "methodDetails"],
    ["modes that are a text", details({ supportedModes: "pull" }), "methodDetails"],
    ["splits that are none", details({ splits: [] }), "methodDetails"],
    ["eleven splits", details({ splits: Array.from({ length: 11 }, () => split) }), "methodDetails"],
    ["a split of nothing", details({ splits: [{ ...split, amount: "0" }] }), "methodDetails"],
    ["a negative split", details({ splits: [{ ...split, amount: "-1" }] }), "methodDetails"],
    ["a split without recipient", details({ splits: [{ amount: "1" }] }), "methodDetails"],
    ["a split that is null", details({ splits: [null] }), "methodDetails"],
    ["splits of the whole amount", details({ splits: [{ ...split, amount: "1000000" }] }), "splits"],
    ["splits of more", details({ splits: [{ ...split, amount: "999999" }, split, split] }), "splits"],
    ["splits of nothing at all", { ...details({ splits: [split] }), amount: "0" }, "splits"]
  ])("refuses %s", (_, json, why) => {
    const read_ = read(json)
    assert.isTrue(Result.isFailure(read_))
    assert.include(Option.getOrThrow(Result.getFailure(read_)), why)
  })

  it("refuses other methods and intents, and a request that is none", () => {
    const challenge = challengeOf(Json.toBase64Url(required))
    assert.isTrue(Result.isFailure(TempoCharge.fromChallenge({ ...challenge, method: "evm" })))
    assert.isTrue(Result.isFailure(TempoCharge.fromChallenge({ ...challenge, intent: "session" })))
    assert.isTrue(Result.isFailure(TempoCharge.fromChallenge({ ...challenge, request: "W10" })))
  })

  const encode = Schema.encodeSync(TempoCharge.Request)

  it.prop("reads what it writes, unless the splits take it all, and pays exactly its price", [TempoCharge.Request], ([
    request
  ]) => {
    const json: Schema.JsonObject = JSON.parse(JSON.stringify(encode(request)))
    const splits = request.methodDetails?.splits ?? []
    const sum = splits.reduce((total, { amount }) => total + amount, 0n)
    const result = TempoCharge.fromChallenge(challengeOf(PaymentRequest.encode(json)))
    if (splits.length > 0 && sum >= request.amount) return assert.isTrue(Result.isFailure(result))
    const again = Result.getOrThrow(result)
    assert.deepStrictEqual(JSON.stringify(encode(again)).toLowerCase(), JSON.stringify(json).toLowerCase())
    const transfers = TempoCharge.transfers(again, memo)
    assert.strictEqual(transfers.length, splits.length + 1)
    assert.strictEqual(transfers.reduce((total, { units }) => total + units, 0n), request.amount)
  })
})

describe("TempoCharge.transfers", () => {
  it("gives the recipient what the splits leave, and comes first", () => {
    const request = Result.getOrThrow(read({
      ...required,
      methodDetails: {
        splits: [{ amount: "300000", recipient: platform }, { amount: "100000", recipient: pathUsd, memo }]
      }
    }))
    const own = TempoCharge.attribution({ realm: "r", challengeId: "1" })
    assert.deepStrictEqual(TempoCharge.transfers(request, own), [
      { to: lower(recipient), units: 600_000n, memo: own },
      { to: lower(platform), units: 300_000n },
      { to: pathUsd, units: 100_000n, memo: lower(memo) }
    ])
  })
})

describe("TempoCharge.attribution", () => {
  const bound = { realm: "api.example.com", challengeId: "challenge-123" }
  const anonymous = "0xef1ed712011ece072f76bd8b82350e00000000000000000000eb18f2d4402269"

  it("is the memo that servers look for", () => {
    assert.strictEqual(TempoCharge.attribution(bound), anonymous)
    assert.strictEqual(TempoCharge.attribution({ ...bound, clientId: "" }), anonymous)
    assert.strictEqual(
      TempoCharge.attribution({ ...bound, clientId: "my-app" }),
      "0xef1ed712011ece072f76bd8b82350e3a180fb9d0177aa2f371eb18f2d4402269"
    )
  })

  it.prop("has its place for every part", [Schema.String, Schema.String], ([realm, challengeId]) => {
    const other = TempoCharge.attribution({ realm, challengeId })
    assert.strictEqual(other.length, 66)
    assert.strictEqual(other.slice(0, 12), "0xef1ed71201")
    assert.strictEqual(other.slice(32, 52), "0".repeat(20))
    assert.strictEqual(other.slice(12, 32) === anonymous.slice(12, 32), realm === bound.realm)
    assert.strictEqual(other.slice(52) === anonymous.slice(52), challengeId === bound.challengeId)
  })
})

describe("TempoCharge.proofTypedData", () => {
  const account = privateKeyToAccount(`0x${"01".repeat(32)}`)
  const bound = {
    account: account.address,
    chainId: 42431,
    challengeId: "kM9xPqWvT2nJrHsY4aDfEb",
    realm: "api.example.com"
  }
  const typedData = TempoCharge.proofTypedData(bound)

  it("is version 3, with the digest and the signature that are published for it", async () => {
    assert.strictEqual(account.address, "0x1a642f0E3c3aF545E7AcBD38b07251B3990914F1")
    assert.strictEqual(
      hashTypedData(typedData),
      "0x3860a700a55e02ad3c2dc047e92489feceecbdb0a801d948e1d9f0b61ea9bc3f"
    )
    assert.strictEqual(
      await account.signTypedData(typedData),
      "0x53f5d64d9f995e841b4212639b2e17e508e96752e10316df3814a16443dcbdb626c082190a4c3ecc3148101eb443d15bd83b579380b1be735a9c99f0df36c9fe1b"
    )
  })

  it.each([
    {
      version: "2",
      members: [{ name: "challengeId", type: "string" }, { name: "realm", type: "string" }],
      digest: "0x1b38d25baec744e627498efd0344b919a4f867b158029d69cc586b7626d0e4f6"
    },
    {
      version: "1",
      members: [{ name: "challengeId", type: "string" }],
      digest: "0xc5c155e34a264f8a8ff363f3e989f402356697303a4e1102d512c25b1b2afb11"
    }
  ])("is not version $version", ({ digest, members, version }) => {
    const older = hashTypedData({
      domain: { name: "MPP", version, chainId: 42431 },
      types: { Proof: members },
      primaryType: "Proof",
      message: { challengeId: bound.challengeId, realm: bound.realm }
    })
    assert.strictEqual(older, digest)
    assert.notStrictEqual(hashTypedData(typedData), older)
  })

  it("changes with everything that it binds", () => {
    const digests = [
      bound,
      { ...bound, account: lower(recipient) },
      { ...bound, chainId: 4217 },
      { ...bound, challengeId: "other" },
      { ...bound, realm: "other" }
    ].map((each) => hashTypedData(TempoCharge.proofTypedData(each)))
    assert.strictEqual(new Set(digests).size, digests.length)
  })
})

describe("TempoCharge.Payload", () => {
  const decode = Schema.decodeUnknownOption(TempoCharge.Payload)

  it.each<readonly [Schema.Json, boolean]>([
    [{ type: "transaction", signature: "0x76f9" }, true],
    [{ type: "transaction", signature: "0x76f9", unknown: 1 }, true],
    [{ type: "hash", hash: memo }, true],
    [{ type: "proof", signature: "0x53f5" }, true],
    [{ type: "hash", hash: "0x1234" }, false],
    [{ type: "hash", signature: "0x1234" }, false],
    [{ type: "transaction", signature: "0x" }, false],
    [{ type: "transaction", signature: "0x123" }, false],
    [{ type: "transaction", signature: "76f9" }, false],
    [{ type: "voucher", signature: "0x76f9" }, false],
    [{ signature: "0x76f9" }, false],
    [null, false],
    [[], false]
  ])("of %j is one: %s", (json, expected) => {
    assert.strictEqual(Option.isSome(decode(json)), expected)
  })

  it.prop("reads what it writes", [TempoCharge.Payload], ([payload]) => {
    const again = Option.getOrThrow(decode(Schema.encodeSync(TempoCharge.Payload)(payload)))
    assert.strictEqual(JSON.stringify(again).toLowerCase(), JSON.stringify(payload).toLowerCase())
  })
})
