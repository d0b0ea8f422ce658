/**
 * Finds a transaction again whose hash is not known: by the log of its first transfer or of its fee, told from others by the
 * limits that it was signed with, which no two payments share.
 *
 * @since 0.1.0
 */
import * as Effect from "effect/Effect"
import * as Option from "effect/Option"
import type { Address, Hex } from "viem"
import * as Chain from "../../Chain.ts"
import type { ChainError } from "../../PaymentError.ts"
import type { Transfer } from "../../wire/mpp/TempoCharge.ts"
import type * as TempoUnsigned from "../../wire/mpp/TempoUnsigned.ts"
import { feeManager, sameHex, topics, unitsOf, word } from "../tempo/Logs.ts"

/**
 * What is asked about.
 *
 * @category models
 * @since 0.1.0
 */
export interface Signed {
  readonly transaction: TempoUnsigned.Unsigned
  readonly token: Address
  /** The first of them has a memo. */
  readonly transfers: readonly [Transfer, ...ReadonlyArray<Transfer>]
  /** All of them together, in base units. */
  readonly units: bigint
  /** When it was planned, in seconds since the epoch: its logs are looked for from there. */
  readonly plannedAt: number
}

/** Most nodes answer for at least this many blocks at once. */
const blocksPerSearch = 1_000n

/** A payment is valid for minutes. A chain that makes more blocks than these in that time is not searched to its end. */
const maxSearches = 16

/**
 * By how much our clock may be ahead of the chain's, in seconds: no chain takes a transaction that ends later than this after
 * its own time, and none ends before it was planned.
 */
const clockSkew = 300n

/**
 * A transaction that was found.
 *
 * @category models
 * @since 0.1.0
 */
export interface Found {
  readonly hash: Hex
  /** The node shows that it is the transaction that was signed, and not merely one that looks like it. */
  readonly isCertain: boolean
}

/** Whether a transaction is the one that was signed; none where the node cannot tell. */
const isOurs = (
  node: Chain.Node,
  { transaction: { gas, maxFeePerGas } }: Signed,
  hash: Hex
): Effect.Effect<Option.Option<boolean>> =>
  node.limits(hash).pipe(
    Effect.orElseSucceed(Option.none<Chain.Limits>),
    Effect.map(Option.filter((limits) => limits.maxFeePerGas !== undefined)),
    Effect.map(Option.map((limits) => limits.gas === BigInt(gas) && limits.maxFeePerGas === BigInt(maxFeePerGas)))
  )

interface Question {
  readonly token: Hex
  readonly topics: ReadonlyArray<Hex>
  readonly isLike: (log: Chain.Log) => boolean
  /** What a transaction counts as of which the node cannot tell whether it is ours. */
  readonly isDoubtful: boolean
}

/** Looks through the blocks in which the transaction can be. None only if all of them were searched. */
const search = Effect.fnUntraced(function*(
  node: Chain.Node,
  signed: Signed,
  latest: Chain.Block,
  { isDoubtful, isLike, token, topics }: Question
): Effect.fn.Return<Option.Option<Found> | "not searched", ChainError> {
  const fits = (log: Chain.Log) =>
    sameHex(log.address, token) && topics.every((topic, at) => sameHex(log.topics[at], topic)) && isLike(log)
  const end = yield* Chain.firstBlockAt(node, latest, BigInt(signed.transaction.validBefore))
  let fromBlock = yield* Chain.firstBlockAt(node, latest, BigInt(signed.plannedAt) - clockSkew)
  for (let searches = 0; fromBlock <= end; searches++) {
    if (searches >= maxSearches) return "not searched"
    const last = fromBlock + blocksPerSearch - 1n
    const toBlock = last < end ? last : end
    const logs = yield* node.logs({ address: token, topics, fromBlock, toBlock })
    for (const { transactionHash: hash } of logs.filter(fits)) {
      const ours = yield* isOurs(node, signed, hash)
      if (Option.getOrElse(ours, () => isDoubtful)) return Option.some({ hash, isCertain: Option.isSome(ours) })
    }
    fromBlock = toBlock + 1n
  }
  return Option.none()
})

/**
 * The transaction, by its first transfer. Where the node cannot tell whether it is the one that was signed, it counts as that:
 * money that may have moved is never counted as back.
 *
 * @category combinators
 * @since 0.1.0
 */
export const byTransfer = (node: Chain.Node, signed: Signed, latest: Chain.Block) => {
  const { token, transaction: { from }, transfers: [{ memo, to, units }] } = signed
  return search(node, signed, latest, {
    token,
    topics: memo === undefined
      ? [topics.transfer, word(from), word(to)]
      : [topics.withMemo, word(from), word(to), memo],
    isLike: (log) => Option.contains(unitsOf(log), units),
    isDoubtful: true
  })
}

/**
 * The transaction, by the fee that it cost: also one that was reverted.
 *
 * @category combinators
 * @since 0.1.0
 */
export const byFee = (node: Chain.Node, signed: Signed, latest: Chain.Block, feeToken: Hex) =>
  search(node, signed, latest, {
    token: feeToken,
    topics: [topics.transfer, word(signed.transaction.from), word(feeManager)],
    isLike: () => true,
    isDoubtful: false
  })
