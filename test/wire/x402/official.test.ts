import { assert, describe, it } from "@effect/vitest"
import * as Official from "@x402/core/http"
import * as Option from "effect/Option"
import * as Settlement from "../../../src/wire/x402/Settlement.ts"
import * as V2 from "../../../src/wire/x402/V2.ts"
import { entryV2, resource } from "./fixtures.ts"

const requirement = { ...entryV2, network: "eip155:84532" as const }

describe("the headers of the official packages", () => {
  it("are read here and written here: PAYMENT-REQUIRED", () => {
    const header = Official.encodePaymentRequiredHeader({ x402Version: 2, resource, accepts: [requirement] })
    const demand = Option.getOrThrow(V2.decodeHeader(header))
    assert.deepStrictEqual(demand.entries.map(({ received }) => received), [entryV2])
    assert.deepStrictEqual(
      Official.decodePaymentRequiredHeader(V2.encodeHeader({ resource, accepts: [{ ...entryV2, amount: 10_000n }] })),
      { x402Version: 2, resource, accepts: [requirement] }
    )
  })

  it("are read here and written here: PAYMENT-SIGNATURE", () => {
    const payment = { resource, accepted: requirement, payload: { signature: "0x12", note: "₮" } }
    assert.deepStrictEqual(
      Option.getOrUndefined(V2.decodePayment(Official.encodePaymentSignatureHeader({ x402Version: 2, ...payment }))),
      { x402Version: 2, ...payment }
    )
    assert.deepStrictEqual(Official.decodePaymentSignatureHeader(V2.encodePayment(payment)), {
      x402Version: 2,
      ...payment
    })
  })

  it("are read here and written here: PAYMENT-RESPONSE", () => {
    const failed = {
      success: false,
      errorReason: "settlement_pending",
      transaction: "0x2",
      network: requirement.network
    }
    assert.deepInclude(Option.getOrThrow(Settlement.decode(Official.encodePaymentResponseHeader(failed))), failed)
    assert.deepStrictEqual(Official.decodePaymentResponseHeader(Settlement.encode(failed)), failed)
  })
})
