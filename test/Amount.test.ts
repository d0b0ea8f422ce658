import { assert, describe, it } from "@effect/vitest"
import { Exit, Option, Schema } from "effect"
import * as Amount from "../src/Amount.ts"
import * as Asset from "../src/Asset.ts"

const of = (decimals: number) => new Asset.Asset({ ...Asset.sessionUsdc, decimals })

describe("Amount", () => {
  it.prop("formats and parses back to the same units", [Schema.BigInt, Schema.Int], ([bigint, int]) => {
    const units = (bigint < 0n ? -bigint : bigint) % 10n ** 12n
    const decimals = Math.abs(int % 19)
    assert.deepStrictEqual(Amount.parse(Amount.format(units, decimals), decimals), Option.some(units))
  })

  it.prop("never throws while it parses, whatever it is given", [Schema.String], ([text]) => {
    assert.isTrue(Option.isOption(Amount.parse(text, 6)))
  })

  it("refuses everything but digits and one point", () => {
    for (const text of ["1e-3", "0x10", "-1", " 1", "1 ", "1.", ".5", "١", "1,0", "0.0000001", "", "1".repeat(13)]) {
      assert.isTrue(Option.isNone(Amount.parse(text, 6)), text)
    }
  })

  it("shows dollars with two digits and keeps what lies below a cent", () => {
    assert.strictEqual(Amount.formatUsd(1_000_000n), "1.00")
    assert.strictEqual(Amount.formatUsd(10_000n), "0.01")
    assert.strictEqual(Amount.formatUsd(1n), "0.000001")
    assert.strictEqual(Amount.formatUsd(-50_000n), "-0.05")
    assert.strictEqual(Amount.format(7n, 0), "7")
  })

  it("counts the dust of an asset of many decimals as at least a micro-dollar", () => {
    const asset = of(18)
    assert.strictEqual(Amount.toUsd({ asset, units: 100_000_000_000n }), 1n)
    assert.strictEqual(Amount.toUsd({ asset, units: 1n }), 1n)
    assert.strictEqual(Amount.toUsd({ asset, units: 0n }), 0n)
    assert.strictEqual(Amount.toUsd({ asset, units: 10n ** 18n }), 1_000_000n)
    assert.strictEqual(Amount.toUsd({ asset: of(2), units: 5n }), 50_000n)
  })

  it.prop("never counts less in dollars than an asset is worth", [Schema.BigInt, Schema.Int], ([bigint, int]) => {
    const units = bigint < 0n ? -bigint : bigint
    const decimals = Math.abs(int % 37)
    const usd = Amount.toUsd({ asset: of(decimals), units })
    assert.isTrue(usd * 10n ** BigInt(decimals) >= units * 10n ** 6n)
  })

  it("reads base units as whole numbers of at most 256 bits", () => {
    const decode = Schema.decodeUnknownExit(Amount.Units)
    assert.deepStrictEqual(decode("10000"), Exit.succeed(10_000n))
    for (const bad of ["", "-1", "01", "1e4", "0x10", "1.5", (2n ** 256n).toString(), "9".repeat(100), 5]) {
      assert.isTrue(Exit.isFailure(decode(bad)), String(bad))
    }
  })
})
