/**
 * The transactions of a channel that its payer signs: the one that opens it, and those that end it where the merchant does
 * not.
 *
 * @since 0.1.0
 */
import * as Clock from "effect/Clock"
import type * as SecureRandom from "effect/crypto/SecureRandom"
import * as Effect from "effect/Effect"
import * as Option from "effect/Option"
import type { Address } from "viem"
import type { Hex } from "viem"
import type { Asset } from "../../Asset.ts"
import type * as Chain from "../../Chain.ts"
import { ChainError, type InsufficientFunds, type WalletError } from "../../PaymentError.ts"
import * as TempoUnsigned from "../../wire/mpp/TempoUnsigned.ts"
import * as Draft from "../tempo/Draft.ts"
import type * as Fees from "../tempo/Fees.ts"
import { feeManager, sameHex, topics, word } from "../tempo/Logs.ts"

/**
 * What the calls of a channel take: at least, ordinarily not more than, and never more than. New entries of the chain's
 * storage are dear.
 *
 * @category constants
 * @since 0.1.0
 */
export const gas: Fees.Gas = { least: 80_000n, ordinary: 900_000n, most: 2_000_000n }

/** For how long a transaction can be mined, and by how much its end may lie beyond the chain's time; in seconds. */
const validity = { ours: 25, chain: 30 }

/** A node that takes a transaction and does not show it is asked again so often, with so much time in between. */
const looks = { times: 60, pause: 500 }

/**
 * Makes the builder and the sender of such transactions.
 *
 * @category constructors
 * @since 0.1.0
 */
export const make = (world: {
  readonly chain: Chain.Chain["Service"]
  readonly fees: Effect.Success<ReturnType<typeof Fees.make>>
  readonly random: SecureRandom.SecureRandom["Service"]
  readonly payer: Address
  readonly signTransaction: (transaction: TempoUnsigned.Unsigned) => Effect.Effect<Hex, WalletError>
}) => {
  const { chain, fees, payer, random, signTransaction } = world

  /** Every field of a transaction; no two of them are alike. */
  const build = Effect.fnUntraced(function*(wanted: {
    readonly chainId: number
    readonly asset: Asset
    readonly units: bigint
    readonly call: TempoUnsigned.Call
    /** Absent where the merchant pays the fee. */
    readonly feeToken: Asset | undefined
    /** Seconds since the epoch. */
    readonly until: number
    /**
     * The chain's time, where that alone counts, however far it is from ours: of a transaction that may be mined later, too.
     * Absent: ours counts.
     */
    readonly chainTime?: number
  }): Effect.fn.Return<TempoUnsigned.Unsigned, ChainError | InsufficientFunds> {
    const { asset, call, chainId, feeToken, units, until } = wanted
    const now = wanted.chainTime ?? Math.floor((yield* Clock.currentTimeMillis) / 1000)
    const calls = [call] as const
    const quote = yield* fees.quote({
      payer,
      asset,
      units,
      transfers: [],
      gas,
      calls,
      feeToken,
      validBefore: Math.min(now + validity.ours, until)
    })
    const validBefore = wanted.chainTime === undefined
      ? Math.min(now + validity.ours, until, quote.chainTime + validity.chain)
      : now + validity.ours
    return yield* Draft.make(random, { chainId, from: payer, calls, quote, validBefore, feeToken })
  })

  /** Sends a transaction of the payer's own, and waits until it is mined; its receipt. */
  const send = Effect.fnUntraced(function*(
    network: string,
    transaction: TempoUnsigned.Unsigned
  ): Effect.fn.Return<Chain.Receipt, ChainError | WalletError> {
    const signed = yield* signTransaction(transaction)
    const hash = TempoUnsigned.hash(signed)
    const nodes = chain.nodes(network)
    const failed = (detail: string) => new ChainError({ network, operation: "end a channel", detail })
    yield* Effect.forEach(nodes, (node) => Effect.ignore(node.send(signed)), { concurrency: "unbounded" })
    const look = Effect.map(
      Effect.forEach(nodes, (node) => Effect.orElseSucceed(node.receipt(hash), Option.none<Chain.Receipt>), {
        concurrency: "unbounded"
      }),
      Option.firstSomeOf
    )
    for (let looked = 0; looked < looks.times; looked++) {
      const receipt = yield* look
      if (Option.isSome(receipt)) {
        return receipt.value.succeeded ? receipt.value : yield* failed("the transaction was reverted")
      }
      yield* Effect.sleep(looks.pause)
    }
    return yield* failed("the transaction was not mined in time")
  })

  /** What the payer paid for these transactions, of which others may have sent and paid some; in micro-dollars. */
  const feesOf = Effect.fnUntraced(function*(
    network: string,
    hashes: ReadonlyArray<Hex>
  ): Effect.fn.Return<bigint, ChainError> {
    const [node] = chain.nodes(network)
    if (node === undefined) return yield* new ChainError({ network, operation: "fee", detail: "no RPC is configured" })
    const isFee = ({ topics: [signature, sender, recipient] }: Chain.Log) =>
      signature === topics.transfer && sameHex(sender, word(payer)) && sameHex(recipient, word(feeManager))
    const fees = yield* Effect.forEach(hashes, (hash) =>
      Effect.flatMap(
        node.receipt(hash),
        Option.match({
          onNone: () =>
            Effect.fail(
              new ChainError({ network, operation: "fee", detail: "the node does not show a receipt of the channel" })
            ),
          onSome: ({ effectiveGasPrice, gasUsed, logs }) =>
            Effect.succeed(
              logs.some(isFee) ? TempoUnsigned.feeUsd(gasUsed, effectiveGasPrice) : 0n
            )
        })
      ))
    return fees.reduce((sum, fee) => sum + fee, 0n)
  })

  return { build, feesOf, send }
}

/**
 * The most that another transaction of the same price could cost, in micro-dollars.
 *
 * @category getters
 * @since 0.1.0
 */
export const mostFee = (like: TempoUnsigned.Unsigned): bigint =>
  TempoUnsigned.maxFeeUsd({ ...like, sponsored: false, gas: gas.ordinary.toString() })
