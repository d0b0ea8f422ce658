import { assert, describe, it } from "@effect/vitest"
import { Option, Result, type Schema } from "effect"
import { Offer } from "../../../src/Offer.ts"
import * as Json from "../../../src/wire/Json.ts"
import * as Challenge from "../../../src/wire/mpp/Challenge.ts"
import * as Shares from "../../../src/wire/mpp/Shares.ts"

/** The offer of a challenge that shares a price of ten with others. */
const offerOf = (splits: Schema.Json, method = "tempo") => {
  const request = { amount: "10", currency: "usd", recipient: "merchant", methodDetails: { splits } }
  const challenge = { id: "1", realm: "shop.example", method, intent: "charge", request: Json.toBase64Url(request) }
  return Result.getOrThrow(Challenge.toOffer(challenge, request))
}

const shown = (offer: Offer) =>
  Shares.of(offer).map(({ payee, units }) => `${payee} ${Option.getOrElse(units, () => "?")}`)

const parts = [{ recipient: "agent", amount: "3", memo: "0x01" }, { recipient: "agent", amount: "1" }]

describe("the shares of a price", () => {
  it("are the payee's alone where nobody else gets a part", () => {
    assert.deepStrictEqual(shown(offerOf(null)), ["merchant 10"])
    assert.deepStrictEqual(shown(new Offer({ ...offerOf(null), protocol: "x402", wire: {} })), ["merchant 10"])
  })

  it("are what the others leave for the payee, and theirs in their order, whatever the method", () => {
    assert.deepStrictEqual(shown(offerOf(parts)), ["merchant 6", "agent 3", "agent 1"])
    assert.deepStrictEqual(shown(offerOf(parts, "evm")), ["merchant 6", "agent 3", "agent 1"])
  })

  it("are not known where the demand does not say them, and everybody is named all the same", () => {
    for (const amount of [undefined, 3, "-3", "3.5", "0x3", "", null]) {
      const odd = offerOf([{ recipient: "agent", ...(amount === undefined ? {} : { amount }) }])
      assert.deepStrictEqual(shown(odd), ["merchant ?", "agent ?"], `${amount}`)
    }
    const { alsoPays: _, ...others } = offerOf(parts)
    for (const alsoPays of [["agent"], ["agent", "another"], ["agent", "agent", "agent"]]) {
      assert.deepStrictEqual(
        shown(new Offer({ ...others, alsoPays })),
        ["merchant ?", ...alsoPays.map((payee) => `${payee} ?`)]
      )
    }
    assert.deepStrictEqual(shown(new Offer({ ...others, alsoPays: ["agent"], wire: null })), ["merchant ?", "agent ?"])
  })

  it("leave the payee nothing that is less than nothing", () => {
    assert.deepStrictEqual(shown(offerOf([{ recipient: "agent", amount: "10" }])), ["merchant 0", "agent 10"])
    assert.deepStrictEqual(shown(offerOf([{ recipient: "agent", amount: "11" }])), ["merchant ?", "agent 11"])
  })
})
