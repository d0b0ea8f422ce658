import { assert, describe, it } from "@effect/vitest"
import * as Effect from "effect/Effect"
import * as Option from "effect/Option"
import * as Schema from "effect/Schema"
import { Session, SessionLegacy } from "mppx/tempo"
import {
  domainSeparator,
  type Hex,
  parseSignature,
  serializeCompactSignature,
  signatureToCompactSignature,
  type TypedDataDefinition
} from "viem"
import { privateKeyToAccount } from "viem/accounts"
import { Channel as Reference } from "viem/tempo"
import { hashTypedData } from "viem/utils"
import * as HexText from "../../../src/wire/Hex.ts"
import * as Channel from "../../../src/wire/mpp/Channel.ts"
import * as Voucher from "../../../src/wire/mpp/Voucher.ts"

const account = privateKeyToAccount("0xac0974bec39a17e36ba4a6b4d238ff944bacb478cbed5efcae784d7bf4f2ff80")
const channelId: Hex = `0x${"00".repeat(31)}01`
const order = 0xfffffffffffffffffffffffffffffffebaaedce6af48a03bbfd25e8cd0364141n

const upper = (hex: Hex): Hex => `0x${hex.slice(2).toUpperCase()}`
const digits = (value: bigint) => value.toString(16).padStart(64, "0")

const versions = {
  v1: [Voucher.typedDataV1, Voucher.digesterV1],
  v2: [Voucher.typedData, Voucher.digester]
} as const

const testnetV1: Hex = "0xe1c4d3dce17bc111181ddf716f75bae49e61a336"
const mainnetV1: Hex = "0x33b901018174DDabE4841042ab76ba85D4e24f25"

const golden: ReadonlyArray<
  readonly [
    version: keyof typeof versions,
    chainId: number,
    cumulative: bigint,
    escrow: Hex,
    separator: Hex,
    digest: Hex,
    signature: Hex
  ]
> = [
  [
    "v2",
    42431,
    1_000_000n,
    Channel.escrowV2,
    "0xa3aa475070603a80823360e5a4a0d3b4fe2cd4e82a109ee3c21a4640a199688d",
    "0x513df895662485e1b58a14895b6fa72699a4a90520ffe8d5abe5854a5a53275e",
    "0xc450ec62183b00c4c64c7e171a7f289e4d227d93346d8f763b1fbc29e660a1b32c7f6a0e7130f022edb0bca0fae6e347c2c4eedd321fc3168ea12c2437a8233f1c"
  ],
  [
    "v2",
    4217,
    1_000_000n,
    Channel.escrowV2,
    "0x6465ffa0b0c1e7cfc1a894ba54d79615bc06fd7cc9cfec558f3df82189d17367",
    "0x309b51c802d5a11dcdae563331a943b65c9ca6bafb674b6265d8aa661c0e0191",
    "0x700fb2081bb5f5990b16f5192a906df4e9542e57af8a70197a976d3bdc9ab9d84e6ebe4a887201c458589e0eaf18d8e907b1ebca5075ce0745069428a5c83cd61b"
  ],
  [
    "v2",
    42431,
    0n,
    Channel.escrowV2,
    "0xa3aa475070603a80823360e5a4a0d3b4fe2cd4e82a109ee3c21a4640a199688d",
    "0xa36707cd31bd387e50b92b7db0126b7812c9d18d4571983884544a6a2d028331",
    "0xc7dc00eb2ab7767a583db1f5e2ec4f8f8d6ff271fa4f55918a8c73e4f5a4c284768532ff7ad100321bd67b4b00e0b00e0eca0996fab33521e3513bcc654c33e61c"
  ],
  [
    "v1",
    42431,
    1_000_000n,
    testnetV1,
    "0x3271aa2ef112b8493e889b17f852ad8e0a0b30565a62f3c066aa9fb0b7444e0c",
    "0x09ad77ebcef2ee2ae69706c59e4923560be8ac823755b79afc4190e97e82669f",
    "0x6e895c8eeb3cb3c8b6d1d97be754d9aef18dcc0a1d79e8ddf52241a6f5d959f936ea96938529ce78c42adbf03e15b5560619f28a2f42d7fab49f2c0d3f54cd1c1b"
  ],
  [
    "v1",
    4217,
    1_000_000n,
    mainnetV1,
    "0xc3eb96493d8b195ca1671190861b10909e09ea4f1662c5a577f2bcc7ecf47eb8",
    "0x9268c474d967646d6d3a098f65b84123fe4a2b6a2743090392d4c160e04848e6",
    "0xa02decdbd4460a27200fe3f91f746425317bda22b30aad85ecb8d631a5ad4cad0c8ff41cc0785261e3ff9c59fd0abfa1dc182b3e3e53a6d917a686c496710cce1b"
  ]
]

