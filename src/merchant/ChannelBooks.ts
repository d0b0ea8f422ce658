/**
 * What a merchant knows of the channels that it is paid out of: the highest voucher of each, what was delivered for, and
 * what the chain says of it.
 *
 * Whoever serves writes down first: what is spent was taken out of a voucher before the handler runs, in one step that no
 * other step of the same channel can come between. So however many requests come at once, a channel never pays for more
 * than was signed.
 *
 * @since 0.1.0
 */
import * as Context from "effect/Context"
import * as Effect from "effect/Effect"
import * as Layer from "effect/Layer"
import * as Option from "effect/Option"
import * as Result from "effect/Result"
import type { Hex } from "viem"
import type * as Wire from "../wire/mpp/Channel.ts"

// ---------------------------------------------------------------------------------------------------------------------
// Models
// ---------------------------------------------------------------------------------------------------------------------

/**
 * A channel in the books. All amounts are base units of its token.
 *
 * @category models
 * @since 0.1.0
 */
export interface Channel extends Wire.Place {
  readonly channelId: Hex
  readonly descriptor: Wire.Descriptor
  /** What the chain holds for it, and what of that the payee has had. */
  readonly deposit: bigint
  readonly settled: bigint
  /** When its payer asked the chain for its end, in seconds since the epoch; 0 if it did not. */
  readonly closeRequestedAt: number
  /** When the chain was last asked, in milliseconds since the epoch. */
  readonly seenAt: number
  /** The highest voucher, and its signature. */
  readonly accepted: bigint
  readonly signature: Hex
  /** What was delivered for, and in how many answers. */
  readonly spent: bigint
  readonly units: number
  /** Until when somebody is closing it, in milliseconds since the epoch; 0 if nobody is. */
  readonly closing: number
  /** How it ended: by a transaction of ours, or by what others did. */
  readonly closed?: { readonly transaction?: Hex }
}

/**
 * Why a channel does not pay.
 *
 * @category models
 * @since 0.1.0
 */
export interface Refusal {
  readonly code:
    | "channel-not-found"
    | "channel-finalized"
    | "delta-too-small"
    | "amount-exceeds-deposit"
    | "insufficient-balance"
  readonly detail: string
  /** By how much the voucher is too low. */
  readonly requiredTopUp?: bigint
}

/**
 * One step: what it answers, and what the channel is after it. A channel that is not there is undefined; it stays as it is
 * where a step gives none. A step is pure, and may be run more than once.
 *
 * @category models
 * @since 0.1.0
 */
export type Step<A> = (channel: Channel | undefined) => readonly [answer: A, after: Channel | undefined]

/**
 * @category services
 * @since 0.1.0
 */
export class ChannelBooks extends Context.Service<ChannelBooks, {
  readonly get: (channelId: Hex) => Effect.Effect<Option.Option<Channel>>
  /** Runs a step. Steps of one channel come one after the other, and what a step leaves is there when this has answered. */
  readonly modify: <A>(channelId: Hex, step: Step<A>) => Effect.Effect<A>
  /** The channels that have not ended. */
  readonly open: Effect.Effect<ReadonlyArray<Channel>>
}>()("effect-mpp/merchant/ChannelBooks") {}

// ---------------------------------------------------------------------------------------------------------------------
// Layers
// ---------------------------------------------------------------------------------------------------------------------

/** So many ended channels are remembered, so that who asks again for the end of one is told how it ended. */
const endedKept = 1024

/**
 * Books in the memory of this process.
 *
 * **Gotchas**
 *
 * A restart forgets the vouchers, and with them what the channels owe: merchants who sell for real need books that outlive
 * them.
 *
 * @category layers
 * @since 0.1.0
 */
export const layerMemory: Layer.Layer<ChannelBooks> = Layer.sync(ChannelBooks, () => {
  const open = new Map<Hex, Channel>()
  const ended = new Map<Hex, Channel>()
  const put = (channel: Channel) => {
    if (channel.closed === undefined) return open.set(channel.channelId, channel)
    open.delete(channel.channelId)
    ended.set(channel.channelId, channel)
    const [oldest] = ended.keys()
    if (ended.size > endedKept && oldest !== undefined) ended.delete(oldest)
    return ended
  }
  const find = (channelId: Hex) => open.get(channelId) ?? ended.get(channelId)
  return ChannelBooks.of({
    get: (channelId) => Effect.sync(() => Option.fromUndefinedOr(find(channelId))),
    modify: (channelId, step) =>
      Effect.sync(() => {
        const [answer, after] = step(find(channelId))
        if (after !== undefined) put(after)
        return answer
      }),
    open: Effect.sync(() => [...open.values()])
  })
})

// ---------------------------------------------------------------------------------------------------------------------
// Accounting
// ---------------------------------------------------------------------------------------------------------------------

const larger = (one: bigint, other: bigint) => one > other ? one : other

/**
 * What the payee takes when a channel is closed: what it delivered for, and never less than it has had already.
 *
 * @category getters
 * @since 0.1.0
 */
export const due = ({ settled, spent }: Channel): bigint => larger(spent, settled)

/**
 * What is left of the highest voucher.
 *
 * @category getters
 * @since 0.1.0
 */
export const available = ({ accepted, spent }: Channel): bigint => larger(accepted - spent, 0n)

const unknown: Refusal = { code: "channel-not-found", detail: "The channel is not known here" }

/**
 * Why a channel does not take a voucher of some figure; none where it does. `now` is in milliseconds since the epoch.
 *
 * @category predicates
 * @since 0.1.0
 */
