import { assert, describe, it } from "@effect/vitest"
import * as Redacted from "effect/Redacted"
import * as Schema from "effect/Schema"
import { Buffer } from "node:buffer"
import { createHmac } from "node:crypto"
import type { Challenge } from "../../../src/wire/mpp/Challenge.ts"
import * as ChallengeId from "../../../src/wire/mpp/ChallengeId.ts"
import * as PaymentRequest from "../../../src/wire/mpp/PaymentRequest.ts"

type Bound = Omit<Challenge, "id">

const secret = Redacted.make("test-vector-secret")
const other = Redacted.make("another secret")

const base: Bound = {
  realm: "api.example.com",
  method: "tempo",
  intent: "charge",
  request: "eyJhbW91bnQiOiIxMDAwMDAwIn0"
}
const expires = "2025-01-06T12:00:00Z"
const digest = "sha-256=X48E9qOokqqrvdts8nOJRJN3OWDUoyWxBf7kbu9DBPE"
const opaque = PaymentRequest.encode({ pi: "pi_3abc123XYZ" })

// Published by another implementation under the secret above.
const vectors: ReadonlyArray<readonly [what: string, challenge: Bound, id: string]> = [
  ["what is required", base, "X6v1eo7fJ76gAxqY0xN9Jd__4lUyDDYmriryOM-5FO4"],
  ["an expiry", { ...base, expires }, "ChPX33RkKSZoSUyZcu8ai4hhkvjZJFkZVnvWs5s0iXI"],
  ["a digest", { ...base, digest }, "JHB7EFsPVb-xsYCo8LHcOzeX1gfXWVoUSzQsZhKAfKM"],
  ["an expiry and a digest", { ...base, expires, digest }, "m39jbWWCIfmfJZSwCfvKFFtBl0Qwf9X4nOmDb21peLA"],
  ["opaque data", { ...base, opaque }, "rxzKZ2qjXvinqCH96RORTZEPs1KXsA-0AUjrCAPFOWc"],
  ["opaque data and an expiry", { ...base, opaque, expires }, "KAfoMrA4fnzS1DPWN_cUv_b3_yHxCizdp6OhH7gluMY"],
  [
    "a description, which is not bound",
    { ...base, description: "anything" },
    "X6v1eo7fJ76gAxqY0xN9Jd__4lUyDDYmriryOM-5FO4"
  ],
  [
    "several members",
    { ...base, request: PaymentRequest.encode({ amount: "1000000", currency: "0x1234", recipient: "0xabcd" }) },
    "_H5TOnnlW0zduQ5OhQ3EyLVze_TqxLDPda2CGZPZxOc"
  ],
  [
    "nested members",
    {
      ...base,
      request: PaymentRequest.encode({ amount: "1000000", currency: "0x1234", methodDetails: { chainId: 42431 } })
    },
    "TqujwpuDDg_zsWGINAd5XObO2rRe6uYufpqvtDmr6N8"
  ],
  ["an empty request", { ...base, request: "e30" }, "yLN7yChAejW9WNmb54HpJIWpdb1WWXeA3_aCx4dxmkU"],
  ["empty opaque data, which is not none", { ...base, opaque: "e30" }, "vb4IyH-0LdJ3s7L0QAw8jIzcZkyxksPhIvEfmHmzA9k"],
  ["another realm", { ...base, realm: "payments.other.com" }, "3F5bOo2a9RUihdwKk4hGRvBvzQmVPBMDvW0YM-8GD00"],
  ["another method", { ...base, method: "stripe" }, "o0ra2sd7HcB4Ph0Vns69gRDUhSj5WNOnUopcDqKPLz4"],
  ["another intent", { ...base, intent: "session" }, "aAY7_IEDzsznNYplhOSE8cERQxvjFcT4Lcn-7FHjLVE"],
  [
    "opaque data of two members",
    { ...base, opaque: PaymentRequest.encode({ pi: "pi_3abc123XYZ", deposit: "dep_456" }) },
    "aKskU8sadR5ZuFbUCsIwhO-ENxuVpTw17FdwHEXsJDk"
  ]
]

describe("ChallengeId", () => {
  it.each(vectors)("binds %s", (_, challenge, id) => {
    assert.strictEqual(ChallengeId.compute(secret, challenge), id)
    assert.isTrue(ChallengeId.verify([other, secret], { ...challenge, id }))
    assert.isFalse(ChallengeId.verify([other], { ...challenge, id }))
    assert.isFalse(ChallengeId.verify([], { ...challenge, id }))
  })

  it("binds the header that a credential goes into, unless it is the usual one", () => {
    const plain = ChallengeId.compute(secret, base)
    assert.strictEqual(ChallengeId.compute(secret, { ...base, header: "authorization" }), plain)
    const moved = ChallengeId.compute(secret, { ...base, header: "Payment-Authorization", opaque })
    const input = `api.example.com|tempo|charge|${base.request}|||Payment-Authorization|${opaque}`
    assert.strictEqual(moved, createHmac("sha256", Redacted.value(secret)).update(input).digest("base64url"))
  })

  it.each<readonly [string, Partial<Challenge>]>([
    ["realm", { realm: "api.example.org" }],
    ["method", { method: "evm" }],
    ["intent", { intent: "session" }],
    ["request", { request: "e30" }],
    ["expires", { expires: "2025-01-06T12:00:01Z" }],
    ["digest", { digest: "sha-256=AAAA" }],
    ["opaque data", { opaque: "eyJwaSI6InBpX1RBTVBFUkVEIn0" }],
    ["header", { header: "Payment-Authorization" }],
    ["id", { id: "A" }],
    ["id by one character", { id: `${ChallengeId.compute(secret, { ...base, opaque }).slice(0, -1)}_` }]
  ])("does not know a challenge whose %s was changed", (_, change) => {
    const challenge = { ...base, opaque, id: ChallengeId.compute(secret, { ...base, opaque }) }
    assert.isTrue(ChallengeId.verify([secret], challenge))
    assert.isFalse(ChallengeId.verify([secret], { ...challenge, ...change }))
  })

  it("knows a challenge without its opaque data from one with", () => {
    const id = ChallengeId.compute(secret, { ...base, opaque })
    assert.isFalse(ChallengeId.verify([secret], { ...base, id }))
  })

  it.prop("is HMAC-SHA256, whatever the length of the secret", [Schema.Uint8Array, Schema.String], ([bytes, realm]) => {
    for (const key of ["", Buffer.from(bytes).toString("hex"), "k".repeat(64), "k".repeat(65), "€".repeat(100)]) {
      assert.strictEqual(
        ChallengeId.compute(Redacted.make(key), { ...base, realm }),
        createHmac("sha256", key).update(`${realm}|tempo|charge|${base.request}|||`).digest("base64url")
      )
    }
  })
})
