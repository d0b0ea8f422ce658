import { assert, describe, it } from "@effect/vitest"
import * as Exit from "effect/Exit"
import * as Option from "effect/Option"
import * as Result from "effect/Result"
import * as Schema from "effect/Schema"
import { Methods, Session } from "mppx/tempo"
import type { Hex } from "viem"
import * as Json from "../../../src/wire/Json.ts"
import * as Channel from "../../../src/wire/mpp/Channel.ts"
import * as Receipt from "../../../src/wire/mpp/Receipt.ts"
import * as TempoSession from "../../../src/wire/mpp/TempoSession.ts"

const pathUsd = "0x20c0000000000000000000000000000000000000"
const recipient = "0x742d35Cc6634C0532925a3b844Bc9e7595f8fE00"
const operator = "0x8Ba1f109551bD432803012645Ac136ddd64DBA72"
const escrow = Channel.escrowV2
const channelId: Hex = `0x${"Ab".repeat(32)}`
const signature: Hex = `0x${"1b".repeat(65)}`

const lower = (hex: Hex): Hex => `0x${hex.slice(2).toLowerCase()}`

const descriptor = {
  payer: operator,
  payee: recipient,
  operator: `0x${"00".repeat(20)}`,
  token: pathUsd,
  salt: `0x${"0A".repeat(32)}`,
  authorizedSigner: `0x${"00".repeat(20)}`,
  expiringNonceHash: `0x${"aa".repeat(32)}`
} as const

const descriptorRead: Channel.Descriptor = {
  ...descriptor,
  payer: lower(operator),
  payee: lower(recipient),
  salt: `0x${"0a".repeat(32)}`
}

const snapshot = {
  channelId,
  chainId: 4217,
  escrow,
  descriptor,
  deposit: "500000",
  settled: "100",
  acceptedCumulative: "250000",
  requiredCumulative: "250025",
  spent: "249000",
  units: 7,
  closeRequestedAt: "0",
  highestVoucher: { channelId, cumulativeAmount: "250000", signature }
}

const snapshotRead: TempoSession.Snapshot = {
  channelId: lower(channelId),
  chainId: 4217,
  escrow,
  descriptor: descriptorRead,
  deposit: 500_000n,
  settled: 100n,
  acceptedCumulative: 250_000n,
  requiredCumulative: 250_025n,
  spent: 249_000n,
  units: 7,
  closeRequestedAt: 0n,
  highestVoucher: { channelId: lower(channelId), cumulativeAmount: 250_000n, signature }
}

const v2 = { sessionProtocol: "v2", chainId: 4217, escrowContract: escrow }
const required = { amount: "25", currency: pathUsd, recipient, methodDetails: v2 }

const challengeOf = (request: string) => ({ id: "1", realm: "r", method: "tempo", intent: "session", request })

const read = (json: Schema.JsonObject) => TempoSession.fromChallenge(challengeOf(Json.toBase64Url(json)))

const details = (methodDetails: Schema.JsonObject) => ({ ...required, methodDetails: { ...v2, ...methodDetails } })

