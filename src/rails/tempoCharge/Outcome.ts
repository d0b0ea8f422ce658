/**
 * What a chain says became of a Tempo charge.
 *
 * A transaction with an expiring nonce is mined at most once, in a block stamped before its `validBefore`, by whoever holds
 * it. So a chain can prove both ends of it: a receipt, or a finalized block past `validBefore` with no such transaction
 * before it.
 *
 * @since 0.1.0
 */
import * as Effect from "effect/Effect"
import * as Option from "effect/Option"
import * as Result from "effect/Result"
import type { Hex } from "viem"
import type * as Chain from "../../Chain.ts"
import type { ChainError } from "../../PaymentError.ts"
import { Evidence, type Verdict } from "../../Rails.ts"
import type { Transfer } from "../../wire/mpp/TempoCharge.ts"
import { feeUsd, maxFeeUsd } from "../../wire/mpp/TempoUnsigned.ts"
import { sameHex, topics, unitsOf, word } from "../tempo/Logs.ts"
import * as Search from "./Search.ts"
import type { Signed } from "./Search.ts"

/**
 * The verdict that nothing is known, and that it may be asked again.
 *
 * @category constructors
 * @since 0.1.0
 */
export const unknown = (
  what: string,
  rank: Evidence["rank"] = "presumed",
  more: Omit<Partial<typeof Evidence.Type>, "rank" | "what"> = {}
): Verdict => ({
  _tag: "Unknown",
  content: false,
  evidence: new Evidence({ rank, what, ...more }),
  next: { _tag: "reconcile" }
})

// ---------------------------------------------------------------------------------------------------------------------
// One transaction
// ---------------------------------------------------------------------------------------------------------------------

/** How often each thing is there. */
const tally = (things: ReadonlyArray<string>): ReadonlyMap<string, number> => {
  const counts = new Map<string, number>()
  for (const thing of things) counts.set(thing, (counts.get(thing) ?? 0) + 1)
  return counts
}

/** An event without its sender. */
const eventOf = (topics: ReadonlyArray<string | undefined>, units: bigint): string =>
  [...topics, units].join().toLowerCase()

/** A transfer with a memo has two events: the one of every transfer, and that with the memo. */
const eventsOf = ({ memo, to, units }: Transfer): ReadonlyArray<string> => [
  eventOf([topics.transfer, word(to)], units),
  ...(memo === undefined ? [] : [eventOf([topics.withMemo, word(to), memo], units)])
]

/** Whether every transfer that was signed has its own events among these logs. */
const areTransferred = (signed: Signed, logs: ReadonlyArray<Chain.Log>): boolean => {
  const seen = tally(logs.flatMap((log) => {
    const [event, from, ...others] = log.topics
    return sameHex(log.address, signed.token) && sameHex(from, word(signed.transaction.from))
      ? Option.toArray(Option.map(unitsOf(log), (units) => eventOf([event, ...others], units)))
      : []
  }))
  return [...tally(signed.transfers.flatMap(eventsOf))].every(([event, count]) => (seen.get(event) ?? 0) >= count)
}

/** What the payer paid for it, in micro-dollars: never more than was signed, whatever a receipt says. */
const feeOf = ({ transaction }: Signed, { effectiveGasPrice, gasUsed }: Chain.Receipt): bigint => {
  const most = maxFeeUsd(transaction)
  const fee = feeUsd(gasUsed, effectiveGasPrice)
  return fee < most ? fee : most
}

/**
 * What a receipt says: settled, with the fee; void only if it was reverted in a block that is final. `final` is the number of
 * the last final block, where that is known.
 *
 * @category mapping
 * @since 0.1.0
 */
export const ofReceipt = (signed: Signed, receipt: Chain.Receipt, final: bigint | undefined): Verdict => {
  const rank = final !== undefined && receipt.blockNumber <= final ? "proven" : "observed"
  const reference = receipt.transactionHash.toLowerCase()
  const paid = feeOf(signed, receipt)
  if (!receipt.succeeded) {
    const what = "transaction reverted"
    return rank === "proven"
      ? { _tag: "Void", feeUsd: paid, evidence: new Evidence({ rank, what, reference }) }
      : unknown(what, rank, { reference })
  }
  // Of a transaction that succeeded all transfers are made: who shows it without them may have invented it.
  const evidence = areTransferred(signed, receipt.logs)
    ? new Evidence({ rank, what: "transaction mined", reference })
    : new Evidence({ rank: "observed", what: "transaction mined", reference, mismatch: true })
  return { _tag: "Settled", units: signed.units, feeUsd: paid, content: false, evidence }
}

