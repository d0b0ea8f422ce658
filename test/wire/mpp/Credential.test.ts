import { assert, describe, it } from "@effect/vitest"
import * as Option from "effect/Option"
import * as Redacted from "effect/Redacted"
import * as Schema from "effect/Schema"
import * as Json from "../../../src/wire/Json.ts"
import * as Credential from "../../../src/wire/mpp/Credential.ts"

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
    [`Payment ${Json.toBase64Url({ challenge, payload: "0x" })}`, "Malformed"]
  ])("reads %s", (header, expected) => {
    assert.strictEqual(tagOf(header), expected)
  })

  it.prop("never throws", [Schema.String], ([text]) => {
    tagOf(text)
    tagOf(`Payment ${text}`)
  })
})