describe("TempoSession.fromChallenge", () => {
  it("reads every member, and hexadecimal in lower case", () => {
    assert.deepStrictEqual(
      read({
        ...required,
        unitType: "llm_token",
        suggestedDeposit: "10000000",
        externalId: "order_1",
        description: "a report",
        unknown: [1],
        methodDetails: {
          ...v2,
          channelId,
          minVoucherDelta: "100",
          operator,
          feePayer: true,
          feeToken: pathUsd,
          sessionSnapshot: snapshot,
          unknown: { a: 1 }
        }
      }),
      Result.succeed({
        amount: 25n,
        unitType: "llm_token",
        suggestedDeposit: 10_000_000n,
        currency: pathUsd,
        recipient: lower(recipient),
        externalId: "order_1",
        description: "a report",
        methodDetails: {
          sessionProtocol: "v2",
          chainId: 4217,
          escrowContract: escrow,
          channelId: lower(channelId),
          minVoucherDelta: 100n,
          operator: lower(operator),
          feePayer: true,
          feeToken: pathUsd,
          sessionSnapshot: snapshotRead
        }
      })
    )
  })

  it("reads what mppx asks for", () => {
    const request = Methods.session.schema.request.parse({
      amount: "0.000025",
      decimals: 6,
      currency: pathUsd,
      recipient,
      unitType: "token",
      suggestedDeposit: "10",
      chainId: 42431,
      escrowContract: escrow,
      feePayer: true,
      sessionProtocol: "v2"
    })
    assert.deepStrictEqual(
      read(JSON.parse(JSON.stringify(request))),
      Result.succeed({
        amount: 25n,
        unitType: "token",
        suggestedDeposit: 10_000_000n,
        currency: pathUsd,
        recipient: lower(recipient),
        methodDetails: { sessionProtocol: "v2", chainId: 42431, escrowContract: escrow, feePayer: true }
      })
    )
  })

  it("takes a protocol that is not named for the first version, which may leave the chain to the client", () => {
    for (const methodDetails of [{}, { sessionProtocol: null }, { sessionProtocol: "v1" }]) {
      const request = Result.getOrThrow(read({ ...required, methodDetails }))
      assert.notStrictEqual(request.methodDetails.sessionProtocol, "v2")
      assert.isUndefined(request.methodDetails.chainId)
    }
    const named = { chainId: 42431, escrowContract: recipient }
    assert.deepStrictEqual(
      Result.getOrThrow(read({ ...required, methodDetails: named })).methodDetails,
      { chainId: 42431, escrowContract: lower(recipient) }
    )
  })

  it("takes null for absent, wherever it stands", () => {
    const nulls = details({ channelId: null, operator: null, minVoucherDelta: null, sessionSnapshot: null })
    assert.deepStrictEqual(read({ ...nulls, unitType: null, suggestedDeposit: null }), read(required))
    const optional = { ...snapshot, units: null, closeRequestedAt: null, highestVoucher: null }
    const { closeRequestedAt: _, highestVoucher: __, units: ___, ...rest } = snapshotRead
    assert.deepStrictEqual(
      Result.getOrThrow(read(details({ sessionSnapshot: optional }))).methodDetails,
      { sessionProtocol: "v2", chainId: 4217, escrowContract: escrow, sessionSnapshot: rest }
    )
  })

  it("leaves out a snapshot that it cannot read", () => {
    const snapshots: ReadonlyArray<Schema.Json> = [
      1,
      "x",
      [],
      {},
      { ...snapshot, deposit: "-1" },
      { ...snapshot, spent: (2n ** 96n).toString() },
      { ...snapshot, descriptor: { ...descriptor, salt: "0x" } },
      { ...snapshot, highestVoucher: { channelId } }
    ]
    for (const sessionSnapshot of snapshots) {
      assert.deepStrictEqual(read(details({ sessionSnapshot })), read(required), JSON.stringify(sessionSnapshot))
    }
  })

  it.each<readonly [what: string, json: Schema.JsonObject, why: string]>([
    ["no amount", { currency: pathUsd, recipient, methodDetails: v2 }, "its amount is"],
    ["a price of nothing", { ...required, amount: "0" }, "its amount is"],
    ["an amount that is a number", { ...required, amount: 25 }, "its amount is"],
    ["a negative amount", { ...required, amount: "-1" }, "its amount is"],
    ["a fraction", { ...required, amount: "0.5" }, "its amount is"],
    ["more than a channel can hold", { ...required, amount: (2n ** 96n).toString() }, "its amount is"],
    ["a deposit beyond that", { ...required, suggestedDeposit: (2n ** 96n).toString() }, "its suggestedDeposit is"],
    ["a negative deposit", { ...required, suggestedDeposit: "-1" }, "its suggestedDeposit is"],
    ["a unit that is none", { ...required, unitType: 1 }, "its unitType is"],
    ["a currency that is no token", { ...required, currency: "usd" }, "its currency is"],
    ["no recipient", { amount: "1", currency: pathUsd, methodDetails: v2 }, "its recipient is"],
    ["no details", { amount: "1", currency: pathUsd, recipient }, "its methodDetails is"],
    ["details that are a list", { ...required, methodDetails: [] }, "its methodDetails is"],
    ["a protocol that is not known", details({ sessionProtocol: "v3" }), "its session protocol is not known here"],
    ["a protocol that is a number", details({ sessionProtocol: 2 }), "its session protocol is not known here"],
    ["the second version without chain", details({ chainId: null }), "it names no chain or no escrow contract"],
    ["the second version without escrow", details({ escrowContract: null }), "it names no chain or no escrow contract"],
    ["a chain that is a text", details({ chainId: "4217" }), "its methodDetails is"],
    ["a chain without number", details({ chainId: 0 }), "its methodDetails is"],
    ["a chain that is half", details({ chainId: 1.5 }), "its methodDetails is"],
    ["an escrow that is none", details({ escrowContract: "0x4d50" }), "its methodDetails is"],
    ["an escrow of the first version that is none", {
      ...required,
      methodDetails: { escrowContract: "0x4d50" }
    }, "its methodDetails is"],
    ["a channel that is none", details({ channelId: "0x01" }), "its methodDetails is"],
    [
      "a step beyond what a channel can hold",
      details({ minVoucherDelta: (2n ** 96n).toString() }),
      "its methodDetails"
    ],
    ["an operator that is none", details({ operator: "somebody" }), "its methodDetails is"],
    ["a fee payer that is a text", details({ feePayer: "true" }), "its methodDetails is"]
  ])("refuses %s", (_, json, why) => {
    assert.include(Option.getOrThrow(Result.getFailure(read(json))), why)
  })

  it("refuses other methods and intents, and a request that is none", () => {
    const challenge = challengeOf(Json.toBase64Url(required))
    for (
      const other of [
        { ...challenge, method: "evm" },
        { ...challenge, intent: "charge" },
        { ...challenge, request: "" },
        { ...challenge, request: "e30=" },
        { ...challenge, request: Json.toBase64Url(required).slice(1) }
      ]
    ) assert.isTrue(Result.isFailure(TempoSession.fromChallenge(other)))
  })

  it("says nothing of the merchant's in its reasons", () => {
    for (const json of [details({ sessionProtocol: "<evil>" }), { ...required, amount: "<evil>" }]) {
      assert.notInclude(Option.getOrThrow(Result.getFailure(read(json))), "evil")
    }
  })

  it("writes what it reads", () => {
    const request = Result.getOrThrow(read(details({ sessionSnapshot: snapshot, channelId, operator })))
    assert.deepStrictEqual(read(Schema.encodeSync(TempoSession.Request)(request)), Result.succeed(request))
  })

  it.prop("never throws", [Schema.JsonObject, Schema.JsonObject, Schema.String], ([json, other, text]) => {
    for (const given of [json, { ...required, ...json }, details(other), details({ sessionSnapshot: other })]) {
      read(given)
    }
    TempoSession.fromChallenge(challengeOf(text))
  })
})

