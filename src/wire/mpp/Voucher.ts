/**
 * Vouchers: what the payer of a channel signs instead of a transaction. Each says how much the payee may take from the
 * channel in all, so that the highest one replaces all others.
 *
 * @since 0.1.0
 */
import * as Option from "effect/Option"
import type { Hex, TypedDataDefinition } from "viem"
import { concatHex, encodeAbiParameters, keccak256, numberToHex, parseAbiParameters, stringToHex } from "viem/utils"
import { lower, type Place } from "./Channel.ts"

/**
 * The channel that a voucher is of.
 *
 * @category models
 * @since 0.1.0
 */
export interface Drawer extends Place {
  readonly channelId: Hex
}

const nameV2 = "TIP20 Channel Reserve"
const nameV1 = "Tempo Stream Channel"

const typedDataOf = <const Amount extends string>(name: string, type: Amount) =>
(
  { chainId, channelId, cumulative, escrow }: Drawer & { readonly cumulative: bigint }
) => ({
  domain: { name, version: "1", chainId, verifyingContract: lower(escrow) },
  types: {
    Voucher: [
      { name: "channelId", type: "bytes32" },
      { name: "cumulativeAmount", type }
    ]
  },
  primaryType: "Voucher",
  message: { channelId, cumulativeAmount: cumulative }
} as const satisfies TypedDataDefinition)

/**
 * What is signed for a voucher of a channel of version 2.
 *
 * @category constructors
 * @since 0.1.0
 */
export const typedData = typedDataOf(nameV2, "uint96")

/**
 * What is signed for a voucher of a channel of version 1.
 *
 * @category constructors
 * @since 0.1.0
 */
export const typedDataV1 = typedDataOf(nameV1, "uint128")

const domainTypeHash = keccak256(
  stringToHex("EIP712Domain(string name,string version,uint256 chainId,address verifyingContract)")
)
const domain = parseAbiParameters("bytes32, bytes32, bytes32, uint256, address")

/** An amount has twelve bytes, of a word of 32. */
const amountBytes = 12
const leadingZeros: Hex = `0x${"00".repeat(32 - amountBytes)}`

const digesterOf = (name: string, type: string) => {
  const typeHash = keccak256(stringToHex(type))
  const nameHash = keccak256(stringToHex(name))
  const versionHash = keccak256(stringToHex("1"))
  return ({ chainId, channelId, escrow }: Drawer) => {
    const separator = keccak256(
      encodeAbiParameters(domain, [domainTypeHash, nameHash, versionHash, BigInt(chainId), lower(escrow)])
    )
    const prefix = concatHex(["0x1901", separator])
    const struct = concatHex([typeHash, channelId, leadingZeros])
    return (cumulative: bigint): Hex =>
      keccak256(concatHex([prefix, keccak256(concatHex([struct, numberToHex(cumulative, { size: amountBytes })]))]))
  }
}

/**
 * The digests of a channel's vouchers, equal to the hash of {@link typedData}. What all of them share is computed once.
 * Throws for an amount that no channel can hold: such a voucher is never signed.
 *
 * **Example** (Two vouchers of one channel)
 *
 * ```ts
 * import * as Channel from "effect-mpp/wire/mpp/Channel"
 * import * as Voucher from "effect-mpp/wire/mpp/Voucher"
 *
 * const digest = Voucher.digester({
 *   chainId: 42431,
 *   escrow: Channel.escrowV2,
 *   channelId: "0x0000000000000000000000000000000000000000000000000000000000000001"
 * })
 * digest(0n) // => "0xa36707cd31bd387e50b92b7db0126b7812c9d18d4571983884544a6a2d028331"
 * digest(1_000_000n) // => "0x513df895662485e1b58a14895b6fa72699a4a90520ffe8d5abe5854a5a53275e"
 * ```
 *
 * @category constructors
 * @since 0.1.0
 */
export const digester: (drawer: Drawer) => (cumulative: bigint) => Hex = digesterOf(
  nameV2,
  "Voucher(bytes32 channelId,uint96 cumulativeAmount)"
)

/**
 * The digests of the vouchers of a channel of version 1, equal to the hash of {@link typedDataV1}.
 *
 * @category constructors
 * @since 0.1.0
 */
export const digesterV1: (drawer: Drawer) => (cumulative: bigint) => Hex = digesterOf(
  nameV1,
  "Voucher(bytes32 channelId,uint128 cumulativeAmount)"
)

const order = 0xfffffffffffffffffffffffffffffffebaaedce6af48a03bbfd25e8cd0364141n
const parity = 2n ** 255n

const pattern = /^0x([0-9a-fA-F]{64})([0-9a-fA-F]{64})(1[bBcC])?$/

/**
 * Reads the signature of a voucher: 65 bytes with a last one of 27 or 28, or the 64 bytes of EIP-2098, which are written out.
 * There is one signature per key and digest: those in the upper half of the curve are none, like those of other kinds.
 *
 * **Example** (A signature that anybody could have turned into another)
 *
 * ```ts
 * import * as Voucher from "effect-mpp/wire/mpp/Voucher"
 *
 * const r = "11".repeat(32)
 * Voucher.parseSignature(`0x${r}${"22".repeat(32)}1b`)._tag // => "Some"
 * Voucher.parseSignature(`0x${r}${"ee".repeat(32)}1b`)._tag // => "None"
 * ```
 *
 * @category decoding
 * @since 0.1.0
 */
export const parseSignature = (hex: string): Option.Option<Hex> => {
  const match = pattern.exec(hex)
  if (match === null) return Option.none()
  const [, first = "", second = "", last] = match
  const r = BigInt(`0x${first}`)
  const word = BigInt(`0x${second}`)
  const s = last === undefined ? word % parity : word
  const v = last?.toLowerCase() ?? (word < parity ? "1b" : "1c")
  return r === 0n || r >= order || s === 0n || s > order / 2n
    ? Option.none()
    : Option.some<Hex>(`0x${first.toLowerCase()}${s.toString(16).padStart(64, "0")}${v}`)
}
