import { assert, describe, it } from "@effect/vitest"
import * as Option from "effect/Option"
import * as Redacted from "effect/Redacted"
import * as Schema from "effect/Schema"
import type { Offer } from "../../../src/Offer.ts"
import * as Envelope from "../../../src/wire/x402/Envelope.ts"
import * as Offers from "../../../src/wire/x402/Offers.ts"
import * as V1 from "../../../src/wire/x402/V1.ts"
import * as V2 from "../../../src/wire/x402/V2.ts"
import { bodyV1, entryV1, entryV2, jsonV2, payee, resource, url, usdc } from "./fixtures.ts"

const make = (demands: { readonly v1?: Schema.JsonObject; readonly v2?: Schema.JsonObject }) =>
  Offers.make({
    v1: Option.flatMap(Option.fromUndefinedOr(demands.v1), V1.fromJson),
    v2: Option.flatMap(Option.fromUndefinedOr(demands.v2), V2.fromJson)
  })

const versions = (offer: Offer | undefined) =>
  offer === undefined
    ? undefined
    : Option.getOrThrow(Envelope.fromOffer(offer)).map(({ version }) => version)

describe("Offers.make", () => {
  it("makes an offer of each version", () => {
    const common = {
      protocol: "x402",
      intent: "charge",
      method: "exact",
      network: "eip155:84532",
      asset: usdc,
      units: 10_000n,
      payee,
      resource: url,
      merchantText: "paid data"
    } as const
    assert.deepInclude({ ...make({ v1: bodyV1([entryV1]) }).offers[0] }, {
      ...common,
      version: 1,
      validitySeconds: 60,
      wire: { envelopes: [{ version: 1, requirement: entryV1 }] }
    })
    assert.deepInclude({ ...make({ v2: jsonV2([entryV2], { extensions: { a: {} } }) }).offers[0] }, {
      ...common,
      version: 2,
      validitySeconds: 300,
      wire: { envelopes: [{ version: 2, requirement: entryV2, resource, extensions: { a: {} } }] }
    })
  })

  it("makes one offer of what both versions say, and takes the shorter validity", () => {
    const other = { ...entryV1, asset: usdc.toLowerCase(), payTo: payee.toLowerCase() }
    const { offers } = make({ v1: bodyV1([other]), v2: jsonV2([entryV2]) })
    assert.strictEqual(offers.length, 1)
    assert.deepStrictEqual(versions(offers[0]), [2, 1])
    assert.strictEqual(offers[0]?.validitySeconds, 60)
  })

  it.each<readonly [string, Schema.JsonObject]>([
    ["scheme", { scheme: "upto" }],
    ["network", { network: "base" }],
    ["asset", { asset: "0x833589fCD6eDb6E08f4c7C32D4f71b54bdA02913" }],
    ["amount", { maxAmountRequired: "10001" }],
    ["payee", { payTo: usdc }],
    ["flow", { extra: { paymentFlow: "upfront" } }],
    ["transfer method", { extra: { assetTransferMethod: "permit2" } }]
  ])("keeps offers apart that differ in their %s", (_, difference) => {
    const { offers } = make({ v1: bodyV1([{ ...entryV1, ...difference }]), v2: jsonV2([entryV2]) })
    assert.deepStrictEqual(offers.map(versions), [[2], [1]])
  })

  it("pairs each entry once", () => {
    const { offers } = make({ v1: bodyV1([entryV1]), v2: jsonV2([entryV2, entryV2]) })
    assert.deepStrictEqual(offers.map(versions), [[2, 1], [2]])
  })

  it("does not fold the case of addresses that are not hexadecimal", () => {
    const solana = { network: "solana:5eykt4UsFv8P8NJdTREpY1vzqKqZKvdp", asset: "EPjFWdd5", payTo: "AbC" }
    const { offers } = make({
      v1: bodyV1([{ ...entryV1, ...solana, network: "solana", payTo: "aBc" }]),
      v2: jsonV2([{ ...entryV2, ...solana }])
    })
    assert.deepStrictEqual(offers.map(versions), [[2], [1]])
  })

  it.each<readonly [string, Schema.JsonObject, string]>([
    ["an unknown payment flow", { extra: { paymentFlow: "sideways" } }, "its payment flow is not known"],
    ["a payment flow that is an object", { extra: { paymentFlow: { toString: 1 } } }, "its payment flow is not known"],
    ["escrow for exact", { extra: { paymentFlow: "escrow" } }, "its scheme knows no escrow"],
    ["an amount of zero", { amount: "0" }, "there is nothing to sign for an amount of zero"]
  ])("refuses %s", (_, difference, why) => {
    const { offers, refused } = make({ v2: jsonV2([{ ...entryV2, ...difference }]) })
    assert.deepStrictEqual(offers, [])
    assert.deepStrictEqual(refused.map((one) => ({ ...one })), [{ what: "x402 exact on eip155:84532", why }])
  })

  it("refuses a network that is not known, and says which entry was odd, in its own words", () => {
    const { refused } = make({ v1: bodyV1([{ ...entryV1, network: "neverland" }, { payTo: "pay me now" }]) })
    assert.deepStrictEqual(refused.map((one) => ({ ...one })), [
      { what: "x402 exact on neverland", why: "its network is not known" },
      { what: "x402 version 1, entry 2", why: "its scheme is missing or malformed" }
    ])
  })

  it("puts payment before the content behind payment after it", () => {
    const upfront = { ...entryV2, extra: { ...entryV2.extra, paymentFlow: "upfront" } }
    const authorization = { ...entryV2, extra: { ...entryV2.extra, paymentFlow: "authorization" } }
    const { offers } = make({ v2: jsonV2([upfront, authorization]) })
    assert.deepStrictEqual(
      offers.map((offer) => Option.getOrThrow(Envelope.fromOffer(offer))[0].requirement),
      [authorization, upfront]
    )
  })

  it("finds a good entry among fifty, and refuses a list without measure", () => {
    const bad = (count: number) => Array.from({ length: count }, () => ({ scheme: "exact" }))
    const found = make({ v2: jsonV2([...bad(49), entryV2, {}]) })
    assert.strictEqual(found.offers.length, 1)
    assert.strictEqual(found.refused.at(-1)?.why, "entries not looked at: 1")
    const refused = make({ v2: jsonV2([entryV2, ...bad(9_999)]) })
    assert.strictEqual(refused.offers.length, 0)
    assert.deepStrictEqual(refused.refused.map(({ why }) => why), ["entries not looked at: 10000"])
    assert.deepStrictEqual(make({ v2: jsonV2([]) }).refused.map(({ why }) => why), ["it lists no way to pay"])
  })

  it("keeps an extension that asks for more as data, and nothing of it in the offer's terms", () => {
    const extensions = { erc20ApprovalGasSponsoring: { info: { amount: (2n ** 256n - 1n).toString() }, schema: {} } }
    const [offer] = make({ v2: jsonV2([entryV2], { extensions }) }).offers
    assert.strictEqual(offer?.units, 10_000n)
    assert.strictEqual(offer?.method, "exact")
  })

  it.prop("never throws", [Schema.JsonObject, Schema.JsonObject], ([members, extra]) => {
    make({
      v1: bodyV1([{ ...entryV1, ...members }, { ...entryV1, extra }], members),
      v2: jsonV2([{ ...entryV2, ...members }, { ...entryV2, extra }], { ...members, resource: extra })
    })
  })
})

describe("Envelope.seal", () => {
  it("echoes what was received, in the header of its version", () => {
    const [offer] = make({ v1: bodyV1([entryV1]), v2: jsonV2([entryV2], { extensions: { a: { info: {} } } }) }).offers
    const payload = { signature: "0x12", authorization: {} }
    const [second, first] = Option.getOrThrow(Envelope.fromOffer(offer!)).map((envelope) =>
      Envelope.seal(envelope, payload)
    )
    assert.deepStrictEqual(Object.keys(second!), ["payment-signature"])
    assert.deepStrictEqual(
      V2.decodePayment(Redacted.value(second!["payment-signature"]!)),
      Option.some<V2.Payment>({ x402Version: 2, accepted: entryV2, payload, resource, extensions: { a: { info: {} } } })
    )
    assert.deepStrictEqual(Object.keys(first!), ["x-payment"])
    assert.deepStrictEqual(
      V1.decodePayment(Redacted.value(first!["x-payment"]!)),
      Option.some<V1.Payment>({ x402Version: 1, scheme: "exact", network: "base-sepolia", payload })
    )
    assert.notInclude(JSON.stringify([second, first]), "0x12")
  })
})
