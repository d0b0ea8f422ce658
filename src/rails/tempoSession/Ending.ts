/**
 * How a channel ends. The merchant is asked to close it with the last voucher. If it does not, the payer asks the chain: after
 * sixteen minutes of the chain's time what the merchant did not take can be withdrawn. In any case the chain says the final
 * figure, once its block is final.
 *
 * Every step begins with a look at the chain, so that it can be repeated by anybody, after whatever was interrupted.
 *
 * @since 0.1.0
 */
import * as Clock from "effect/Clock"
import * as Duration from "effect/Duration"
import * as Effect from "effect/Effect"
import * as Option from "effect/Option"
import type { Hex } from "viem"
import type { AssetTable } from "../../Asset.ts"
import type * as Chain from "../../Chain.ts"
import type { Offer } from "../../Offer.ts"
import { ChainError, type ProtocolError, Unavailable, type WalletError } from "../../PaymentError.ts"
import * as Rails from "../../Rails.ts"
import type { Challenge } from "../../wire/mpp/Challenge.ts"
import * as Channel from "../../wire/mpp/Channel.ts"
import * as TempoUnsigned from "../../wire/mpp/TempoUnsigned.ts"
import type * as Merchant from "./Merchant.ts"
import * as Onchain from "./Onchain.ts"
import type { Handle, Open } from "./Plan.ts"
import type * as Transactions from "./Transactions.ts"

/** Between the request to end a channel and its withdrawal, in seconds of the chain's time: the grace and a minute. */
const grace = 16 * 60

/** A merchant that does not close a channel is asked again for so long, before the payer does it alone. */
const patience = Duration.minutes(10)

/** How often it is asked at least. */
const attempts = 3

/** For how long the end of a channel is waited for to be final, and how often it is looked for. */
const finality = { pause: "500 millis", times: 20 } as const

/** A node is often several machines: a final block has to be this much past the end of a transaction, in seconds. */
const margin = 5n

/**
 * What the endings need of the rail.
 *
 * @category models
 * @since 0.1.0
 */
export interface World {
  readonly chain: Chain.Chain["Service"]
  readonly merchant: ReturnType<typeof Merchant.make>
  readonly transactions: ReturnType<typeof Transactions.make>
  readonly table: AssetTable
  readonly feeToken: string | undefined
  /** The highest figure that was signed; undefined if that is not remembered. */
  readonly signed: (channel: Handle) => bigint | undefined
  /** The challenge of an offer that is made for this channel. */
  readonly isOurs: (offer: Offer, channel: Handle) => Challenge | undefined
  /** The last voucher, to be presented to the merchant. */
  readonly closing: (
    channel: Handle,
    challenge: Challenge,
    cumulative: bigint
  ) => Effect.Effect<Rails.Envelope, WalletError>
}

/** What was asked of a merchant that does not answer. */
interface Asked {
  readonly since: number
  readonly times: number
}

/** That there is no channel, and never will be: its opening has not been mined in time. */
const neverOpened = (found: Onchain.Fate, validBefore: number): Option.Option<Rails.Evidence> => {
  if (found._tag !== "Absent") return Option.none()
  const { final, latest } = found
  return latest.number >= final.number && final.timestamp >= BigInt(validBefore) + margin
    ? Option.some(
      new Rails.Evidence({ rank: "proven", what: "channel was never opened", detail: detailOf(found) })
    )
    : Option.none()
}

const detailOf = ({ final }: Extract<Onchain.Fate, { readonly _tag: "Absent" }>) => ({
  block: final.number.toString(),
  timestamp: final.timestamp.toString()
})

/**
 * Makes the endings.
 *
 * @category constructors
 * @since 0.1.0
 */