describe("TempoSession.Payload", () => {
  const decode = Schema.decodeUnknownExit(TempoSession.Payload)
  const voucher = { cumulativeAmount: "250000", signature }
  const payloads: ReadonlyArray<Schema.JsonObject> = [
    {
      action: "open",
      type: "transaction",
      channelId,
      descriptor,
      transaction: "0x76f901",
      authorizedSigner: operator,
      ...voucher
    },
    { action: "topUp", type: "transaction", channelId, descriptor, transaction: "0x76f901", additionalDeposit: "5" },
    { action: "voucher", channelId, descriptor, ...voucher },
    { action: "close", channelId, descriptor, ...voucher }
  ]

  const open = payloads[0]!

  it("reads each action, with amounts as numbers and hexadecimal in lower case", () => {
    assert.deepStrictEqual(
      decode({ ...open, later: 1 }),
      Exit.succeed({
        action: "open",
        type: "transaction",
        channelId: lower(channelId),
        descriptor: descriptorRead,
        transaction: "0x76f901",
        authorizedSigner: lower(operator),
        cumulativeAmount: 250_000n,
        signature
      })
    )
    for (const payload of payloads) {
      assert.isTrue(Exit.isSuccess(decode(payload)), String(payload.action))
      const { descriptor: _, ...v1 } = payload
      assert.isTrue(Exit.isSuccess(decode(v1)), String(payload.action))
    }
  })

  it("writes what mppx reads", () => {
    for (const payload of payloads) {
      const read = Schema.decodeUnknownSync(TempoSession.Payload)(payload)
      const written = Schema.encodeSync(TempoSession.Payload)(read)
      assert.strictEqual(JSON.stringify(written).toLowerCase(), JSON.stringify(payload).toLowerCase())
      assert.deepInclude(Methods.session.schema.credential.payload.parse(written), written)
    }
  })

  it("refuses a payload with a member missing, or that is of no kind", () => {
    for (const payload of payloads) {
      for (const name of Object.keys(payload)) {
        if (name === "descriptor" || name === "authorizedSigner") continue
        const { [name]: _, ...rest } = payload
        assert.isTrue(Exit.isFailure(decode(rest)), `${String(payload.action)} without ${name}`)
      }
    }
    const [, topUp, raise] = payloads
    for (
      const bad of [
        undefined,
        null,
        [],
        {},
        { ...open, action: "reopen" },
        { ...open, type: "hash" },
        { ...open, descriptor: {} },
        { ...open, authorizedSigner: "0x" },
        { ...topUp, additionalDeposit: (2n ** 96n).toString() },
        { ...raise, cumulativeAmount: -1 },
        { ...raise, cumulativeAmount: (2n ** 96n).toString() },
        { ...raise, signature: "0x" },
        { ...raise, signature: `0x${"1b".repeat(20_000)}` }
      ]
    ) assert.isTrue(Exit.isFailure(decode(bad)), JSON.stringify(bad)?.slice(0, 200))
  })
})

