/**
 * Transactions that nobody has signed yet: every field of them, and no two alike.
 *
 * @since 0.1.0
 */
import type * as SecureRandom from "effect/crypto/SecureRandom"
import * as Effect from "effect/Effect"
import type { Address } from "viem"
import type { Asset } from "../../Asset.ts"
import type * as TempoUnsigned from "../../wire/mpp/TempoUnsigned.ts"
import type * as Fees from "./Fees.ts"

/**
 * What a transaction does, and within which limits.
 *
 * @category models
 * @since 0.1.0
 */
export interface Wanted {
  readonly chainId: number
  readonly from: Address
  readonly calls: TempoUnsigned.Unsigned["calls"]
  readonly quote: Fees.Quote
  /** Seconds since the epoch. */
  readonly validBefore: number
  /** Absent where the merchant pays the fee. */
  readonly feeToken: Asset | undefined
}

/**
 * Makes a transaction. Its limits carry 32 random bits, beyond which nothing tells two of one second apart that do the same.
 *
 * @category constructors
 * @since 0.1.0
 */
export const make = Effect.fnUntraced(function*(
  random: SecureRandom.SecureRandom["Service"],
  { calls, chainId, feeToken, from, quote, validBefore }: Wanted
): Effect.fn.Return<TempoUnsigned.Unsigned> {
  const [mark = 0, ...marks] = yield* random.randomBytes(4)
  return {
    chainId,
    from,
    calls,
    gas: (quote.gas + BigInt(mark)).toString(),
    maxFeePerGas: (quote.maxFeePerGas + marks.reduce((sum, byte) => sum * 256n + BigInt(byte), 0n)).toString(),
    maxPriorityFeePerGas: quote.maxPriorityFeePerGas.toString(),
    validBefore,
    ...(feeToken === undefined ? {} : { feeToken: `0x${feeToken.address.slice(2).toLowerCase()}` as const }),
    sponsored: feeToken === undefined
  }
})
