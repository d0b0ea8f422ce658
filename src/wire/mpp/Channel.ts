/**
 * Payment channels on Tempo: what a channel is, by which id it is known, and the calls that a payer makes of the contract
 * that holds its deposit.
 *
 * Version 2 of the session protocol keeps the deposits in a reserve that is part of the chain; version 1, which some servers
 * still speak, keeps them in a contract of its own.
 *
 * @since 0.1.0
 */
import * as Schema from "effect/Schema"
import type { Address, Hex } from "viem"
import { encodeAbiParameters, encodeFunctionData, keccak256, parseAbi, parseAbiParameters } from "viem/utils"
import * as Amount from "../../Amount.ts"
import * as HexText from "../Hex.ts"
import type { Call } from "./TempoUnsigned.ts"

/**
 * Where the reserve of channels is on every Tempo chain.
 *
 * @category constants
 * @since 0.1.0
 */
export const escrowV2: Address = "0x4d50500000000000000000000000000000000000"

/**
 * The most that a channel can hold, in base units. Version 1 could count further; nothing beyond this is read there either.
 *
 * @category constants
 * @since 0.1.0
 */
export const maxUnits: bigint = 2n ** 96n - 1n

/**
 * Base units of a channel's token, at most {@link maxUnits}.
 *
 * @category schemas
 * @since 0.1.0
 */
export const Units = Amount.Units.check(Schema.isLessThanOrEqualToBigInt(maxUnits))

/**
 * What a channel of version 2 is made of: everything that its id depends on, besides the chain and the reserve.
 *
 * **Details**
 *
 * The payer funds it, and what is left of the deposit comes back to it. The operator may settle for the payee; zero if there
 * is none. Vouchers are signed by `authorizedSigner`, and by the payer if that is zero. `expiringNonceHash` comes from the
 * transaction that opened the channel.
 *
 * @category models
 * @since 0.1.0
 */
export const Descriptor = Schema.Struct({
  payer: HexText.Address,
  payee: HexText.Address,
  operator: HexText.Address,
  token: HexText.Address,
  salt: HexText.Bytes32,
  authorizedSigner: HexText.Address,
  expiringNonceHash: HexText.Bytes32
})

/**
 * @category models
 * @since 0.1.0
 */
export type Descriptor = typeof Descriptor.Type

/**
 * Where a channel is: on which chain, and by whom its deposit is held.
 *
 * @category models
 * @since 0.1.0
 */
export interface Place {
  readonly chainId: number
  readonly escrow: Address
}

const zero: Address = `0x${"00".repeat(20)}`

/**
 * An address in lower case, for those who encode it and look at the checksum of one in mixed case: published ones get it
 * wrong.
 *
 * @category conversions
 * @since 0.1.0
 */
export const lower = (address: Hex): Hex => `0x${address.slice(2).toLowerCase()}`

/**
 * Who signs the vouchers of a channel.
 *
 * @category getters
 * @since 0.1.0
 */
export const signer = ({ authorizedSigner, payer }: Pick<Descriptor, "authorizedSigner" | "payer">): Address =>
  authorizedSigner === zero ? payer : authorizedSigner

const identity = parseAbiParameters(
  "address payer, address payee, address operator, address token, bytes32 salt, address authorizedSigner, bytes32 expiringNonceHash, address escrow, uint256 chainId"
)

/**
 * The id of a channel.
 *
 * **Example** (A channel on the test network)
 *
 * ```ts
 * import * as Channel from "effect-mpp/wire/mpp/Channel"
 *
 * Channel.id({
 *   payer: "0x1111111111111111111111111111111111111111",
 *   payee: "0x2222222222222222222222222222222222222222",
 *   operator: "0x3333333333333333333333333333333333333333",
 *   token: "0x4444444444444444444444444444444444444444",
 *   salt: "0x0000000000000000000000000000000000000000000000000000000000000001",
 *   authorizedSigner: "0x5555555555555555555555555555555555555555",
 *   expiringNonceHash: "0xaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaa"
 * }, { chainId: 42431, escrow: Channel.escrowV2 })
 * // => "0xba76934166855d51b0af261f57d3cd4bf48397c330f6e4b8804921b2ead973af"
 * ```
 *
 * @category getters
 * @since 0.1.0
 */
export const id = (descriptor: Descriptor, { chainId, escrow }: Place): Hex =>
  keccak256(encodeAbiParameters(identity, [
    lower(descriptor.payer),
    lower(descriptor.payee),
    lower(descriptor.operator),
    lower(descriptor.token),
    descriptor.salt,
    lower(descriptor.authorizedSigner),
    descriptor.expiringNonceHash,
    lower(escrow),
    BigInt(chainId)
  ]))

const identityV1 = parseAbiParameters(
  "address payer, address payee, address token, bytes32 salt, address authorizedSigner, address escrow, uint256 chainId"
)

