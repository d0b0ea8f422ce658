import { assert, describe, it } from "@effect/vitest"
import * as Option from "effect/Option"
import * as Redacted from "effect/Redacted"
import * as Schema from "effect/Schema"
import * as Json from "../../../src/wire/Json.ts"
import type { Challenge } from "../../../src/wire/mpp/Challenge.ts"
import * as Credential from "../../../src/wire/mpp/Credential.ts"
import { sent } from "../sent.ts"

const challenge = {
  id: "x7Tg2pLqR9mKvNwY3hBcZa",
  realm: "api.example.com",
  method: "tempo",
  intent: "charge",
  request: "eyJyZWNpcGllbnQiOiJyIiwiYW1vdW50IjoiMSJ9",
  opaque: "eXkgd3Jvbmc",
  expires: "2026-01-15T12:05:00Z"
}

const token = "mpps_0123456789abcdef"

const tagOf = (header: string) => Option.getOrUndefined(Option.map(Credential.parse(header), ({ _tag }) => _tag))

describe("Credential", () => {
  it("echoes the challenge character for character", () => {
    const credential = { challenge, source: "did:pkh:eip155:4217:0xabc", payload: { type: "hash", hash: "0x12" } }
    const header = Redacted.value(Credential.format(credential))
    assert.isTrue(header.startsWith("Payment "))
    assert.deepStrictEqual(Json.fromBase64Url(header.slice("Payment ".length)), Option.some(credential))
    assert.deepStrictEqual(Credential.parse(header), Option.some({ _tag: "Standard", credential }))
  })

  it("echoes everything that a challenge can have, and nothing else", () => {
    const full: Challenge = {
      ...challenge,
      description: "one — \"report\"",
      digest: "sha-256=X48E9qOokqqrvdts8nOJRJN3OWDUoyWxBf7kbu9DBPE=",
      header: "Payment-Authorization"
    }
    const credential = { challenge: full, payload: {}, more: "from a caller" }
    const encoded = Redacted.value(Credential.format(credential)).slice("Payment ".length)
    assert.match(encoded, /^[A-Za-z0-9_-]+$/)
    assert.deepStrictEqual(Json.fromBase64Url(encoded), Option.some({ challenge: full, payload: {} }))
  })

  it("keeps what the method says, and ignores what is not known here", () => {
    const payload = { type: "hash", hash: "0x12", later: { version: [2, null] }, nothing: null }
    const header = `Payment ${
      Json.toBase64Url({
        challenge: { ...challenge, later: 1, description: null, digest: null },
        payload,
        source: null,
        later: true
      })
    }`
    assert.deepStrictEqual(
      Credential.parse(header),
      Option.some({ _tag: "Standard", credential: { challenge, payload } })
    )
  })

  it.prop("reads what it writes", [Schema.JsonObject, Schema.String], ([json, source]) => {
    const payload = sent(json)
    assert.deepStrictEqual(
      Credential.parse(Redacted.value(Credential.format({ challenge, source, payload }))),
      Option.some({ _tag: "Standard", credential: { challenge, source, payload } })
    )
  })

  it("presents a token, and prints neither", () => {
    const header = Credential.formatToken(Redacted.make(token))
    assert.strictEqual(Redacted.value(header), `Payment ${token}`)
    assert.strictEqual(tagOf(Redacted.value(header)), "Token")
    assert.notInclude(`${String(header)} ${JSON.stringify(header)}`, token)
    assert.notInclude(JSON.stringify(Credential.parse(Redacted.value(header))), token)
  })

  it("goes into the header that the challenge names", () => {
    assert.strictEqual(Credential.headerOf(challenge), "authorization")
    assert.strictEqual(Credential.headerOf({ ...challenge, header: "AUTHORIZATION" }), "authorization")
    assert.strictEqual(Credential.headerOf({ ...challenge, header: "Payment-Authorization" }), "payment-authorization")
  })

  it.each<readonly [header: string, expected: string | undefined]>([
    ["", undefined],
    ["Bearer abc", undefined],
    [`Payments ${token}`, undefined],
    [`payment   ${token}  `, "Token"],
    ["Payment", "Malformed"],
    ["Payment ", "Malformed"],
    ["Payment short", "Malformed"],
    [`Payment ${token}, Payment ${token}`, "Malformed"],
    [`Payment ${token} ${token}`, "Malformed"],
    [`Payment ${"a".repeat(4097)}`, "Malformed"],
    [`Payment ${"a".repeat(1_000_000)}`, "Malformed"],
    [`Payment ${Json.toBase64Url({ id: "1", payload: {} })}`, "Token"],
    [`Payment ${Json.toBase64Url({ challenge: {}, payload: {} })}`, "Malformed"],
    [`Payment ${Json.toBase64Url({ challenge, payload: "0x" })}`, "Malformed"],
    [`Payment ${Json.toBase64Url({ challenge, payload: [] })}`, "Malformed"],
    [`Payment ${Json.toBase64Url({ challenge, payload: null })}`, "Malformed"],
    [`Payment ${Json.toBase64Url({ challenge: "x", payload: {} })}`, "Malformed"],
    [`Payment ${Json.toBase64Url({ challenge, payload: {}, source: 5 })}`, "Malformed"],
    [`Payment ${Json.toBase64Url({ challenge: { ...challenge, id: "" }, payload: {} })}`, "Malformed"],
    [`Payment ${Json.toBase64Url({ challenge: { ...challenge, opaque: { pi: "1" } }, payload: {} })}`, "Malformed"],
    [
      `Payment ${Json.toBase64Url({ challenge: { ...challenge, request: { amount: "1" } }, payload: {} })}`,
      "Malformed"
    ],
    [`Payment ${Json.toBase64({ challenge, payload: {} })}`, "Standard"],
    ["Payment !!invalid!!", "Malformed"],
    [`Bearer some-jwt.token, Payment ${token}`, "Token"],
    [`payment\t${token} , Bearer some-jwt.token`, "Token"],
    [`Bearer a, Payment ${token}, payment ${token}`, "Malformed"],
    [`Digest username="Payment ${token}"`, undefined],
    [`Digest username="x, Payment ${token}"`, undefined],
    [`Bearer Payment ${token}`, undefined],
    [`Bearer ${"a".repeat(1_000_000)}, Payment ${token}`, undefined]
  ])("reads %s", (header, expected) => {
    assert.strictEqual(tagOf(header), expected)
  })

  it.prop("never throws", [Schema.String], ([text]) => {
    tagOf(text)
    tagOf(`Payment ${text}`)
  })
})
