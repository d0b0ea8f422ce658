import { assert, describe, it } from "@effect/vitest"
import * as Option from "effect/Option"
import * as Redacted from "effect/Redacted"
import * as Schema from "effect/Schema"
import * as Struct from "effect/Struct"
import {
  BodyDigest as TheirDigest,
  Challenge as Theirs,
  Credential as TheirCredential,
  evm,
  PaymentRequest as TheirRequest,
  Receipt as TheirReceipt
} from "mppx"
import { Proof } from "mppx/tempo"
import { hashTypedData } from "viem/utils"
import * as BodyDigest from "../../../src/wire/mpp/BodyDigest.ts"
import * as Challenge from "../../../src/wire/mpp/Challenge.ts"
import * as ChallengeId from "../../../src/wire/mpp/ChallengeId.ts"
import * as Credential from "../../../src/wire/mpp/Credential.ts"
import * as EvmCharge from "../../../src/wire/mpp/EvmCharge.ts"
import * as PaymentRequest from "../../../src/wire/mpp/PaymentRequest.ts"
import * as Receipt from "../../../src/wire/mpp/Receipt.ts"
import * as Source from "../../../src/wire/mpp/Source.ts"
import * as TempoCharge from "../../../src/wire/mpp/TempoCharge.ts"
import { sent as asRead } from "../sent.ts"

const secretKey = "a secret of at least thirty-two bytes"

const Text = Schema.Literals(["", "api.example.com", "die \"Bücherei\" — \\, Payment id=\"2\"", "😀 €\\u0041"])

const Terms = Schema.Struct({
  realm: Schema.Literals(["api.example.com", "shop, Payment \"x\"", "é—😀"]),
  method: Schema.Literals(["tempo", "evm", "x:y_z-1"]),
  intent: Schema.Literals(["charge", "session"]),
  description: Schema.optionalKey(Text),
  expires: Schema.optionalKey(Schema.Literal("2026-01-15T12:05:00.000Z")),
  digest: Schema.optionalKey(Schema.Literals(["sha-256=AAAA", "sha-256=:AAAA:"])),
  header: Schema.optionalKey(Schema.Literals(["Authorization", "Payment-Authorization"]))
})

const Members = Schema.Record(Schema.String, Schema.Union([Schema.String, Schema.Finite, Schema.Boolean]))

/** What a peer gets to see: no lone surrogates, no `-0`, and no `__proto__`, which the package drops. */
const sent = (json: Schema.JsonObject): Schema.JsonObject =>
  asRead(JSON.parse(JSON.stringify(Struct.omit(json, ["__proto__"])).replace(/\\ud[89a-f][0-9a-f]{2}/g, "")))

describe("the messages of the official package", () => {
  it.prop("are challenges that are read here, and whose ids are known here", [Terms, Members, Members], ([
    { header, ...terms },
    request,
    opaque
  ]) => {
    const written = Theirs.from({
      ...terms,
      ...(header === undefined ? {} : { header }),
      request: sent(request),
      opaque: PaymentRequest.encode(sent(opaque)),
      secretKey
    })
    const [outcome, ...others] = Challenge.parse(Theirs.serialize(written))
    assert.deepStrictEqual(others, [])
    assert.isTrue(outcome?._tag === "Standard")
    if (outcome?._tag !== "Standard") return
    assert.deepStrictEqual(outcome.request, written.request)
    const { request: raw, ...rest } = outcome.challenge
    const { request: _, ...expected } = written
    assert.deepStrictEqual(rest, expected as typeof rest)
    assert.strictEqual(raw, PaymentRequest.encode(sent(request)))
    assert.isTrue(ChallengeId.verify([Redacted.make(secretKey)], outcome.challenge))
  })

  it.prop("are credentials that are read here", [Terms, Members], ([terms, payload]) => {
    const challenge = Theirs.from({ ...Struct.omit(terms, ["header"]), id: "1", request: { amount: "1" } })
    const header = TheirCredential.serialize({ challenge, payload: sent(payload), source: "did:pkh:eip155:1:0x" })
    const presented = Option.getOrThrow(Credential.parse(header))
    assert.deepStrictEqual(
      presented._tag === "Standard" ? presented.credential.payload : presented,
      sent(payload)
    )
    assert.strictEqual(
      presented._tag === "Standard" ? presented.credential.challenge.request : "",
      PaymentRequest.encode({ amount: "1" })
    )
  })

  it("are receipts that are read here, and digests", () => {
    const receipt = {
      method: "tempo",
      reference: "0x1234",
      status: "success",
      timestamp: "2025-01-21T12:00:00.000Z"
    } as const
    const header = TheirReceipt.serialize(TheirReceipt.from({ ...receipt, challengeId: "1" }))
    assert.deepInclude(Option.getOrThrow(Receipt.decode(header)), { ...receipt, challengeId: "1" })
    const body = `{"amount":"1000"}`
    assert.isTrue(BodyDigest.matches(TheirDigest.compute(body), new TextEncoder().encode(body)))
  })
})

