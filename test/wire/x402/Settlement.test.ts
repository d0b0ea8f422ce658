import { assert, describe, it } from "@effect/vitest"
import * as Option from "effect/Option"
import * as Schema from "effect/Schema"
import * as Json from "../../../src/wire/Json.ts"
import * as Networks from "../../../src/wire/x402/Networks.ts"
import * as Settlement from "../../../src/wire/x402/Settlement.ts"

const decode = (json: Schema.JsonObject) => Option.getOrUndefined(Settlement.decode(Json.toBase64(json)))

describe("Settlement.decode", () => {
  it("reads a settlement of either version", () => {
    const settlement: Settlement.Settlement = {
      protocol: "x402",
      success: true,
      transaction: "0xabc",
      network: "eip155:84532",
      payer: "0x7099",
      amount: undefined,
      errorReason: undefined,
      merchantText: undefined
    }
    const wire = { success: true, transaction: "0xabc", payer: "0x7099", errorReason: null }
    assert.deepEqual(decode({ ...wire, network: "base-sepolia" }), settlement)
    assert.deepEqual(decode({ ...wire, network: "eip155:84532", amount: "5" }), { ...settlement, amount: 5n })
  })

  it("keeps the transaction of a failure, and reduces its reason to a known code", () => {
    assert.deepInclude(
      decode({ success: false, errorReason: "settlement_pending", transaction: "0xabc", network: "eip155:1" }),
      { success: false, errorReason: "settlement_pending", transaction: "0xabc" }
    )
    assert.deepInclude(
      decode({ success: false, errorReason: "please pay again\u202e!", transaction: "", network: "" }),
      { errorReason: "unspecified", merchantText: "please pay again !" }
    )
  })

  it("does without everything but the outcome", () => {
    assert.deepInclude(decode({ success: true }), { transaction: "", network: "", payer: undefined })
    assert.deepInclude(decode({ success: true, amount: 5, network: "neverland" }), {
      amount: undefined,
      network: "neverland"
    })
    assert.isUndefined(decode({}))
    assert.isUndefined(decode({ success: "true" }))
  })

  it("undoes encode", () => {
    const written = {
      success: false,
      transaction: "0xabc",
      network: "eip155:8453",
      payer: "0x7099",
      amount: 7n,
      errorReason: "insufficient_funds"
    }
    assert.deepInclude(Option.getOrThrow(Settlement.decode(Settlement.encode(written))), written)
  })

  it.prop("never throws", [Schema.String, Schema.JsonObject], ([text, json]) => {
    Settlement.decode(text)
    decode({ success: true, ...json })
  })
})

describe("Networks", () => {
  it("knows the names of version 1 in both directions", () => {
    for (
      const [name, network] of [
        ["base", "eip155:8453"],
        ["base-sepolia", "eip155:84532"],
        ["skale-base-sepolia", "eip155:324705682"],
        ["solana", "solana:5eykt4UsFv8P8NJdTREpY1vzqKqZKvdp"]
      ] as const
    ) {
      assert.deepStrictEqual(Networks.fromName(name), Option.some(network))
      assert.deepStrictEqual(Networks.fromName(network), Option.some(network))
      assert.deepStrictEqual(Networks.toName(network), Option.some(name))
    }
    for (const name of ["", "neverland", "constructor", "__proto__", "Base", "eip155:"]) {
      assert.isTrue(Option.isNone(Networks.fromName(name)), name)
    }
  })
})
