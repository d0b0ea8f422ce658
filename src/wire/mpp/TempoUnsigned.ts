/**
 * The transactions that pay for Tempo charges, before they are signed: what is written down, and what the signer takes.
 *
 * All of them use an expiring nonce: they need no number from the chain, and each is void once its `validBefore` is past.
 *
 * @since 0.1.0
 */
import * as Array from "effect/Array"
import * as Schema from "effect/Schema"
import type { Address, Hex } from "viem"
import { encodeFunctionData, keccak256, parseAbi } from "viem/utils"
import * as HexText from "../Hex.ts"
import type { Transfer } from "./TempoCharge.ts"

/**
 * The lane of expiring nonces: the largest key.
 *
 * @category constants
 * @since 0.1.0
 */
export const expiringNonceKey: bigint = 2n ** 256n - 1n

const Digits = Schema.String.check(
  Schema.isPattern(/^(?:0|[1-9][0-9]{0,37})$/, { message: "Expected a whole number in decimal digits" })
)

/**
 * A call of a contract; none of them carries value.
 *
 * @category models
 * @since 0.1.0
 */
export const Call = Schema.Struct({ to: HexText.Address, data: HexText.Data })

/**
 * @category models
 * @since 0.1.0
 */
export type Call = typeof Call.Type

/**
 * Everything that is signed, in a form that can be stored. Nothing of it is estimated again.
 *
 * **Details**
 *
 * The nonce is 0 on {@link expiringNonceKey}; there is no `validAfter` and no access list. Where the transaction is
 * sponsored the merchant pays the fee in a token of its choice, and `feeToken` is absent.
 *
 * @category models
 * @since 0.1.0
 */
export const Unsigned = Schema.Struct({
  chainId: Schema.Int.check(Schema.isGreaterThan(0)),
  from: HexText.Address,
  calls: Schema.NonEmptyArray(Call),
  gas: Digits,
  /** In units of 10^-18 US dollar. */
  maxFeePerGas: Digits,
  maxPriorityFeePerGas: Digits,
  /** Seconds since the epoch. */
  validBefore: Schema.Int.check(Schema.isGreaterThan(0)),
  feeToken: Schema.optionalKey(HexText.Address),
  sponsored: Schema.Boolean
})

/**
 * @category models
 * @since 0.1.0
 */
export type Unsigned = typeof Unsigned.Type

const abi = parseAbi([
  "function transfer(address to, uint256 amount)",
  "function transferWithMemo(address to, uint256 amount, bytes32 memo)"
])

/**
 * The calls that make transfers of a token, in their order: `transferWithMemo` where there is a memo.
 *
 * @category constructors
 * @since 0.1.0
 */
export const calls = (
  token: Address,
  transfers: Array.NonEmptyReadonlyArray<Transfer>
): Array.NonEmptyReadonlyArray<Call> =>
  Array.map(transfers, ({ memo, to, units }) => ({
    to: token,
    data: memo === undefined
      ? encodeFunctionData({ abi, functionName: "transfer", args: [to, units] })
      : encodeFunctionData({ abi, functionName: "transferWithMemo", args: [to, units, memo] })
  }))

/**
 * The transaction in the form that `Transaction.serialize` of `viem/tempo` takes, and an account's `signTransaction` with
 * that serializer.
 *
 * @category conversions
 * @since 0.1.0
 */
export const serializable = (unsigned: Unsigned) => ({
  type: "tempo" as const,
  chainId: unsigned.chainId,
  from: unsigned.from,
  calls: unsigned.calls,
  gas: BigInt(unsigned.gas),
  maxFeePerGas: BigInt(unsigned.maxFeePerGas),
  maxPriorityFeePerGas: BigInt(unsigned.maxPriorityFeePerGas),
  nonceKey: expiringNonceKey,
  nonce: 0,
  validBefore: unsigned.validBefore,
  ...(unsigned.sponsored ? { feePayer: true as const } : {}),
  ...(unsigned.sponsored || unsigned.feeToken === undefined ? {} : { feeToken: unsigned.feeToken })
})

const weiPerMicroDollar = 10n ** 12n

/**
 * What so much gas costs, in micro-dollars, rounded up. Its price is in units of 10^-18 US dollar.
 *
 * @category conversions
 * @since 0.1.0
 */
export const feeUsd = (gas: bigint, price: bigint): bigint => (gas * price + weiPerMicroDollar - 1n) / weiPerMicroDollar

/**
 * The most that the payer can lose to fees, in micro-dollars, rounded up; nothing if the transaction is sponsored. Tokens
 * that fees are paid in have six decimals.
 *
 * **Example** (What is held for a fee)
 *
 * ```ts
 * import * as TempoUnsigned from "effect-mpp/wire/mpp/TempoUnsigned"
 *
 * const token = "0x20c0000000000000000000000000000000000000"
 * const recipient = "0x742d35cc6634c0532925a3b844bc9e7595f8fe00"
 *
 * TempoUnsigned.maxFeeUsd({
 *   chainId: 42431,
 *   from: "0xf39fd6e51aad88f6f4ce6ab8827279cfffb92266",
 *   calls: TempoUnsigned.calls(token, [{ to: recipient, units: 10_000n }]),
 *   gas: "300000",
 *   maxFeePerGas: "20000000000",
 *   maxPriorityFeePerGas: "1000000000",
 *   validBefore: 1767700000,
 *   feeToken: token,
 *   sponsored: false
 * }) // => 6000n
 * ```
 *
 * @category getters
 * @since 0.1.0
 */
export const maxFeeUsd = (unsigned: Unsigned): bigint =>
  unsigned.sponsored
    ? 0n
    : feeUsd(BigInt(unsigned.gas), BigInt(unsigned.maxFeePerGas))

/**
 * The hash under which a chain knows a signed transaction whose payer pays the fee. A sponsored one has no hash before the
 * sponsor has signed it too.
 *
 * @category getters
 * @since 0.1.0
 */
export const hash = (signed: Hex): Hex => keccak256(signed)
