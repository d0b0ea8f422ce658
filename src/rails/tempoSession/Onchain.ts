/**
 * What the chain knows of a channel: whether it is open, and how it ended.
 *
 * @since 0.1.0
 */
import * as Effect from "effect/Effect"
import * as Option from "effect/Option"
import * as Result from "effect/Result"
import type { Hex } from "viem"
import { decodeEventLog, decodeFunctionResult, encodeEventTopics, encodeFunctionData } from "viem/utils"
import * as Chain from "../../Chain.ts"
import { ChainError } from "../../PaymentError.ts"
import { Evidence } from "../../Rails.ts"
import * as Channel from "../../wire/mpp/Channel.ts"

/**
 * A channel on its chain.
 *
 * @category models
 * @since 0.1.0
 */
export interface Located extends Channel.Place {
  readonly channelId: Hex
  /** When its opening was planned, in seconds since the epoch: its events are looked for from there. */
  readonly plannedAt: number
}

/**
 * What the reserve keeps of a channel. Without a deposit there is none: it was never opened, or has ended.
 *
 * @category models
 * @since 0.1.0
 */
export interface State {
  readonly settled: bigint
  readonly deposit: bigint
  /** Seconds since the epoch; 0 unless the payer asked for its end. */
  readonly closeRequestedAt: number
}

/**
 * How a channel ended: what its payer did not get back.
 *
 * @category models
 * @since 0.1.0
 */
export interface Ended {
  readonly taken: bigint
  readonly evidence: Evidence
  /** The transactions that opened the channel, asked for its end, and ended it. */
  readonly transactions: ReadonlyArray<Hex>
}

const malformed = (network: string) =>
  new ChainError({ network, operation: "channel", detail: "the reserve of channels answers what cannot be read" })

const readState = Option.liftThrowable((data: Hex): State =>
  decodeFunctionResult({ abi: Channel.abi, functionName: "getChannelState", data })
)

/** By how much our clock may be ahead of the chain's, in seconds. */
const clockSkew = 300n

const [openedTopic] = encodeEventTopics({ abi: Channel.abi, eventName: "ChannelOpened" })
const [requestedTopic] = encodeEventTopics({ abi: Channel.abi, eventName: "CloseRequested" })
const [closedTopic] = encodeEventTopics({ abi: Channel.abi, eventName: "ChannelClosed" })

/**
 * Asks one node for the state of a channel.
 *
 * @category combinators
 * @since 0.1.0
 */
export const state = Effect.fnUntraced(function*(
  node: Chain.Node,
  { channelId, escrow }: Located
): Effect.fn.Return<State, ChainError> {
  const data = yield* node.call(
    escrow,
    encodeFunctionData({ abi: Channel.abi, functionName: "getChannelState", args: [channelId] }),
    "latest"
  )
  return yield* Effect.mapError(Effect.fromOption(readState(data)), () => malformed(node.network))
})

const eventsOf = Effect.fnUntraced(function*(node: Chain.Node, { channelId, escrow, plannedAt }: Located) {
  const latest = yield* node.block("latest")
  const fromBlock = yield* Chain.firstBlockAt(node, latest, BigInt(plannedAt) - clockSkew)
  const logs = yield* node.logs({
    address: escrow,
    topics: [[openedTopic, requestedTopic, closedTopic], channelId],
    fromBlock,
    toBlock: latest.number
  })
  const isAbout = ({ address, topics: [, subject] }: Chain.Log) =>
    address.toLowerCase() === escrow && subject?.toLowerCase() === channelId
  return { latest, logs: logs.filter(isAbout) }
})

const readClosed = Option.liftThrowable((log: Chain.Log) => {
  const [signature, ...indexed] = log.topics
  return decodeEventLog({
    abi: Channel.abi,
    eventName: "ChannelClosed",
    data: log.data,
    topics: [signature!, ...indexed]
  }).args
})

/** How a channel ended, as its events tell; none if they tell nothing. */
const endedBy = (logs: ReadonlyArray<Chain.Log>, final: Chain.Block): Option.Option<Ended> =>
  Option.firstSomeOf(
    logs.filter(({ topics: [signature] }) => signature === closedTopic).map((log) =>
      Option.map(readClosed(log), ({ settledToPayee }): Ended => ({
        taken: settledToPayee,
        evidence: new Evidence({
          rank: log.blockNumber <= final.number ? "proven" : "observed",
          what: "channel closed",
          reference: log.transactionHash.toLowerCase()
        }),
        transactions: [...new Set(logs.map(({ transactionHash }) => transactionHash))]
      }))
    )
  )

/**
 * What became of a channel, as one node sees it.
 *
 * @category models
 * @since 0.1.0
 */
export type Fate =
  | { readonly _tag: "Open"; readonly state: State; readonly time: number }
  | { readonly _tag: "Ended"; readonly ended: Ended }
  /** There is none so far. */
  | { readonly _tag: "Absent"; readonly final: Chain.Block; readonly latest: Chain.Block }

const askOne = Effect.fnUntraced(function*(node: Chain.Node, channel: Located): Effect.fn.Return<Fate, ChainError> {
  const final = yield* node.block("finalized")
  const current = yield* state(node, channel)
  if (current.deposit > 0n) {
    const { timestamp } = yield* node.block("latest")
    return { _tag: "Open", state: current, time: Number(timestamp) }
  }
  const { latest, logs } = yield* eventsOf(node, channel)
  const ended = endedBy(logs, final)
  if (Option.isSome(ended)) return { _tag: "Ended", ended: ended.value }
  if (logs.length > 0) {
    return yield* new ChainError({
      network: node.network,
      operation: "channel",
      detail: "the channel was opened and is not there any more, and its end is not shown"
    })
  }
  return { _tag: "Absent", final, latest }
})

/**
 * What became of a channel. That it ended, or never was, takes all nodes; that it is open, the first that says so.
 *
 * @category combinators
 * @since 0.1.0
 */
export const fate = Effect.fnUntraced(function*(
  network: string,
  nodes: ReadonlyArray<Chain.Node>,
  channel: Located
): Effect.fn.Return<Fate, ChainError> {
  const answers = yield* Effect.forEach(nodes, (node) => Effect.result(askOne(node, channel)), {
    concurrency: "unbounded"
  })
  const fates = answers.flatMap((answer) => Result.isSuccess(answer) ? [answer.success] : [])
  const open = fates.find(({ _tag }) => _tag === "Open")
  if (open !== undefined) return open
  const failure = answers.find(Result.isFailure)
  if (failure !== undefined) return yield* failure.failure
  const [first, ...others] = fates
  if (first === undefined) {
    return yield* new ChainError({ network, operation: "channel", detail: "no RPC is configured" })
  }
  const disagree = () =>
    new ChainError({ network, operation: "channel", detail: "the nodes disagree on what became of the channel" })
  if (first._tag === "Ended") {
    const ends = [first, ...others].flatMap((fate) => fate._tag === "Ended" ? [fate.ended] : [])
    if (ends.length <= others.length || ends.some(({ taken }) => taken !== first.ended.taken)) return yield* disagree()
    return { _tag: "Ended", ended: ends.find(({ evidence }) => evidence.rank !== "proven") ?? first.ended }
  }
  const oldest = fates.reduce((least, fate) =>
    least._tag === "Absent" && fate._tag === "Absent" && fate.final.timestamp < least.final.timestamp ? fate : least
  )
  return fates.every(({ _tag }) => _tag === "Absent") ? oldest : yield* disagree()
})