export const objection = (
  channel: Channel,
  { cumulative, minDelta, now }: { readonly cumulative: bigint; readonly minDelta: bigint; readonly now: number }
): Option.Option<Refusal> => {
  const { accepted, closed, closeRequestedAt, closing, deposit } = channel
  const over = (detail: string) => Option.some<Refusal>({ code: "channel-finalized", detail })
  if (closed !== undefined) return over("The channel is closed")
  if (closing > now) return over("The channel is being closed")
  if (closeRequestedAt !== 0) return over("The payer has asked the chain for the end of the channel")
  if (cumulative < accepted) {
    return Option.some({ code: "delta-too-small", detail: "The voucher is lower than one before it" })
  }
  if (cumulative > accepted && cumulative - accepted < minDelta) {
    return Option.some({ code: "delta-too-small", detail: "The voucher is too little above the one before it" })
  }
  return cumulative > deposit
    ? Option.some({ code: "amount-exceeds-deposit", detail: "The voucher is above the deposit of the channel" })
    : Option.none()
}

/**
 * Takes a voucher whose signature was looked at, and pays a price out of it if there is one to pay. A voucher that is not
 * enough for the price is kept all the same: it was signed.
 *
 * @category accounting
 * @since 0.1.0
 */
export const draw = (voucher: {
  readonly cumulative: bigint
  readonly signature: Hex
  readonly minDelta: bigint
  readonly now: number
  /** Nothing where nothing is bought. */
  readonly price: bigint | undefined
}): Step<Result.Result<Channel, Refusal>> =>
(channel) => {
  if (channel === undefined) return [Result.fail(unknown), undefined]
  const refusal = objection(channel, voucher)
  if (Option.isSome(refusal)) return [Result.fail(refusal.value), undefined]
  const { cumulative, price, signature } = voucher
  const raised = cumulative === channel.accepted ? channel : { ...channel, accepted: cumulative, signature }
  if (price === undefined) return [Result.succeed(raised), raised]
  const lacking = price - available(raised)
  if (lacking > 0n) {
    const detail = "What is left of the voucher is less than the price"
    return [Result.fail({ code: "insufficient-balance", detail, requiredTopUp: lacking }), raised]
  }
  const drawn = { ...raised, spent: raised.spent + price, units: raised.units + 1 }
  return [Result.succeed(drawn), drawn]
}

/**
 * Gives back what was taken for an answer that did not come. Too late for a channel that ends.
 *
 * @category accounting
 * @since 0.1.0
 */
export const giveBack = (price: bigint, now: number): Step<void> => (channel) =>
  channel === undefined || channel.closed !== undefined || channel.closing > now || channel.spent < price
    ? [undefined, undefined]
    : [undefined, { ...channel, spent: channel.spent - price, units: Math.max(0, channel.units - 1) }]

/**
 * Writes down what the chain says. Figures that only grow are not taken back on the word of a node that is behind.
 *
 * @category accounting
 * @since 0.1.0
 */
export const observe = (
  state: { readonly deposit: bigint; readonly settled: bigint; readonly closeRequestedAt: number },
  now: number
): Step<Channel | undefined> =>
(channel) => {
  if (channel === undefined || channel.closed !== undefined) return [channel, undefined]
  const seen: Channel = {
    ...channel,
    deposit: larger(channel.deposit, state.deposit),
    settled: larger(channel.settled, state.settled),
    closeRequestedAt: state.closeRequestedAt,
    seenAt: now
  }
  return [seen, seen]
}

/**
 * A channel that was opened; one that is there already stays as it is.
 *
 * @category accounting
 * @since 0.1.0
 */
export const enter = (opened: Channel): Step<Channel> => (channel) => [channel ?? opened, channel ?? opened]

/**
 * Keeps everybody else from a channel that is to be closed, until some time. From here nothing more is spent, unless nobody
 * closes it by then.
 *
 * @category accounting
 * @since 0.1.0
 */
export const beginClose = (
  voucher: { readonly cumulative: bigint; readonly signature: Hex } | undefined,
  { now, until }: { readonly now: number; readonly until: number }
): Step<"unknown" | "busy" | Channel> =>
(channel) => {
  if (channel === undefined) return ["unknown", undefined]
  if (channel.closed !== undefined) return [channel, undefined]
  if (channel.closing > now) return ["busy", undefined]
  const raised = voucher !== undefined && voucher.cumulative > channel.accepted
    ? { ...channel, accepted: voucher.cumulative, signature: voucher.signature }
    : channel
  const closing = { ...raised, closing: until }
  return [closing, closing]
}

/**
 * Leaves a channel that could not be closed as it was before.
 *
 * @category accounting
 * @since 0.1.0
 */
export const leaveOpen: Step<void> = (channel) =>
  channel === undefined || channel.closed !== undefined
    ? [undefined, undefined]
    : [undefined, { ...channel, closing: 0 }]

/**
 * The end of a channel: the transaction, and what the payee has got, where it was closed by us.
 *
 * @category accounting
 * @since 0.1.0
 */
export const end =
  (by?: { readonly transaction: Hex; readonly captured: bigint }): Step<Channel | undefined> => (channel) => {
    if (channel === undefined || channel.closed !== undefined) return [channel, undefined]
    const ended: Channel = by === undefined
      ? { ...channel, closing: 0, closed: {} }
      : { ...channel, closing: 0, settled: by.captured, closed: { transaction: by.transaction } }
    return [ended, ended]
  }