describe("TempoSession.decodeSnapshot", () => {
  it("reads base64 of either alphabet, with and without padding", () => {
    // Long enough to need padding.
    for (const spare of ["", "?", "??", "???>>>"]) {
      const json = { ...snapshot, spare }
      const padded = Json.toBase64(json)
      for (const header of [padded, padded.replace(/=+$/, ""), Json.toBase64Url(json), ` ${padded}\t`]) {
        assert.deepStrictEqual(TempoSession.decodeSnapshot(header), Option.some(snapshotRead))
      }
    }
  })

  it("reads what mppx writes, and mppx what we write", () => {
    const header = Session.serializeSnapshot(snapshot)
    assert.deepStrictEqual(TempoSession.decodeSnapshot(header), Option.some(snapshotRead))
    assert.deepStrictEqual(
      Session.deserializeSnapshot(TempoSession.encodeSnapshot(snapshotRead)),
      JSON.parse(
        JSON.stringify(snapshot).replaceAll("Ab", "ab").replaceAll("0A", "0a"),
        (name, value) => name === "payer" || name === "payee" ? value.toLowerCase() : value
      )
    )
  })

  it("leaves out a count that is none, and refuses a snapshot without what it must say", () => {
    const { units: _, ...rest } = snapshotRead
    for (const units of [null, "7", -1]) {
      const header = Json.toBase64Url({ ...snapshot, units })
      assert.deepStrictEqual(TempoSession.decodeSnapshot(header), Option.some(rest))
    }
    for (
      const name of [
        "channelId",
        "chainId",
        "escrow",
        "descriptor",
        "deposit",
        "settled",
        "acceptedCumulative",
        "requiredCumulative",
        "spent"
      ]
    ) {
      for (const value of [null, -1, "-1", "1e3", {}]) {
        const header = Json.toBase64Url({ ...snapshot, [name]: value })
        assert.deepStrictEqual(TempoSession.decodeSnapshot(header), Option.none(), `${name} ${String(value)}`)
      }
    }
    const closing = Json.toBase64Url({ ...snapshot, closeRequestedAt: "soon" })
    assert.deepStrictEqual(TempoSession.decodeSnapshot(closing), Option.none())
  })

  it.prop("never throws", [Schema.String, Schema.JsonObject], ([text, json]) => {
    TempoSession.decodeSnapshot(text)
    TempoSession.decodeSnapshot(Json.toBase64(json))
    TempoSession.decodeSnapshot(Json.toBase64({ ...snapshot, ...json }))
  })

  it("reads no header of any length", () => {
    const spare = "a".repeat(Json.maxHeaderLength)
    assert.deepStrictEqual(TempoSession.decodeSnapshot(Json.toBase64({ ...snapshot, spare })), Option.none())
  })
})