describe("the messages that are written here", () => {
  it.prop("are challenges for the official package, and it knows their ids", [Terms, Members], ([terms, json]) => {
    const unbound = { ...terms, request: PaymentRequest.encode(sent(json)), opaque: PaymentRequest.encode(sent(json)) }
    const challenge = { ...unbound, id: ChallengeId.compute(Redacted.make(secretKey), unbound) }
    const read = Theirs.deserialize(Challenge.format(challenge))
    assert.deepStrictEqual(read.request, sent(json))
    assert.strictEqual(read.realm, terms.realm)
    assert.strictEqual(read.description ?? "", terms.description ?? "")
    assert.isTrue(Theirs.verify(read, { secretKey }))
  })

  it.prop("are credentials for the official package", [Terms, Members], ([terms, payload]) => {
    const unbound = { ...terms, request: PaymentRequest.encode({ amount: "1" }) }
    const challenge = { ...unbound, id: ChallengeId.compute(Redacted.make(secretKey), unbound) }
    const source = Source.format(4217, "0x1a642f0E3c3aF545E7AcBD38b07251B3990914F1")
    const header = Redacted.value(Credential.format({ challenge, source, payload: sent(payload) }))
    const read = TheirCredential.deserialize(header)
    assert.deepStrictEqual(read.payload, sent(payload))
    assert.strictEqual(read.source, source)
    assert.isTrue(Theirs.verify(read.challenge, { secretKey }))
    assert.deepStrictEqual(Proof.parsePkhSource(source), {
      chainId: 4217,
      address: "0x1a642f0E3c3aF545E7AcBD38b07251B3990914F1"
    })
  })

  it.prop("are canonical in the same way", [Members], ([json]) => {
    assert.strictEqual(PaymentRequest.encode(sent(json)), TheirRequest.serialize(sent(json)))
  })

  it.prop("are proofs and nonces of the same digest", [Schema.String, Schema.String], ([challengeId, realm]) => {
    const bound = { account: "0x1a642f0E3c3aF545E7AcBD38b07251B3990914F1", chainId: 42431, challengeId, realm } as const
    assert.strictEqual(hashTypedData(TempoCharge.proofTypedData(bound)), Proof.hash(bound))
    assert.strictEqual(EvmCharge.nonce({ id: challengeId, realm }), evm.Types.challengeHash({ id: challengeId, realm }))
  })

  it("are receipts for the official package", () => {
    const receipt = { method: "tempo", reference: "0x1234", timestamp: "2025-01-21T12:00:00.000Z" }
    assert.deepStrictEqual(
      TheirReceipt.deserialize(Receipt.encode({ ...receipt, members: { challengeId: "1" } })),
      { ...receipt, status: "success", challengeId: "1" } as ReturnType<typeof TheirReceipt.deserialize>
    )
  })
})