export const make = Effect.fnUntraced(function*(world: World) {
  const { chain, closing, isOurs, merchant, signed, table, transactions } = world
  /** May be forgotten: a merchant is asked for longer then. */
  const asked = new Map<Hex, Asked>()

  const networkOf = ({ chainId }: Channel.Place) => `eip155:${chainId}`

  const fate = (channel: Handle) => Onchain.fate(networkOf(channel), chain.nodes(networkOf(channel)), channel)

  const waiting = (network: string, detail: string) => new ChainError({ network, operation: "end a channel", detail })

  /** The figure counts when its block is final. It is flagged if it is more than was ever drawn. */
  const final = Effect.fnUntraced(function*(
    channel: Handle,
    drawn: Rails.Drawn
  ): Effect.fn.Return<Rails.Figures, ChainError> {
    for (let looked = 0; looked < finality.times; looked++) {
      const found = yield* fate(channel)
      if (found._tag === "Ended" && found.ended.evidence.rank === "proven") {
        asked.delete(channel.channelId)
        const { evidence, taken, transactions: hashes } = found.ended
        const feeUsd = yield* transactions.feesOf(networkOf(channel), hashes)
        const isMore = taken > drawn.spent + drawn.reserved
        const detail = {
          taken: taken.toString(),
          drawn: drawn.spent.toString(),
          reserved: drawn.reserved.toString()
        }
        const most = channel.openFee + 2n * channel.reserve
        return {
          spent: taken,
          remaining: 0n,
          open: false,
          feeUsd: feeUsd < most ? feeUsd : most,
          evidence: new Rails.Evidence({ ...evidence, detail, ...(isMore ? { mismatch: true } : {}) })
        }
      }
      yield* Effect.sleep(finality.pause)
    }
    return yield* waiting(networkOf(channel), "the end of the channel is not final yet; it is asked for again")
  })

  /** One transaction of the payer's own, which does nothing but end the channel. */
  const transact = Effect.fnUntraced(function*(
    channel: Handle,
    call: TempoUnsigned.Call,
    chainTime: number
  ): Effect.fn.Return<void, ChainError> {
    const network = networkOf(channel)
    const { descriptor: { token } } = channel
    const asset = table.find(network, token)
    const feeToken = table.find(network, world.feeToken ?? token)
    if (Option.isNone(asset) || Option.isNone(feeToken)) return yield* waiting(network, "its token is not in our table")
    const transaction = yield* transactions.build({
      chainId: channel.chainId,
      asset: asset.value,
      units: 0n,
      call,
      feeToken: feeToken.value,
      until: Infinity,
      chainTime
    }).pipe(
      Effect.catchTag(
        "InsufficientFunds",
        () => Effect.fail(waiting(network, "the wallet cannot pay the fee of the transaction that ends the channel"))
      )
    )
    if (TempoUnsigned.maxFeeUsd(transaction) > channel.reserve) {
      return yield* waiting(network, "gas is dearer than what was set aside for the end of the channel")
    }
    yield* transactions.send(network, transaction).pipe(
      Effect.catchTag("WalletError", ({ detail }) => Effect.fail(waiting(network, detail)))
    )
  })

  /** Asks the merchant; whether it says that it has closed the channel. */
  const cooperative = Effect.fnUntraced(function*(channel: Handle, drawn: Rails.Drawn, state: Onchain.State) {
    const offers = yield* merchant.offers(channel.resource)
    const challenge = offers.map((offer) => isOurs(offer, channel)).find((it) => it !== undefined)
    if (challenge === undefined) return false
    const least = drawn.spent > state.settled ? drawn.spent : state.settled
    const drawnAtMost = drawn.spent + drawn.reserved
    const known = signed(channel) ?? drawnAtMost
    // It cannot be owed more than it ever had a voucher for.
    const owed = known < drawnAtMost ? known : drawnAtMost
    const most = least > owed ? least : owed
    // The merchant may have delivered for draws of which nothing was heard: it takes what it delivered for, and no more.
    for (const cumulative of least === most ? [least] : [least, most]) {
      const answer = yield* merchant.manage(channel.resource, yield* closing(channel, challenge, cumulative))
      if (answer.status >= 200 && answer.status < 300) return true
      if (answer.status === 410) return false
    }
    return false
  })

  /** Whether the merchant had its chances; if not, this is one of them. */
  const isOverdue = (channelId: Hex) =>
    Effect.map(Clock.currentTimeMillis, (now) => {
      const { since, times } = asked.get(channelId) ?? { since: now, times: 0 }
      if (times >= attempts && now - since >= Duration.toMillis(patience)) return true
      asked.set(channelId, { since, times: times + 1 })
      return false
    })

  const close = Effect.fnUntraced(function*(
    channel: Handle,
    drawn: Rails.Drawn
  ): Effect.fn.Return<Rails.Figures, Unavailable | ProtocolError | ChainError> {
    const network = networkOf(channel)
    const { channelId } = channel
    const found = yield* fate(channel)
    if (found._tag === "Ended") return yield* final(channel, drawn)
    if (found._tag === "Absent") {
      const evidence = neverOpened(found, channel.validBefore)
      return Option.isSome(evidence)
        ? { spent: 0n, remaining: 0n, open: false, feeUsd: 0n, evidence: evidence.value }
        : yield* waiting(network, "the chain does not show the channel")
    }
    const { state, time } = found
    if (state.closeRequestedAt === 0) {
      // It may say again and again that it has closed the channel: the chain would show that.
      if (yield* isOverdue(channelId)) {
        yield* transact(channel, Channel.requestCloseCall(channel.descriptor), time)
        return yield* waiting(network, "the merchant does not close the channel; it ends without it in sixteen minutes")
      }
      const isAsked = yield* cooperative(channel, drawn, state).pipe(
        Effect.catchTag("WalletError", ({ detail }) => Effect.fail(waiting(network, detail))),
        Effect.catchTag("Unavailable", () => Effect.succeed(false))
      )
      return isAsked ? yield* final(channel, drawn) : yield* new Unavailable({ service: "merchant", notSent: false })
    }
    if (time < state.closeRequestedAt + grace) {
      return yield* waiting(network, "the channel ends without the merchant when sixteen minutes are over")
    }
    yield* transact(channel, Channel.withdrawCall(channel.descriptor), time)
    return yield* final(channel, drawn)
  })

  /** An opening of which nothing was heard, or whose process is gone: the chain knows whether there is a channel. */
  const ofOpening = Effect.fnUntraced(function*(
    plan: Rails.Plan,
    open: Open,
    drawn: Rails.Drawn | undefined
  ): Effect.fn.Return<Rails.Verdict, ChainError | Unavailable | ProtocolError> {
    const { validBefore } = open.transaction
    const channel: Handle = { ...open, openFee: TempoUnsigned.maxFeeUsd(open.transaction), validBefore }
    const found = yield* fate(channel)
    if (found._tag === "Absent") {
      return Option.match(neverOpened(found, validBefore), {
        onSome: (evidence): Rails.Verdict => ({ _tag: "Void", feeUsd: 0n, evidence }),
        onNone: () => ({
          _tag: "Unknown",
          content: false,
          evidence: new Rails.Evidence({
            rank: "observed",
            what: "channel not opened so far",
            detail: detailOf(found)
          }),
          next: { _tag: "reconcile" }
        })
      })
    }
    // The first voucher is all that the merchant can have, unless more was drawn.
    const most = drawn !== undefined && drawn.spent + drawn.reserved > open.first
      ? drawn
      : { limit: plan.units, spent: 0n, reserved: open.first }
    const { evidence, feeUsd, spent } = yield* close(channel, most)
    return {
      _tag: "Settled",
      units: spent,
      ...(feeUsd === undefined ? {} : { feeUsd }),
      content: false,
      evidence: evidence ?? new Rails.Evidence({ rank: "observed", what: "channel closed" })
    }
  })

  /** What the chain shows; what the merchant was promised and has not settled is not to be seen there. */
  const inspect = (
    channel: Handle,
    limit: bigint
  ): Effect.Effect<Rails.Figures, Unavailable> =>
    fate(channel).pipe(
      Effect.map((found): Rails.Figures =>
        found._tag === "Open"
          ? { spent: found.state.settled, remaining: found.state.deposit - found.state.settled, open: true }
          : found._tag === "Ended"
          ? { spent: found.ended.taken, remaining: 0n, open: false }
          : { spent: 0n, remaining: limit, open: false }
      ),
      Effect.mapError(() => new Unavailable({ service: "chain", notSent: false }))
    )

  return { close, inspect, ofOpening }
})
