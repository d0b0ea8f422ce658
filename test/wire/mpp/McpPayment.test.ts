import { assert, describe, it } from "@effect/vitest"
import { Option, Redacted } from "effect"
import { Challenge as MppxChallenge, Credential as MppxCredential } from "mppx"
import * as Challenge from "../../../src/wire/mpp/Challenge.ts"
import * as Credential from "../../../src/wire/mpp/Credential.ts"
import * as McpPayment from "../../../src/wire/mpp/McpPayment.ts"
import * as PaymentRequest from "../../../src/wire/mpp/PaymentRequest.ts"

const request = { amount: "10000", currency: "0xaa", recipient: "0xbb", methodDetails: { chainId: 42431 } }
const challenge = { id: "c_1", realm: "shop.example", method: "tempo", intent: "charge", request }
const encoded = PaymentRequest.encode(request)

const required = (...challenges: ReadonlyArray<unknown>) => Option.getOrThrow(McpPayment.required({ challenges }))
const outcomes = (...challenges: ReadonlyArray<unknown>) => Challenge.parse(required(...challenges).header)
const standard = (native: unknown) => {
  const [outcome] = outcomes(native)
  assert(outcome?._tag === "Standard")
  return outcome.challenge
}

describe("McpPayment", () => {
  it("reads a challenge into the form that it has in a header", () => {
    assert.deepStrictEqual(standard(challenge), { ...challenge, request: encoded })
  })

  it("keeps every member of a challenge, whatever its characters", () => {
    const whole = {
      ...challenge,
      id: `a"b\\c\\u0041é\u{1f4b0}`,
      expires: "2026-01-01T00:00:00Z",
      digest: "sha-256=:YQ==:",
      description: "two\nlines, Payment id=\"x\"",
      opaque: "eyJhIjoiYiJ9"
    }
    assert.deepStrictEqual(standard(whole), { ...whole, request: encoded })
  })

  it("writes request and correlation data canonically where they are objects, and leaves them where they are encoded", () => {
    const read = standard({ ...challenge, request: { b: 1, a: { d: 2, c: 3 } }, opaque: { z: "1", a: "2" } })
    assert.strictEqual(read.request, PaymentRequest.encode({ a: { c: 3, d: 2 }, b: 1 }))
    assert.strictEqual(read.opaque, PaymentRequest.encode({ a: "2", z: "1" }))
    assert.strictEqual(standard({ ...challenge, request: encoded }).request, encoded)
  })

  it("takes null for absent", () => {
    assert.deepStrictEqual(standard({ ...challenge, description: null, expires: null }), {
      ...challenge,
      request: encoded
    })
  })

  it.each([
    ["no object", "x"],
    ["null", null],
    ["without an id", { ...challenge, id: undefined }],
    ["with an id that is no text", { ...challenge, id: { a: 1 }, realm: null }],
    ["whose request is a list", { ...challenge, request: [1] }],
    ["whose expiry is a number", { ...challenge, expires: 1 }],
    ["with a header of its own", { ...challenge, header: "X-Evil" }],
    ["as long as a book", { ...challenge, description: "x".repeat(100_000) }],
    ["deeper than is read", { ...challenge, request: { a: JSON.parse("[".repeat(10_000) + "]".repeat(10_000)) } }]
  ])("refuses a challenge that is %s, and reads the one beside it", (_, bad) => {
    assert.deepStrictEqual(outcomes(bad, challenge).map((it) => it._tag), ["Malformed", "Standard"])
    assert.strictEqual(required(bad, challenge).received.length, 1)
  })

  it.each(["1152921504606846976", "9007199254740993", "0.30000000000000004", "-0"])(
    "refuses a challenge with the number %s, which a parser may have changed",
    (number) => {
      const bad: unknown = JSON.parse(`{ "chainId": ${number} }`)
      for (const native of [{ ...challenge, request: { ...request, bad } }, { ...challenge, unknown: [bad] }]) {
        const read = required(native)
        assert.deepStrictEqual([read.inexact, read.received], [1, []])
        assert.deepStrictEqual(Challenge.parse(read.header).map((it) => it._tag), ["Malformed"])
      }
    }
  )

  it("reads as many challenges as a header holds", () => {
    const many = Array.from({ length: 100_000 }, (_, at) => ({ ...challenge, id: `c_${at}` }))
    const { received } = required(...many)
    assert.isAbove(received.length, 40)
    assert.isAtMost(received.length, 51)
    const large = { ...challenge, opaque: "a".repeat(16_000) }
    assert.strictEqual(required(large, large, large, large, large, large).received.length, 4)
  })

  it.each([undefined, null, "x", {}, { challenges: [] }, { challenges: {} }, { challenges: "c" }])(
    "finds no demand in %j",
    (data) => assert.deepStrictEqual(McpPayment.required(data), Option.none())
  )

  it("echoes a challenge as it came", () => {
    const native = { ...challenge, meta: { order: "1" }, more: [{ kept: true }] }
    const { received: [one] } = required(native)
    const presented = {
      challenge: standard(native),
      source: "did:pkh:eip155:1:0xaa",
      payload: { type: "hash", hash: "0x" }
    }
    assert.strictEqual(one?.line, Challenge.format(presented.challenge))
    assert.deepStrictEqual(McpPayment.credential(presented, one!.native), {
      challenge: native,
      source: presented.source,
      payload: presented.payload
    })
  })

  it("knows a challenge again after its credential was written and read", () => {
    const native = { ...challenge, id: `a"b\\c`, opaque: { a: "b" } }
    const { received: [one] } = required(native)
    const header = Redacted.value(Credential.format({ challenge: standard(native), payload: {} }))
    const read = Option.getOrThrow(Credential.parse(header))
    assert(read._tag === "Standard")
    assert.strictEqual(Challenge.format(read.credential.challenge), one?.line)
  })

  it("restores what the header form tells of a challenge", () => {
    const native = { ...challenge, expires: "2026-01-01T00:00:00Z", opaque: "eyJhIjoiYiJ9" }
    assert.deepStrictEqual(McpPayment.restore(standard(native)), native)
  })

  it("reads the challenges of mppx, and is understood by it", () => {
    const made = MppxChallenge.from({
      realm: "shop.example",
      method: "tempo",
      intent: "charge",
      request,
      meta: { order: "1" },
      expires: "2026-01-01T00:00:00.000Z",
      secretKey: "secret"
    })
    const native: unknown = JSON.parse(JSON.stringify(made))
    const { received: [one] } = required(native)
    assert.isTrue(MppxChallenge.verify(MppxChallenge.deserialize(one!.line), { secretKey: "secret" }))
    const echoed = JSON.stringify(McpPayment.credential({ challenge: standard(native), payload: {} }, one!.native))
    const credential = MppxCredential.deserialize(MppxCredential.serialize(JSON.parse(echoed)))
    assert.isTrue(MppxChallenge.verify(credential.challenge, { secretKey: "secret" }))
  })

  it("advertises the methods and intents of the rails that pay over the scheme", () => {
    assert.deepStrictEqual(
      McpPayment.capability([
        "tempo/charge",
        "tempo/session",
        "evm/charge",
        "evm/charge#2",
        "x402/exact",
        "mpp/token-session"
      ]),
      Option.some({ methods: { tempo: { intents: ["charge", "session"] }, evm: { intents: ["charge"] } } })
    )
    assert.deepStrictEqual(McpPayment.capability(["x402/exact"]), Option.none())
  })
})