/**
 * The id of a channel of version 1, which has no operator and does not depend on the transaction that opened it.
 *
 * @category getters
 * @since 0.1.0
 */
export const idV1 = (
  descriptor: Omit<Descriptor, "operator" | "expiringNonceHash">,
  { chainId, escrow }: Place
): Hex =>
  keccak256(encodeAbiParameters(identityV1, [
    lower(descriptor.payer),
    lower(descriptor.payee),
    lower(descriptor.token),
    descriptor.salt,
    lower(descriptor.authorizedSigner),
    lower(escrow),
    BigInt(chainId)
  ]))

/**
 * The functions and events of the reserve of version 2.
 *
 * @category constants
 * @since 0.1.0
 */
export const abi = parseAbi([
  "struct Descriptor { address payer; address payee; address operator; address token; bytes32 salt; address authorizedSigner; bytes32 expiringNonceHash; }",
  "struct State { uint96 settled; uint96 deposit; uint32 closeRequestedAt; }",
  "function open(address payee, address operator, address token, uint96 deposit, bytes32 salt, address authorizedSigner) returns (bytes32 channelId)",
  "function topUp(Descriptor descriptor, uint96 additionalDeposit)",
  "function settle(Descriptor descriptor, uint96 cumulativeAmount, bytes signature)",
  "function close(Descriptor descriptor, uint96 cumulativeAmount, uint96 captureAmount, bytes signature)",
  "function requestClose(Descriptor descriptor)",
  "function withdraw(Descriptor descriptor)",
  "function getChannelState(bytes32 channelId) view returns (State)",
  "function getChannelStatesBatch(bytes32[] channelIds) view returns (State[])",
  "event ChannelOpened(bytes32 indexed channelId, address indexed payer, address indexed payee, address operator, address token, address authorizedSigner, bytes32 salt, bytes32 expiringNonceHash, uint96 deposit)",
  "event Settled(bytes32 indexed channelId, address indexed payer, address indexed payee, uint96 cumulativeAmount, uint96 deltaPaid, uint96 newSettled)",
  "event TopUp(bytes32 indexed channelId, address indexed payer, address indexed payee, uint96 additionalDeposit, uint96 newDeposit)",
  "event CloseRequested(bytes32 indexed channelId, address indexed payer, address indexed payee, uint256 closeGraceEnd)",
  "event CloseRequestCancelled(bytes32 indexed channelId, address indexed payer, address indexed payee)",
  "event ChannelClosed(bytes32 indexed channelId, address indexed payer, address indexed payee, uint96 settledToPayee, uint96 refundedToPayer)"
])

const withLowerCase = (descriptor: Descriptor): Descriptor => ({
  payer: lower(descriptor.payer),
  payee: lower(descriptor.payee),
  operator: lower(descriptor.operator),
  token: lower(descriptor.token),
  salt: lower(descriptor.salt),
  authorizedSigner: lower(descriptor.authorizedSigner),
  expiringNonceHash: lower(descriptor.expiringNonceHash)
})

/**
 * Opens a channel with a deposit. The reserve takes it without an allowance. Throws if it is more than {@link maxUnits}.
 *
 * @category constructors
 * @since 0.1.0
 */
export const openCall = (
  { authorizedSigner, deposit, operator, payee, salt, token }:
    & Omit<Descriptor, "payer" | "expiringNonceHash">
    & { readonly deposit: bigint }
): Call => ({
  to: escrowV2,
  data: encodeFunctionData({
    abi,
    functionName: "open",
    args: [lower(payee), lower(operator), lower(token), deposit, lower(salt), lower(authorizedSigner)]
  })
})

/**
 * Adds to the deposit of a channel, and takes back the request to close it. Throws if it is more than {@link maxUnits}.
 *
 * @category constructors
 * @since 0.1.0
 */
export const topUpCall = (descriptor: Descriptor, additional: bigint): Call => ({
  to: escrowV2,
  data: encodeFunctionData({ abi, functionName: "topUp", args: [withLowerCase(descriptor), additional] })
})

/**
 * Asks for the end of a channel without the payee: after fifteen minutes in which it may still settle, the payer may
 * withdraw.
 *
 * @category constructors
 * @since 0.1.0
 */
export const requestCloseCall = (descriptor: Descriptor): Call => ({
  to: escrowV2,
  data: encodeFunctionData({ abi, functionName: "requestClose", args: [withLowerCase(descriptor)] })
})

/**
 * Takes back what the payee has not settled, once the time after {@link requestCloseCall} is over.
 *
 * @category constructors
 * @since 0.1.0
 */
export const withdrawCall = (descriptor: Descriptor): Call => ({
  to: escrowV2,
  data: encodeFunctionData({ abi, functionName: "withdraw", args: [withLowerCase(descriptor)] })
})
