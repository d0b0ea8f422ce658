import { assert, describe, it } from "@effect/vitest"
import * as Option from "effect/Option"
import * as Schema from "effect/Schema"
import * as Hex from "../../src/wire/Hex.ts"

const address = `0x${"Ab".repeat(20)}`

const read = (schema: Schema.Codec<string, string>, text: unknown) =>
  Option.getOrUndefined(Schema.decodeUnknownOption(schema)(text))

describe("Hex", () => {
  it("reads addresses and words in any case, and gives them in lower case", () => {
    assert.strictEqual(read(Hex.Address, address), address.toLowerCase())
    assert.strictEqual(read(Hex.Bytes32, `0x${"F0".repeat(32)}`), `0x${"f0".repeat(32)}`)
  })

  it("does not look at checksums", () => {
    assert.isDefined(read(Hex.Address, "0x742d35Cc6634C0532925a3b844Bc9e7595f8fE00"))
  })

  it.each([
    "",
    "0x",
    address.slice(2),
    address.slice(0, -1),
    `${address}0`,
    `${address}\n`,
    ` ${address}`,
    `0X${address.slice(2)}`,
    `0x${"g".repeat(40)}`,
    5,
    null
  ])("takes %j for no address", (text) => {
    assert.isUndefined(read(Hex.Address, text))
  })

  it("reads whole bytes up to a limit", () => {
    assert.strictEqual(read(Hex.Bytes, "0x00fF"), "0x00fF")
    assert.isDefined(read(Hex.Bytes, `0x${"00".repeat(Hex.maxBytes)}`))
    assert.isUndefined(read(Hex.Bytes, `0x${"00".repeat(Hex.maxBytes + 1)}`))
    assert.isUndefined(read(Hex.Bytes, "0x000"))
    assert.isUndefined(read(Hex.Bytes, "0x"))
    assert.strictEqual(read(Hex.Data, "0x"), "0x")
  })
})
