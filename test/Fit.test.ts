import { assert, describe, it } from "@effect/vitest"
import { Option, Result } from "effect"
import * as Fit from "../src/Fit.ts"
import { Offer } from "../src/Offer.ts"
import * as BodyDigest from "../src/wire/mpp/BodyDigest.ts"
import * as Challenge from "../src/wire/mpp/Challenge.ts"
import * as PaymentRequest from "../src/wire/mpp/PaymentRequest.ts"

const request = { amount: "1", currency: "0x20c0000000000000000000000000000000000000", recipient: "0x01" }

const offerOf = (more: Partial<Challenge.Challenge> = {}) =>
  Result.getOrThrow(Challenge.toOffer({
    id: "c",
    realm: "merchant.test",
    method: "tempo",
    intent: "charge",
    request: PaymentRequest.encode(request),
    ...more
  }, request))

const exact = new Offer({
  protocol: "x402",
  version: 2,
  intent: "charge",
  method: "exact",
  network: "eip155:8453",
  asset: "0x01",
  units: 1n,
  payee: "0x02",
  wire: {}
})

const bytes = (text: string) => new TextEncoder().encode(text)
const plain: Fit.Request = { authorized: false, content: bytes(""), acceptPayment: undefined }
const rule = (offer: Offer, change: Partial<Fit.Request>) =>
  Option.getOrUndefined(Option.map(Fit.objection(offer, { ...plain, ...change }), (denied) => denied.rule))

describe("Fit", () => {
  it("leaves a request's own Authorization alone, unless the credential goes elsewhere", () => {
    assert.strictEqual(rule(offerOf(), { authorized: true }), "authorization-in-use")
    assert.strictEqual(rule(offerOf({ header: "Authorization" }), { authorized: true }), "authorization-in-use")
    assert.isUndefined(rule(offerOf({ header: "Payment-Authorization" }), { authorized: true }))
    assert.isUndefined(rule(exact, { authorized: true }))
    assert.isUndefined(rule(offerOf(), {}))
  })

  it("pays a challenge that is bound to a content only with that content, in either spelling of its digest", () => {
    const content = bytes(`{"hello": "world"}`)
    const digest = BodyDigest.of(content)
    for (const spelling of [digest, digest.replace(/:/g, "")]) {
      assert.isUndefined(rule(offerOf({ digest: spelling }), { content }))
      assert.strictEqual(rule(offerOf({ digest: spelling }), { content: bytes("{}") }), "digest-mismatch")
      assert.strictEqual(rule(offerOf({ digest: spelling }), { content: undefined }), "digest-mismatch")
    }
    assert.strictEqual(rule(offerOf({ digest: "crc32=AAAA" }), { content }), "digest-mismatch")
    assert.isUndefined(rule(offerOf(), { content: undefined }))
  })

  it("pays by no method that the request itself excludes", () => {
    assert.strictEqual(rule(offerOf(), { acceptPayment: "tempo/*;q=1, tempo/charge;q=0" }), "accept-payment")
    assert.strictEqual(rule(offerOf(), { acceptPayment: "stripe/charge" }), "accept-payment")
    assert.isUndefined(rule(offerOf(), { acceptPayment: "tempo/charge;q=0.1" }))
    assert.isUndefined(rule(offerOf(), { acceptPayment: "no such thing" }))
    assert.isUndefined(rule(exact, { acceptPayment: "tempo/charge" }))
  })

  it("knows how much the caller wants to pay a way", () => {
    const preference = (acceptPayment: string | undefined) => Fit.preference(offerOf(), { ...plain, acceptPayment })
    assert.strictEqual(preference(undefined), 1)
    assert.strictEqual(preference("*/*;q=0.2"), 0.2)
    assert.strictEqual(preference("*/*;q=0.2, tempo/charge;q=0.7"), 0.7)
    assert.strictEqual(Fit.preference(exact, { ...plain, acceptPayment: "tempo/charge" }), 1)
  })
})