describe("receipts of sessions", () => {
  const members = {
    intent: "session",
    challengeId: "c_1",
    channelId,
    acceptedCumulative: "250000",
    spent: "249000",
    units: 7,
    txHash: channelId
  }
  const wire = { status: "success", method: "tempo", reference: channelId, timestamp: "2026-01-15T12:05:00Z" }
  const expected: TempoSession.SessionReceipt = {
    channelId: lower(channelId),
    acceptedCumulative: 250_000n,
    spent: 249_000n,
    units: 7,
    txHash: lower(channelId),
    challengeId: "c_1"
  }

  const receiptOf = (json: Schema.JsonObject) =>
    Option.flatMap(Receipt.decode(Json.toBase64Url({ ...wire, ...members, ...json })), TempoSession.receiptOf)

  it("say what was taken and what was delivered for, in a header and as an event", () => {
    assert.deepStrictEqual(receiptOf({}), Option.some(expected))
    assert.deepStrictEqual(
      TempoSession.decodeReceiptEvent(JSON.stringify({ ...wire, ...members })),
      Option.some(expected)
    )
  })

  it("are read as mppx writes them", () => {
    const { Protocol } = Session.Precompile
    const receipt = Protocol.createSessionReceipt({
      challengeId: "c_1",
      channelId,
      acceptedCumulative: Protocol.uint96(250_000n),
      spent: Protocol.uint96(249_000n),
      units: 7
    })
    const { txHash: _, ...rest } = expected
    assert.deepStrictEqual(
      Option.flatMap(Receipt.decode(Protocol.serializeSessionReceipt(receipt)), TempoSession.receiptOf),
      Option.some(rest)
    )
  })

  it("are read without what is optional, if it makes no sense", () => {
    const { challengeId: _, txHash: __, units: ___, ...rest } = expected
    for (const value of [null, -1, [], {}]) {
      assert.deepStrictEqual(receiptOf({ challengeId: value, txHash: value, units: value }), Option.some(rest))
    }
    assert.deepStrictEqual(receiptOf({ challengeId: null, txHash: "0x", units: "7", intent: null }), Option.some(rest))
  })

  it("are none where they are of something else, or say less", () => {
    for (
      const json of [
        { method: "evm" },
        { intent: "charge" },
        { channelId: null },
        { channelId: "0x01" },
        { acceptedCumulative: null },
        { acceptedCumulative: 250000 },
        { spent: "-1" },
        { spent: (2n ** 96n).toString() },
        { status: "failed" }
      ]
    ) assert.deepStrictEqual(receiptOf(json), Option.none(), JSON.stringify(json))
    const seed = Receipt.decode(Receipt.encodeSeed({ sessionId: "sess_1", amount: 1n, remaining: 1n }))
    assert.deepStrictEqual(Option.flatMap(seed, TempoSession.receiptOf), Option.none())
  })

  it.prop("are read without a throw", [Schema.String, Schema.JsonObject], ([text, json]) => {
    TempoSession.decodeReceiptEvent(text)
    TempoSession.decodeReceiptEvent(JSON.stringify({ ...wire, ...members, ...json }))
    receiptOf(json)
  })
})

describe("TempoSession.decodeNeedVoucher", () => {
  const need = { channelId, requiredCumulative: "250025", acceptedCumulative: "250000", deposit: "500000" }
  const decode = (json: Schema.Json) => TempoSession.decodeNeedVoucher(JSON.stringify(json))

  it("reads what a stream asks for, and no other members", () => {
    assert.deepStrictEqual(
      decode({ ...need, later: 1 }),
      Option.some({
        channelId: lower(channelId),
        requiredCumulative: 250_025n,
        acceptedCumulative: 250_000n,
        deposit: 500_000n
      })
    )
  })

  it("reads the event that mppx writes", () => {
    const event = Session.Precompile.Protocol.formatNeedVoucherEvent(need)
    const [name = "", data = ""] = event.trim().split("\n")
    assert.strictEqual(name, `event: ${TempoSession.needVoucherEvent}`)
    assert.isTrue(Option.isSome(TempoSession.decodeNeedVoucher(data.slice("data: ".length))))
  })

  it("is none if a member is missing or no amount", () => {
    for (const name of Object.keys(need)) {
      for (const value of [null, 1, "", "-1", "0x1", (2n ** 96n).toString(), []]) {
        assert.deepStrictEqual(decode({ ...need, [name]: value }), Option.none(), `${name} ${String(value)}`)
      }
    }
    for (const text of ["", "null", "[]", "{", "[".repeat(100_000), "x"]) {
      assert.deepStrictEqual(TempoSession.decodeNeedVoucher(text), Option.none())
    }
    assert.deepStrictEqual(decode({ ...need, later: "a".repeat(Json.maxHeaderLength) }), Option.none())
  })
})