const Amount = Schema.BigInt.check(Schema.isBetweenBigInt({ minimum: 0n, maximum: Channel.maxUnits }))
const ChainId = Schema.Int.check(Schema.isBetween({ minimum: 1, maximum: 2 ** 40 }))

describe("vouchers", () => {
  it.each(golden)(
    "are signed as the escrow contract verifies: %s on %d of %d",
    async (version, chainId, cumulative, escrow, separator, digest, signature) => {
      const [typedData, digester] = versions[version]
      const data: TypedDataDefinition = typedData({ chainId, escrow, channelId, cumulative })
      assert.strictEqual(domainSeparator({ domain: data.domain! }), separator)
      assert.strictEqual(hashTypedData(data), digest)
      assert.strictEqual(digester({ chainId, escrow, channelId })(cumulative), digest)
      assert.strictEqual(await account.signTypedData(data), signature)
      assert.strictEqual(await account.sign({ hash: digester({ chainId, escrow, channelId })(cumulative) }), signature)
      assert.deepStrictEqual(Voucher.parseSignature(signature), Option.some(signature))
      assert.isFalse("EIP712Domain" in data.types!)
    }
  )

  it.prop(
    "have the digests of other implementations, whatever the case of the digits",
    [HexText.Bytes32, HexText.Address, ChainId, Amount],
    ([channelId, escrow, chainId, cumulative]) => {
      const reserve = { chainId, escrow: Channel.escrowV2, channelId }
      const digest = Voucher.digester(reserve)(cumulative)
      assert.strictEqual(digest, Reference.getVoucherSignPayload({ chainId, channelId, cumulativeAmount: cumulative }))
      assert.strictEqual(
        Voucher.digester({ ...reserve, escrow: upper(reserve.escrow), channelId: upper(channelId) })(cumulative),
        digest
      )
      for (const [typedData, digester] of Object.values(versions)) {
        const channel = { chainId, escrow, channelId }
        const digest = hashTypedData(typedData({ ...channel, cumulative }) as TypedDataDefinition)
        assert.strictEqual(digester(channel)(cumulative), digest)
        assert.strictEqual(digester({ ...channel, escrow: upper(escrow) })(cumulative), digest)
      }
    }
  )

  it.effect.prop(
    "are verified by mppx",
    [HexText.Bytes32, HexText.Address, Amount],
    ([channelId, address, cumulative]) =>
      Effect.gen(function*() {
        const signed = (hash: Hex) =>
          Effect.map(Effect.promise(() => account.sign({ hash })), (signature) => ({ channelId, signature }))
        const { Protocol, Voucher: Reference } = Session.Precompile
        // It looks at checksums.
        const other = Schema.decodeSync(HexText.Address)(address)
        for (const escrow of [other, Channel.escrowV2]) {
          const voucher = yield* signed(Voucher.digester({ chainId: 42431, escrow, channelId })(cumulative))
          const cumulativeAmount = Protocol.uint96(cumulative)
          assert.isTrue(Reference.verifyVoucher(escrow, 42431, { ...voucher, cumulativeAmount }, account.address))
        }
        const voucher = yield* signed(Voucher.digesterV1({ chainId: 42431, escrow: other, channelId })(cumulative))
        const verified = SessionLegacy.Session.Voucher.verifyVoucher(
          other,
          42431,
          { ...voucher, cumulativeAmount: cumulative },
          account.address
        )
        assert.isTrue(yield* Effect.promise(() => verified))
      }),
    { arbitrary: { runs: 20 } }
  )

  it("have no digest beyond what a channel can hold", () => {
    for (const cumulative of [-1n, Channel.maxUnits + 1n, 2n ** 255n, 2n ** 256n]) {
      for (const [, digester] of Object.values(versions)) {
        assert.throws(() => digester({ chainId: 42431, escrow: Channel.escrowV2, channelId })(cumulative))
      }
    }
  })
})

