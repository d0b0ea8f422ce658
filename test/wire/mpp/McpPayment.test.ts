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
const read = (native: unknown) => {
  const { challenges: [outcome] } = required(native)
  assert(outcome?._tag === "Standard")
  return outcome
}
const standard = (native: unknown) => read(native).challenge
const payable = (...challenges: ReadonlyArray<unknown>) =>
  required(...challenges).challenges.filter(({ _tag }) => _tag === "Standard")

/** What goes back for a challenge, after all of it has been written and read as in a ledger and a header. */
const echo = (native: unknown) => {
  const { challenge, native: kept } = read(native)
  const header = Redacted.value(Credential.format({ challenge, payload: {} }))
  const presented = Option.getOrThrow(Credential.parse(header))
  assert(presented._tag === "Standard")
  return McpPayment.credential(presented.credential, kept).challenge
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
    assert.deepStrictEqual(required(bad, challenge).challenges.map((it) => it._tag), ["Malformed", "Standard"])
  })

  it.each(["1152921504606846976", "9007199254740993", "0.30000000000000004", "-0"])(
    "refuses a challenge with the number %s, which a parser may have changed",
    (number) => {
      const bad: unknown = JSON.parse(`{ "chainId": ${number} }`)
      for (const native of [{ ...challenge, request: { ...request, bad } }, { ...challenge, unknown: [bad] }]) {
        const { challenges, inexact } = required(native)
        assert.deepStrictEqual([inexact, challenges.map((it) => it._tag)], [1, ["Malformed"]])
      }
    }
  )

  it("reads as many challenges as a header holds", () => {
    const many = Array.from({ length: 50_000 }, (_, at) => ({ ...challenge, id: `c_${at}` }))
    assert.strictEqual(payable(...many).length, 50)
    const large = { ...challenge, opaque: "a".repeat(16_000) }
    assert.strictEqual(payable(large, large, large, large, large, large).length, 4)
  })

  it.each([undefined, null, "x", {}, { challenges: [] }, { challenges: {} }, { challenges: "c" }])(
    "finds no demand in %j",
    (data) => assert.deepStrictEqual(McpPayment.required(data), Option.none())
  )

  it("keeps a challenge of 16384 characters, and refuses one that has more", () => {
    const ofLength = (length: number) => {
      const note = "x".repeat(length - JSON.stringify({ ...challenge, note: "" }).length)
      return { ...challenge, note }
    }
    assert.deepStrictEqual(echo(ofLength(16_384)), ofLength(16_384))
    assert.deepStrictEqual(payable(ofLength(16_385)), [])
  })

  it.each<readonly [string, unknown]>([
    ["members that nobody knows", { ...challenge, meta: { order: "1" }, more: [{ kept: [null, true] }], x: null }],
    ["members that nobody knows within its request", {
      ...challenge,
      request: { ...request, more: { deep: [1, {}] } }
    }],
    [
      "members that nobody knows and whose names are odd",
      JSON.parse(
        JSON.stringify({ ...challenge, toString: 1 }).replace("{", `{"__proto__":{"a":1},`)
      )
    ],
    ["members in an order of its own", { z: 1, ...challenge, request: { b: { d: 1, c: 2 }, a: 2 } }],
    ["a request that is encoded", { ...challenge, request: encoded }],
    ["correlation data that are an object", { ...challenge, opaque: { z: "1", a: "2" } }],
    ["correlation data that are encoded", { ...challenge, opaque: "eyJhIjoiYiJ9" }],
    ["members that are absent", { ...challenge, description: null, expires: null }],
    ["numbers", { ...challenge, request: { ...request, least: -9007199254740991, most: 9007199254740991 }, at: 0 }],
    ["characters that break lines", { ...challenge, id: `a"b\\c`, description: "\ud800\u0000\n\u2028", note: "\ud800" }]
  ])("echoes a challenge as it came with %s", (_, native) => {
    assert.deepStrictEqual(echo(native), native)
    assert.strictEqual(JSON.stringify(echo(native)), JSON.stringify(native))
  })

  it.each<readonly [string, string | undefined]>([
    ["none was kept", undefined],
    ["what was kept is no JSON", "{"],
    ["what was kept is that of another challenge", JSON.stringify({ ...challenge, id: "c_2", note: "other" })],
    ["what was kept has another price", JSON.stringify({ ...challenge, request: { ...request, amount: "1" } })],
    ["what was kept lacks what the challenge has", JSON.stringify({ ...challenge, note: "short" })]
  ])("writes what the header form tells of a challenge where %s", (_, kept) => {
    const native = { ...challenge, expires: "2026-01-01T00:00:00Z", opaque: "eyJhIjoiYiJ9" }
    const presented = { challenge: standard(native), source: "did:pkh:eip155:1:0xaa", payload: { type: "hash" } }
    assert.deepStrictEqual(McpPayment.credential(presented, kept), {
      challenge: native,
      source: presented.source,
      payload: presented.payload
    })
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
    const { challenge, native: kept } = read(native)
    const line = Challenge.format(challenge)
    assert.isTrue(MppxChallenge.verify(MppxChallenge.deserialize(line), { secretKey: "secret" }))
    const echoed = JSON.stringify(McpPayment.credential({ challenge, payload: {} }, kept))
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