// ---------------------------------------------------------------------------------------------------------------------
// Whatever became of it
// ---------------------------------------------------------------------------------------------------------------------

/** What merely looks like ours frees nothing and proves nothing. */
const doubted = (verdict: Verdict): Verdict =>
  verdict._tag === "Settled"
    ? { ...verdict, evidence: new Evidence({ ...verdict.evidence, rank: "observed" }) }
    : unknown("a transaction like it", "observed")

const ofFound = Effect.fnUntraced(function*(
  node: Chain.Node,
  signed: Signed,
  { hash, isCertain }: Search.Found,
  final: Chain.Block
): Effect.fn.Return<Verdict> {
  const receipt = Option.flatten(yield* Effect.option(node.receipt(hash)))
  if (Option.isSome(receipt)) {
    const verdict = ofReceipt(signed, receipt.value, final.number)
    return isCertain ? verdict : doubted(verdict)
  }
  const evidence = new Evidence({ rank: "observed", what: "transfer", reference: hash.toLowerCase() })
  return { _tag: "Settled", units: signed.units, content: false, evidence }
})

/**
 * A node is often several machines, of which some are behind: a final block has to be this much past the end before it is
 * believed that nothing was mined, in seconds.
 */
const margin = 5n

const ask = Effect.fnUntraced(function*(
  node: Chain.Node,
  signed: Signed,
  hash: Hex | undefined
): Effect.fn.Return<Verdict, ChainError> {
  const [final, latest, mined] = yield* Effect.all([
    node.block("finalized"),
    node.block("latest"),
    Effect.result(hash === undefined ? Effect.succeedNone : node.receipt(hash))
  ], { concurrency: "unbounded" })
  const known = Result.isSuccess(mined)
    ? Option.filter(mined.success, ({ transactionHash }) => sameHex(hash, transactionHash))
    : Option.none()
  if (Option.isSome(known)) return ofReceipt(signed, known.value, final.number)
  const { feeToken, validBefore } = signed.transaction
  const detail = { block: final.number.toString(), timestamp: final.timestamp.toString() }
  const notSearched = unknown("too many blocks to search", "observed", { detail })

  const transferred = yield* Search.byTransfer(node, signed, latest)
  if (transferred === "not searched") return notSearched
  if (Option.isSome(transferred)) return yield* ofFound(node, signed, transferred.value, final)

  const charged = feeToken === undefined ? Option.none() : yield* Search.byFee(node, signed, latest, feeToken)
  if (charged === "not searched") return notSearched
  const failed = Option.isSome(charged) ? yield* node.receipt(charged.value.hash) : Option.none()
  if (Option.isSome(failed)) return ofReceipt(signed, failed.value, final.number)
  if (Option.isSome(charged)) {
    return unknown("its fee was paid, and its receipt is not shown", "observed", { reference: charged.value.hash })
  }
  if (Result.isFailure(mined)) return yield* mined.failure

  // What is not shown yet was not searched.
  const isSearched = latest.number >= final.number
  return isSearched && final.timestamp >= BigInt(validBefore) + margin
    ? { _tag: "Void", evidence: new Evidence({ rank: "proven", what: "transaction expired unmined", detail }) }
    : unknown("transaction not mined so far", "observed", { detail })
})

/**
 * Asks every node what became of a transaction.
 *
 * **Details**
 *
 * `Void` takes all of the nodes: each must show a finalized block past `validBefore`, and nothing that was mined before it,
 * or a transaction that was reverted. `Settled` carries the transaction and its fee, and a mismatch if it did not transfer
 * all that was signed.
 *
 * @category combinators
 * @since 0.1.0
 */
export const reconcile = Effect.fnUntraced(function*(
  nodes: ReadonlyArray<Chain.Node>,
  signed: Signed,
  hash?: Hex
): Effect.fn.Return<Verdict, ChainError> {
  const answers = yield* Effect.forEach(nodes, (node) => Effect.result(ask(node, signed, hash)), {
    concurrency: "unbounded"
  })
  const verdicts = answers.flatMap((answer) => Result.isSuccess(answer) ? [answer.success] : [])
  const failure = answers.find(Result.isFailure)
  if (new Set(verdicts.map((verdict) => verdict._tag)).size > 1) return unknown("the nodes disagree")
  // Money that moved needs no second witness; money that comes back needs all of them.
  const weakest = verdicts.find(({ evidence }) => evidence.rank !== "proven") ?? verdicts[0]
  if (failure !== undefined && weakest?._tag !== "Settled") return yield* failure.failure
  return weakest ?? unknown("no rpc")
})