describe("Voucher.parseSignature", () => {
  const [, , , , , , signature] = golden[0]!
  const r = signature.slice(2, 66)
  const s = BigInt(`0x${signature.slice(66, 130)}`)

  it("reads digits in any case", () => {
    assert.deepStrictEqual(Voucher.parseSignature(upper(signature)), Option.some(signature))
  })

  it("writes out the short form, for either parity", () => {
    for (const [, , , , , , full] of golden) {
      const compact = serializeCompactSignature(signatureToCompactSignature(parseSignature(full)))
      assert.strictEqual(compact.length, 2 + 2 * 64)
      assert.deepStrictEqual(Voucher.parseSignature(compact), Option.some(full))
      assert.deepStrictEqual(Voucher.parseSignature(upper(compact)), Option.some(full))
    }
  })

  it("takes the lower half of the curve to its edges", () => {
    for (const [r, s] of [[1n, 1n], [order - 1n, order / 2n]] as const) {
      assert.isTrue(Option.isSome(Voucher.parseSignature(`0x${digits(r)}${digits(s)}1c`)))
    }
  })

  it.each<readonly [what: string, hex: string]>([
    ["the twin in the upper half", `0x${r}${digits(order - s)}1b`],
    ["just above the half", `0x${r}${digits(order / 2n + 1n)}1b`],
    ["no s", `0x${r}${digits(0n)}1b`],
    ["no r", `0x${digits(0n)}${digits(s)}1b`],
    ["an r beyond the curve", `0x${digits(order)}${digits(s)}1b`],
    ["a parity for a last byte", `0x${r}${digits(s)}00`],
    ["another parity for a last byte", `0x${r}${digits(s)}01`],
    ["a last byte with the chain in it", `0x${r}${digits(s)}25`],
    ["a short form in the upper half", `0x${r}${digits(order / 2n + 1n)}`],
    ["a short form without s", `0x${r}${digits(2n ** 255n)}`],
    ["a key of another kind", `0x01${r.repeat(4)}`],
    ["a keychain", `0x03${"11".repeat(20)}${signature.slice(2)}`],
    ["something behind it", `${signature}7777`],
    ["a line behind it", `${signature}\n`],
    ["half a byte less", signature.slice(0, -1)],
    ["no prefix", signature.slice(2)],
    ["a prefix in upper case", `0X${signature.slice(2)}`],
    ["nothing", ""],
    ["very much", `0x${"1b".repeat(1_000_000)}`]
  ])("refuses %s", (_, hex) => {
    assert.deepStrictEqual(Voucher.parseSignature(hex), Option.none())
  })

  it.prop("never throws, and what it reads it reads again", [Schema.String, HexText.Bytes], ([text, hex]) => {
    for (const given of [text, hex, `0x${text}`, hex.slice(0, 132)]) {
      const read = Voucher.parseSignature(given)
      assert.deepStrictEqual(Option.flatMap(read, Voucher.parseSignature), read)
    }
  })
})
