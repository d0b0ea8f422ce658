import { assert, describe, it } from "@effect/vitest"
import * as Option from "effect/Option"
import * as Schema from "effect/Schema"
import * as Json from "../../../src/wire/Json.ts"
import * as PaymentRequest from "../../../src/wire/mpp/PaymentRequest.ts"
import { sent } from "../sent.ts"

describe("PaymentRequest.encode", () => {
  // Published by another implementation.
  it.each<readonly [Schema.JsonObject, string]>([
    [{}, "e30"],
    [{ pi: "pi_3abc123XYZ" }, "eyJwaSI6InBpXzNhYmMxMjNYWVoifQ"],
    [{ pi: "pi_3abc123XYZ", deposit: "dep_456" }, "eyJkZXBvc2l0IjoiZGVwXzQ1NiIsInBpIjoicGlfM2FiYzEyM1hZWiJ9"],
    [{ amount: "1000000" }, "eyJhbW91bnQiOiIxMDAwMDAwIn0"],
    [
      { recipient: "0xabcd", currency: "0x1234", amount: "1000000" },
      "eyJhbW91bnQiOiIxMDAwMDAwIiwiY3VycmVuY3kiOiIweDEyMzQiLCJyZWNpcGllbnQiOiIweGFiY2QifQ"
    ],
    [
      { methodDetails: { chainId: 42431 }, currency: "0x1234", amount: "1000000" },
      "eyJhbW91bnQiOiIxMDAwMDAwIiwiY3VycmVuY3kiOiIweDEyMzQiLCJtZXRob2REZXRhaWxzIjp7ImNoYWluSWQiOjQyNDMxfX0"
    ]
  ])("encodes %j as %s", (json, encoded) => {
    assert.strictEqual(PaymentRequest.encode(json), encoded)
  })

  it.prop("is read again as the same object", [Schema.Record(Schema.String, Schema.Finite)], ([json]) => {
    const written = sent(json)
    assert.deepStrictEqual(Json.fromBase64Url(PaymentRequest.encode(written)), Option.some(written))
  })
})
