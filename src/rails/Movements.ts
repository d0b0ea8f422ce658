/**
 * Looks through a chain for the payments that have left an account.
 *
 * It goes from block to block in pages, at most so many in one go, and takes whatever a node says for no more than logs of the
 * form that it asked for. With several nodes it looks as far as all of them show, and finds what any of them does.
 *
 * @since 0.1.0
 */
import * as Effect from "effect/Effect"
import type { Hex } from "viem"
import * as Chain from "../Chain.ts"
import type { Since } from "../Movement.ts"
import { ChainError } from "../PaymentError.ts"

/**
 * Logs of payments.
 *
 * @category models
 * @since 0.1.0
 */
export interface Question {
  readonly token: Hex
  /** All of them, in their order: none is left open. */
  readonly topics: readonly [Hex, Hex]
  /** How many topics a log has. */
  readonly count: number
  /** Only what came since then; without that, nothing. */
  readonly since: Since | undefined
}

/**
 * A log, and the node that has shown it.
 *
 * @category models
 * @since 0.1.0
 */
export interface Shown {
  readonly log: Chain.Log
  readonly node: Chain.Node
  readonly isFinal: boolean
}

/**
 * What was found.
 *
 * @category models
 * @since 0.1.0
 */
export interface Found {
  readonly logs: ReadonlyArray<Shown>
  /** The last final block that was looked at, or the latest one where that is before the search begins. */
  readonly until: bigint
  /** Whether all that is final was looked at. */
  readonly isComplete: boolean
}

/** Most nodes answer for at least this many blocks at once. */
const blocksPerPage = 1_000n

/** One go takes seconds, also with a slow node. The next one continues after it. */
const maxPages = 8

/** So many payments are gone into in one go, unless there are more in one block. Each may have to be asked about. */
const maxLogs = 64

const sameHex = (one: string | undefined, other: string) => one?.toLowerCase() === other.toLowerCase()

const least = (one: bigint, other: bigint) => one < other ? one : other

/** The block before the first one of a time. A node that has none of that time yet knows nothing of what came since. */
const beforeTime = Effect.fnUntraced(function*(
  node: Chain.Node,
  latest: Chain.Block,
  millis: number
): Effect.fn.Return<bigint, ChainError> {
  const seconds = BigInt(Math.max(0, Math.floor(millis / 1_000)))
  if (latest.timestamp < seconds) {
    const detail = "the node's latest block is older than what the ledger has signed last"
    return yield* new ChainError({ network: node.network, operation: "logs", detail })
  }
  return (yield* Chain.firstBlockAt(node, latest, seconds)) - 1n
})

const lookAt = Effect.fnUntraced(function*(
  node: Chain.Node,
  question: Question
): Effect.fn.Return<Found, ChainError> {
  const { count, token, topics } = question
  const latest = yield* node.block("latest")
  if (question.since === undefined) return { logs: [], until: latest.number, isComplete: true }
  const since = typeof question.since === "bigint" ? question.since : yield* beforeTime(node, latest, question.since.at)
  // The node is behind, the chain began anew, or a node has lied before: all of it says nothing of what came since.
  if (latest.number < since) return { logs: [], until: latest.number, isComplete: false }
  const final = least((yield* node.block("finalized")).number, latest.number)
  const page = (fromBlock: bigint, toBlock: bigint) =>
    Effect.map(
      node.logs({ address: token, topics, fromBlock, toBlock }),
      (logs) =>
        logs.filter((log) =>
          log.blockNumber >= fromBlock && log.blockNumber <= toBlock && log.topics.length === count &&
          log.transactionHash.length === 66 && log.topics.every((topic) => topic.length === 66) &&
          sameHex(log.address, token) && topics.every((topic, at) => sameHex(log.topics[at], topic))
        )
    )
  const found: Array<Shown> = []
  let last = since
  let size = blocksPerPage
  for (let pages = 0; pages < maxPages && found.length < maxLogs && last < latest.number; pages++) {
    const from = last + 1n
    const to = least(last + size, latest.number)
    const logs = yield* Effect.result(page(from, to))
    if (from < to && (logs._tag === "Failure" || logs.success.length > maxLogs)) {
      // It may be too much at once.
      size = size > 10n ? size / 10n : 1n
      continue
    }
    if (logs._tag === "Failure") return yield* Effect.fail(logs.failure)
    for (const log of logs.success) found.push({ log, node, isFinal: log.blockNumber <= final })
    last = to
  }
  const until = least(last, final)
  // What a node has forgotten of what is final takes nothing back.
  return { logs: found, until: until < since ? since : until, isComplete: last >= final }
})

/**
 * Looks for logs.
 *
 * @category combinators
 * @since 0.1.0
 */
export const look = Effect.fnUntraced(function*(
  nodes: ReadonlyArray<Chain.Node>,
  question: Question
): Effect.fn.Return<Found, ChainError> {
  const all = yield* Effect.forEach(nodes, (node) => lookAt(node, question), { concurrency: "unbounded" })
  return {
    logs: all.flatMap(({ logs }) => logs),
    until: all.reduce((until, one) => least(until, one.until), all[0]?.until ?? 0n),
    isComplete: all.every(({ isComplete }) => isComplete)
  }
})

/**
 * The time of a block, in milliseconds since the epoch.
 *
 * @category getters
 * @since 0.1.0
 */
export const timeOf = (node: Chain.Node, block: bigint): Effect.Effect<number, ChainError> =>
  Effect.map(node.block(block), ({ timestamp }) => Number(timestamp) * 1_000)
