import { assert, describe, it } from "@effect/vitest"
import { ConfigProvider, Effect, Layer, Option, Schema } from "effect"
import * as Asset from "../src/Asset.ts"

const base = "0x833589fCD6eDb6E08f4c7C32D4f71b54bdA02913"

const configured = (assets: string) =>
  Asset.layerConfig.pipe(Layer.provide(ConfigProvider.layer(ConfigProvider.fromUnknown({ MPP_ASSETS: assets }))))

describe("Asset", () => {
  it("finds an asset in any case of its address, and by address only", () => {
    const table = Asset.makeTable(Asset.known)
    assert.strictEqual(Option.getOrThrow(table.find("eip155:8453", base)).symbol, "USDC")
    assert.strictEqual(Option.getOrThrow(table.find("eip155:8453", base.toLowerCase())).decimals, 6)
    assert.isTrue(Option.isNone(table.find("eip155:1", base)))
    assert.isTrue(Option.isNone(table.find("eip155:8453", "USDC")))
  })

  it("knows that the same coin has other domains on other chains", () => {
    const table = Asset.makeTable(Asset.known)
    const name = (network: string, address: string) => Option.getOrThrow(table.find(network, address)).domain?.name
    assert.strictEqual(name("eip155:8453", base), "USD Coin")
    assert.strictEqual(name("eip155:84532", "0x036CbD53842c5426634e7929541eC2318f3dCF7e"), "USDC")
  })

  it("knows the dollars of Tempo, which take no typed signatures", () => {
    const table = Asset.makeTable(Asset.known)
    const dollars = (network: string) =>
      table.assets.filter((asset) => asset.network === network).map(({ decimals, domain, symbol, testnet, usd }) => [
        symbol,
        decimals,
        usd,
        testnet,
        domain
      ])
    assert.deepStrictEqual(dollars("eip155:4217"), [
      ["USDC.e", 6, true, false, undefined],
      ["pathUSD", 6, true, false, undefined]
    ])
    assert.deepStrictEqual(dollars("eip155:42431").map(([symbol, , , testnet]) => [symbol, testnet]), [
      ["pathUSD", true],
      ["AlphaUSD", true],
      ["BetaUSD", true],
      ["ThetaUSD", true]
    ])
  })

  it("holds no two entries of one network and address", () => {
    assert.strictEqual(Asset.makeTable(Asset.known).assets.length, Asset.known.length)
  })

  it("reads an entry of the configuration, with and without a domain", () => {
    const token = Option.getOrThrow(Asset.parse(`eip155:31337/${base}:USDC:6:USD Coin:2`))
    assert.strictEqual(token.chainId, 31337)
    assert.strictEqual(token.address, base.toLowerCase())
    assert.deepStrictEqual(token.domain, { name: "USD Coin", version: "2" })
    assert.isUndefined(Option.getOrThrow(Asset.parse("eip155:31337/0xaa:DAI:18")).domain)
  })

  it.prop("never throws while it reads an entry", [Schema.String], ([text]) => {
    assert.isTrue(Option.isOption(Asset.parse(text)))
  })

  it("refuses an entry that is none", () => {
    for (const entry of ["", "USDC", "eip155:1/0xaa:USDC", "eip155:1/0xaa:USDC:99", "eip155:1/0xaa:USDC:6:name"]) {
      assert.isTrue(Option.isNone(Asset.parse(entry)), entry)
    }
  })

  it.effect("adds the assets of MPP_ASSETS to the known ones", () =>
    Effect.gen(function*() {
      const table = yield* Asset.Table
      assert.isTrue(Option.isSome(table.find("eip155:31337", "0xaa")))
      assert.isTrue(Option.isSome(table.find("eip155:31337", "0xbb")))
      assert.isTrue(Option.isSome(table.find("eip155:8453", base)))
    }).pipe(Effect.provide(configured("eip155:31337/0xaa:A:6,eip155:31337/0xbb:B:18:Bee Coin:1"))))

  it.effect("says what is wrong with MPP_ASSETS", () =>
    Effect.gen(function*() {
      const error = yield* Effect.flip(Effect.provide(Asset.Table, configured("USDC")))
      assert.include(String(error), "network/address:symbol:decimals")
    }))
})
