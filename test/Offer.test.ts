import { assert, describe, it } from "@effect/vitest"
import { Schema } from "effect"
import * as Offer from "../src/Offer.ts"

const offer = (change: Partial<ConstructorParameters<typeof Offer.Offer>[0]> = {}) =>
  new Offer.Offer({
    protocol: "x402",
    version: 2,
    intent: "charge",
    method: "exact",
    network: "eip155:8453",
    asset: "0xAA",
    units: 10_000n,
    payee: "0xBB",
    wire: {},
    ...change
  })

describe("Offer", () => {
  it("has a digest that changes with everything that matters for the money", () => {
    const digests = [
      offer(),
      offer({ units: 10_001n }),
      offer({ payee: "0xCC" }),
      offer({ asset: "0xAB" }),
      offer({ network: "eip155:1" }),
      offer({ method: "upto" }),
      offer({ intent: "session" }),
      offer({ realm: "other" })
    ].map((it) => it.digest)
    assert.strictEqual(new Set(digests).size, digests.length)
  })

  it("has a digest that does not change with what the merchant writes or how addresses are cased", () => {
    const { digest } = offer()
    assert.strictEqual(offer({ merchantText: "cheap!" }).digest, digest)
    assert.strictEqual(offer({ asset: "0xaa", payee: "0xbb" }).digest, digest)
  })

  it("encodes to JSON and back", () => {
    const codec = Schema.toCodecJson(Offer.Offer)
    const json = JSON.parse(JSON.stringify(Schema.encodeSync(codec)(offer({ realm: "r", merchantText: "t" }))))
    assert.deepStrictEqual(Schema.decodeUnknownSync(codec)(json), offer({ realm: "r", merchantText: "t" }))
  })

  it.prop("cleans any text to something short and harmless", [Schema.String], ([text]) => {
    const clean = Offer.cleanText(`${text}\u001b[31m\u202e\u0000\n`)
    assert.isAtMost(Array.from(clean).length, Offer.maxMerchantText)
    assert.notMatch(clean, /[\p{Cc}\p{Cf}\u2028\u2029]/u)
  })
})
