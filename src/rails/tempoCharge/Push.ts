/**
 * Tempo charges that the payer broadcasts: the transaction is sent to the chain, and waited for until it is mined or never can
 * be.
 *
 * @since 0.1.0
 */
import * as Clock from "effect/Clock"
import * as Effect from "effect/Effect"
import * as Option from "effect/Option"
import type { Hex } from "viem"
import type * as Chain from "../../Chain.ts"
import type { Verdict } from "../../Rails.ts"
import * as Outcome from "./Outcome.ts"
import type { Signed } from "./Search.ts"

/** How long it is waited between two questions, in milliseconds: at first, and at most. */
const pause = { first: 20, most: 500 }

/** A node that takes a transaction and does not answer is waited for alone no longer than this, in milliseconds. */
const silence = 2_000

/** A node may show a block late; in seconds. */
const margin = 2n

/** For how long a chain is asked for proof after a transaction became void or was reverted, in milliseconds. */
const patience = 15_000

/**
 * A transaction that is to be mined.
 *
 * @category models
 * @since 0.1.0
 */
export interface Broadcast extends Signed {
  readonly hash: Hex
  /** None where it was sent before, and cannot be signed again. */
  readonly raw: Option.Option<Hex>
  /** It may have been sent before: it is looked for first. */
  readonly sentBefore: boolean
}

/** The answer of the first node that has one, once all were asked. */
const everywhere = <A>(
  nodes: ReadonlyArray<Chain.Node>,
  question: (node: Chain.Node) => Effect.Effect<Option.Option<A>, unknown>
): Effect.Effect<Option.Option<A>> =>
  Effect.map(
    Effect.forEach(nodes, (node) => Effect.option(question(node)), { concurrency: "unbounded" }),
    (answers) => Option.firstSomeOf(answers.map(Option.flatten))
  )

/** The first answer that comes, of whatever node: the others are not waited for. */
const anywhere = <A>(
  nodes: ReadonlyArray<Chain.Node>,
  question: (node: Chain.Node) => Effect.Effect<Option.Option<A>, unknown>
): Effect.Effect<Option.Option<A>> =>
  nodes.length === 0
    ? Effect.succeedNone
    : Effect.option(Effect.raceAll(nodes.map((node) => Effect.flatMap(question(node), Effect.fromOption))))

const of = (hash: Hex) => ({ transactionHash }: Chain.Receipt) => transactionHash.toLowerCase() === hash.toLowerCase()

/**
 * What the nodes know of a transaction that was mined.
 *
 * @category combinators
 * @since 0.1.0
 */
export const receipt = (nodes: ReadonlyArray<Chain.Node>, hash: Hex): Effect.Effect<Option.Option<Chain.Receipt>> =>
  anywhere(nodes, (node) => Effect.map(node.receipt(hash), Option.filter(of(hash))))

/** Whether it can no longer be mined, as all nodes see it. */
const isOver = (nodes: ReadonlyArray<Chain.Node>, { transaction: { validBefore } }: Broadcast) =>
  Effect.map(
    Effect.forEach(nodes, (node) => Effect.option(node.block("latest")), { concurrency: "unbounded" }),
    (blocks) => blocks.every(Option.exists(({ timestamp }) => timestamp >= BigInt(validBefore) + margin))
  )

/** Asks at growing intervals until there is an answer; none if there is none in time (milliseconds since the epoch). */
const persist = Effect.fnUntraced(function*<A>(
  question: Effect.Effect<Option.Option<A>>,
  until: number
): Effect.fn.Return<Option.Option<A>> {
  for (let wait = pause.first; true; wait = Math.min(wait * 2, pause.most)) {
    const answer = yield* question
    if (Option.isSome(answer) || (yield* Clock.currentTimeMillis) >= until) return answer
    yield* Effect.sleep(wait)
  }
})

/** What the chain proves of it, once it has had the time to make it final. */
const proof = Effect.fnUntraced(function*(
  nodes: ReadonlyArray<Chain.Node>,
  broadcast: Broadcast
): Effect.fn.Return<Verdict> {
  const conclusive = Effect.map(
    Effect.option(Outcome.reconcile(nodes, broadcast, broadcast.hash)),
    Option.filter(({ _tag }) => _tag === "Void" || _tag === "Settled")
  )
  const verdict = yield* persist(conclusive, (yield* Clock.currentTimeMillis) + patience)
  return Option.getOrElse(verdict, () => Outcome.unknown("broadcast", "observed", { reference: broadcast.hash }))
})

/**
 * Sends a transaction unless it was sent before, and waits. Repeating it is safe: a chain takes a transaction once.
 *
 * **Details**
 *
 * Settled where it was mined and transferred all that was signed; void where a final block proves that it never can be, or
 * that it was reverted. Whatever the nodes say to what they are sent, it counts as sent.
 *
 * @category combinators
 * @since 0.1.0
 */
export const run = Effect.fnUntraced(function*(
  nodes: ReadonlyArray<Chain.Node>,
  broadcast: Broadcast
): Effect.fn.Return<Verdict> {
  const { hash, raw, sentBefore, transaction: { validBefore } } = broadcast
  const look = receipt(nodes, hash)
  const known = sentBefore ? yield* look : Option.none()
  const seen = persist(look, validBefore * 1000)
  const sent = Option.isSome(known) || Option.isNone(raw)
    ? known
    : yield* Effect.raceFirst(
      Effect.map(everywhere(nodes, (node) => node.send(raw.value)), Option.filter(of(hash))),
      Effect.delay(seen, silence)
    )
  /** Some as soon as nothing more is to be waited for. */
  const waited = Effect.gen(function*() {
    const mined = yield* look
    const isLate = (yield* Clock.currentTimeMillis) >= validBefore * 1000
    const isEnd = Option.isSome(mined) || (isLate && (yield* isOver(nodes, broadcast)))
    return isEnd ? Option.some(mined) : Option.none()
  })
  const mined = Option.isSome(sent) ? sent : Option.flatten(yield* persist(waited, validBefore * 1000 + patience))
  const verdict = Option.map(mined, (receipt) => Outcome.ofReceipt(broadcast, receipt, undefined))
  return Option.isSome(verdict) && verdict.value._tag === "Settled" && verdict.value.evidence.mismatch !== true
    ? verdict.value
    // That it was not mined, was reverted, or did something else, is for a final block to say.
    : yield* proof(nodes, broadcast)
})
