/**
 * What a chain's nodes say of a transaction, asked until it is known.
 *
 * That a transaction was mined takes the word of one node. That it never will be takes the word of all: each has to show a
 * block in which it is no longer valid, and no receipt of it.
 *
 * @since 0.1.0
 */
import * as Clock from "effect/Clock"
import * as Duration from "effect/Duration"
import * as Effect from "effect/Effect"
import * as Option from "effect/Option"
import * as Result from "effect/Result"
import type { Hex } from "viem"
import type * as Chain from "../../Chain.ts"
import type { ChainError } from "../../PaymentError.ts"

/**
 * A transaction as a merchant waits for it.
 *
 * @category models
 * @since 0.1.0
 */
export interface Awaited {
  readonly hash: Hex
  /** Seconds since the epoch: no block of that stamp or a later one has it. */
  readonly validBefore: number
}

const pollInterval = Duration.millis(250)

/**
 * The receipt of a transaction; none where no node that answers has one. Fails if none answers.
 *
 * @category combinators
 * @since 0.1.0
 */
export const receipt = Effect.fnUntraced(function*(
  nodes: ReadonlyArray<Chain.Node>,
  hash: Hex
): Effect.fn.Return<Option.Option<Chain.Receipt>, ChainError> {
  const asked = yield* Effect.forEach(nodes, (node) => Effect.result(node.receipt(hash)), { concurrency: "unbounded" })
  const answers = asked.filter(Result.isSuccess)
  const failure = asked.find(Result.isFailure)
  return answers.length === 0 && failure !== undefined
    ? yield* Effect.fail(failure.failure)
    : Option.firstSomeOf(answers.map(({ success }) => success))
})

/**
 * Whether a node may have the transaction, mined or waiting to be: false only if all of them say that they do not.
 *
 * @category combinators
 * @since 0.1.0
 */
export const mayBeKnown = (nodes: ReadonlyArray<Chain.Node>, hash: Hex): Effect.Effect<boolean> =>
  Effect.map(
    Effect.forEach(
      nodes,
      (node) => Effect.orElseSucceed(Effect.map(node.limits(hash), Option.isSome), () => true),
      { concurrency: "unbounded" }
    ),
    (known) => known.includes(true)
  )

/**
 * Hands a signed transaction to the first node that takes it. That none does says nothing of the transaction.
 *
 * @category combinators
 * @since 0.1.0
 */
export const send = Effect.fnUntraced(function*(
  nodes: ReadonlyArray<Chain.Node>,
  signed: Hex
): Effect.fn.Return<Option.Option<Chain.Receipt>> {
  for (const node of nodes) {
    const sent = yield* Effect.result(node.send(signed))
    if (Result.isSuccess(sent)) return sent.success
  }
  return Option.none()
})

/** Whether a transaction without a receipt can have none any more. */
const isVoid = Effect.fnUntraced(function*(nodes: ReadonlyArray<Chain.Node>, { hash, validBefore }: Awaited) {
  if ((yield* Clock.currentTimeMillis) < validBefore * 1000) return false
  const isPast = yield* Effect.forEach(
    nodes,
    // in this order: a receipt may come up to the block that is asked for
    (node) =>
      Effect.andThen(
        Effect.map(node.block("latest"), ({ timestamp }) => timestamp >= BigInt(validBefore)),
        (past) => Effect.map(node.receipt(hash), (receipt) => past && Option.isNone(receipt))
      ),
    { concurrency: "unbounded" }
  )
  return isPast.every(Boolean)
})

/**
 * Waits for the receipt of a transaction that was sent: its receipt, `void` where it can have none any more, or `unknown`
 * after the timeout.
 *
 * @category combinators
 * @since 0.1.0
 */
export const wait = Effect.fnUntraced(function*(
  nodes: ReadonlyArray<Chain.Node>,
  awaited: Awaited,
  timeout: Duration.Duration
): Effect.fn.Return<Chain.Receipt | "void" | "unknown"> {
  const deadline = (yield* Clock.currentTimeMillis) + Duration.toMillis(timeout)
  while (true) {
    const found = yield* Effect.orElseSucceed(receipt(nodes, awaited.hash), () => Option.none())
    if (Option.isSome(found)) return found.value
    if (yield* Effect.orElseSucceed(isVoid(nodes, awaited), () => false)) return "void"
    if ((yield* Clock.currentTimeMillis) >= deadline) return "unknown"
    yield* Effect.sleep(pollInterval)
  }
})
