/**
 * The till of a merchant who is paid out of channels: opens them, takes their vouchers, and closes them. Here meet the
 * books, the curve, and the chain. This module loads `viem/tempo`, which takes a while.
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
import type { Curve } from "../../Secp256k1.ts"
import * as Channel from "../../wire/mpp/Channel.ts"
import type * as TempoSession from "../../wire/mpp/TempoSession.ts"
import * as Voucher from "../../wire/mpp/Voucher.ts"
import * as ChannelBooks from "../ChannelBooks.ts"
import { notSettled, refuse, Unsettled } from "../ChargeWay.ts"
import { turns } from "../tempoCharges/Pull.ts"
import type * as Sponsor from "../tempoCharges/Sponsor.ts"
import type { Refused } from "../Way.ts"
import * as Deposits from "./Deposits.ts"
import * as Reserve from "./Reserve.ts"
import { busy, fits, isSame, otherChannel, refusedBy, type Terms, unknownChannel, unsigned } from "./Terms.ts"

/**
 * What a till works with.
 *
 * @category models
 * @since 0.1.0
 */
export interface World {
  readonly books: ChannelBooks.ChannelBooks["Service"]
  readonly nodes: (network: string) => ReadonlyArray<Chain.Node>
  readonly curve: Curve
  readonly reserve: Reserve.Options
  readonly feePayer: Sponsor.Options | undefined
  /** By how much a voucher of a channel has to be above the one before. */
  readonly minDelta: (channel: ChannelBooks.Channel) => bigint
  /** For how long what the chain says of a channel stays good. */
  readonly freshness: Duration.Duration
}

type Named<Action extends TempoSession.Payload["action"]> = Extract<TempoSession.Payload, { readonly action: Action }>

/**
 * A channel after a credential was taken, and the transaction that it took.
 *
 * @category models
 * @since 0.1.0
 */
export interface Taken {
  readonly channel: ChannelBooks.Channel
  readonly transaction?: Hex
}

/** A chain that cannot be asked for longer than this may hide that a channel ends. */
const blindFor = Duration.toMillis("5 minutes")

/** A transaction can be mined for less than this. */
const closingFor = Duration.toMillis("90 seconds")

/** A channel that no node shows for so long has ended. */
const unseenFor = Duration.toMillis("30 seconds")

/** Digests that are kept at hand. */
const digestsKept = 10_000

/** A node that showed a transaction may show what it did a moment later. */
const looks = { times: 20, pause: "250 millis" } as const

const networkOf = (chainId: number) => `eip155:${chainId}`

const notReached = (detail: string) => notSettled(new Unsettled({ outcome: "unavailable", detail }))

/**
 * Makes a till.
 *
 * @category constructors
 * @since 0.1.0
 */
export const make = (world: World) => {
  const { books, curve, feePayer, minDelta, nodes, reserve } = world
  const freshness = Duration.toMillis(world.freshness)
  const inTurn = turns()
  const crowded = notReached("too many of its account wait")
  const digests = new Map<Hex, (cumulative: bigint) => Hex>()
  /** When each channel was last looked at from here, so that of many requests at once only one asks. */
  const looked = new Map<Hex, number>()

  const nodesOf = ({ chainId }: { readonly chainId: number }) => nodes(networkOf(chainId))

  const digestOf = (channelId: Hex, chainId: number, cumulative: bigint): Hex => {
    const known = digests.get(channelId)
    if (known !== undefined) return known(cumulative)
    if (digests.size >= digestsKept) {
      digests.clear()
      looked.clear()
    }
    const digest = Voucher.digester({ chainId, channelId, escrow: Channel.escrowV2 })
    digests.set(channelId, digest)
    return digest(cumulative)
  }

  /** The signature in its one form, if the signer of the channel has made it. */
  const verify = Effect.fnUntraced(function*(
    { channelId, cumulativeAmount, signature }: Pick<Named<"voucher">, "channelId" | "cumulativeAmount" | "signature">,
    chainId: number,
    descriptor: Channel.Descriptor
  ): Effect.fn.Return<Hex, Refused> {
    const canonical = Voucher.parseSignature(signature)
    if (Option.isNone(canonical)) return yield* unsigned()
    const signer = yield* curve.recover(digestOf(channelId, chainId, cumulativeAmount), canonical.value)
    return Option.contains(signer, Channel.signer(descriptor)) ? canonical.value : yield* unsigned()
  })

  /** The channel as the chain has it, unless it was asked not long ago. */
  const refresh = Effect.fnUntraced(function*(
    channel: ChannelBooks.Channel,
    within: number
  ): Effect.fn.Return<ChannelBooks.Channel, Refused> {
    const { channelId } = channel
    const now = yield* Clock.currentTimeMillis
    if (now - Math.max(channel.seenAt, looked.get(channelId) ?? 0) < within) return channel
    looked.set(channelId, now)
    const state = yield* Effect.option(Reserve.state(nodesOf(channel), channelId))
    if (Option.isNone(state)) {
      return now - channel.seenAt < blindFor ? channel : yield* notReached("the chain does not answer")
    }
    if (state.value.deposit === 0n) {
      return yield* refusedBy(
        { code: "channel-finalized", detail: "The chain has no such channel any more" },
        channelId
      )
    }
    return (yield* books.modify(channelId, ChannelBooks.observe(state.value, now))) ?? channel
  })

  /** A channel of our books that a payload names, and that is what the challenge asks for. */
  const find = Effect.fnUntraced(function*(
    { channelId, descriptor }: Pick<TempoSession.Payload, "channelId" | "descriptor">,
    terms: Terms
  ): Effect.fn.Return<ChannelBooks.Channel, Refused> {
    const found = yield* books.get(channelId)
    if (Option.isNone(found)) return yield* unknownChannel(channelId)
    const channel = found.value
    if (descriptor === undefined || !isSame(channel.descriptor, descriptor)) return yield* otherChannel()
    if (channel.chainId !== terms.chainId || !fits(channel.descriptor, terms)) {
      return yield* refuse("verification-failed", "The channel pays somebody else, or in another token")
    }
    return channel
  })

  /** Takes a voucher, and pays a price out of it if there is one. */
  const voucher = Effect.fnUntraced(function*(
    payload: Pick<Named<"voucher">, "channelId" | "descriptor" | "cumulativeAmount" | "signature">,
    terms: Terms,
    price: bigint | undefined
  ): Effect.fn.Return<Taken, Refused> {
    const { channelId, cumulativeAmount: cumulative } = payload
    let channel = yield* Effect.flatMap(find(payload, terms), (found) => refresh(found, freshness))
    const now = yield* Clock.currentTimeMillis
    // What can be said without the curve is said first.
    const least = minDelta(channel)
    const refusal = ChannelBooks.objection(channel, { cumulative, minDelta: least, now })
    const isAbove = Option.exists(refusal, ({ code }) => code === "amount-exceeds-deposit")
    if (Option.isSome(refusal) && !isAbove) return yield* refusedBy(refusal.value, channelId)
    const isKnown = cumulative === channel.accepted && payload.signature.toLowerCase() === channel.signature
    const signature = isKnown ? channel.signature : yield* verify(payload, channel.chainId, channel.descriptor)
    // The payer may have added to the deposit without us.
    if (isAbove) channel = yield* refresh(channel, 1000)
    const drawn = yield* books.modify(
      channelId,
      ChannelBooks.draw({ cumulative, signature, minDelta: least, now, price })
    )
    return Result.isSuccess(drawn) ? { channel: drawn.success } : yield* refusedBy(drawn.failure, channelId)
  })

  /** What the chain keeps of a channel whose transaction was mined a moment ago. */
  const opened = Effect.fnUntraced(function*(
    place: { readonly chainId: number },
    channelId: Hex,
    isThere: (state: Reserve.State) => boolean
  ): Effect.fn.Return<Reserve.State, Refused> {
    for (let look = 0; look < looks.times; look++) {
      const state = yield* Effect.option(Reserve.state(nodesOf(place), channelId))
      if (Option.exists(state, isThere)) return Option.getOrThrow(state)
      yield* Effect.sleep(looks.pause)
    }
    return yield* notSettled(new Unsettled({ outcome: "unknown", detail: "the chain does not show the channel" }))
  })

  /** Opens the channel on the chain, unless it is there; nothing is believed of it but what its id stands for. */
  const open = Effect.fnUntraced(function*(
    payload: Named<"open">,
    terms: Terms,
    { expires, price }: { readonly expires: number; readonly price: bigint | undefined }
  ): Effect.fn.Return<Taken, Refused> {
    const { authorizedSigner, channelId, cumulativeAmount, descriptor, transaction: signed } = payload
    const { chainId } = terms
    const place = { chainId, escrow: Channel.escrowV2 }
    if (descriptor === undefined || Channel.id(descriptor, place) !== channelId) return yield* otherChannel()
    if (!fits(descriptor, terms) || (authorizedSigner ?? descriptor.authorizedSigner) !== descriptor.authorizedSigner) {
      return yield* refuse("verification-failed", "The channel is not made as the challenge asks for it")
    }
    // An opening of which the payer has heard nothing.
    if (Option.isSome(yield* books.get(channelId))) return yield* voucher(payload, terms, price)
    const signature = yield* verify(payload, chainId, descriptor)
    if (cumulativeAmount < (price ?? 0n)) {
      return yield* refuse("payment-insufficient", "The first voucher is less than the price")
    }
    const tooHigh = refusedBy(
      { code: "amount-exceeds-deposit", detail: "The voucher is above the deposit of the channel" },
      channelId
    )
    const before = yield* Effect.mapError(
      Reserve.state(nodesOf(place), channelId),
      () => notReached("the chain does not answer")
    )
    let transaction: Hex | undefined
    if (before.deposit === 0n) {
      const handed = { chainId, nodes: nodesOf(place), descriptor, signed, expires, feePayer, timeout: reserve.timeout }
      const { deposit, send } = yield* Deposits.opening(handed)
      if (cumulativeAmount > deposit) return yield* tooHigh
      transaction = yield* inTurn(descriptor.payer, send, crowded)
    }
    const state = yield* opened(place, channelId, ({ deposit }) => deposit > 0n)
    if (cumulativeAmount > state.deposit) return yield* tooHigh
    const now = yield* Clock.currentTimeMillis
    yield* books.modify(
      channelId,
      ChannelBooks.enter({
        ...place,
        ...state,
        channelId,
        descriptor,
        seenAt: now,
        accepted: cumulativeAmount,
        signature,
        // What was settled was delivered for, by somebody who kept these books before.
        spent: state.settled,
        units: 0,
        closing: 0
      })
    )
    const taken = yield* voucher(payload, terms, price)
    return { ...taken, ...(transaction === undefined ? {} : { transaction }) }
  })

  const topUp = Effect.fnUntraced(function*(
    payload: Named<"topUp">,
    terms: Terms,
    expires: number
  ): Effect.fn.Return<Taken, Refused> {
    const { additionalDeposit, channelId, transaction: signed } = payload
    const channel = yield* find(payload, terms)
    if (channel.closed !== undefined) {
      return yield* refusedBy({ code: "channel-finalized", detail: "The channel is closed" }, channelId)
    }
    const { chainId, deposit, descriptor } = channel
    const handed = { chainId, nodes: nodesOf(channel), descriptor, signed, expires, feePayer, timeout: reserve.timeout }
    const send = yield* Deposits.addition(handed, additionalDeposit)
    const transaction = yield* inTurn(descriptor.payer, send, crowded)
    const state = yield* opened(channel, channelId, (state) => state.deposit > deposit)
    const now = yield* Clock.currentTimeMillis
    const seen = yield* books.modify(channelId, ChannelBooks.observe(state, now))
    return { channel: seen ?? channel, transaction }
  })

  /** A node that is behind may not show a channel that was there a moment ago. */
  const hasEnded = Effect.fnUntraced(function*(channel: ChannelBooks.Channel) {
    const unseen = (yield* Clock.currentTimeMillis) - channel.seenAt
    return unseen >= unseenFor && (yield* Reserve.isGone(nodesOf(channel), channel.channelId))
  })

  /** Closes a channel with its highest voucher: what was delivered for goes to the payee. */
  const finish = Effect.fnUntraced(function*(
    channelId: Hex,
    last?: { readonly cumulative: bigint; readonly signature: Hex }
  ): Effect.fn.Return<Taken, Refused> {
    const now = yield* Clock.currentTimeMillis
    const channel = yield* books.modify(channelId, ChannelBooks.beginClose(last, { now, until: now + closingFor }))
    if (channel === "unknown") return yield* unknownChannel(channelId)
    if (channel === "busy") return yield* busy()
    const ended = (after: ChannelBooks.Channel): Taken => ({
      channel: after,
      ...(after.closed?.transaction === undefined ? {} : { transaction: after.closed.transaction })
    })
    if (channel.closed !== undefined) return ended(channel)
    const attempt = Effect.gen(function*() {
      const state = yield* Effect.mapError(
        Reserve.state(nodesOf(channel), channelId),
        () => new Unsettled({ outcome: "unavailable", detail: "the chain does not answer" })
      )
      if (state.deposit === 0n) {
        if (yield* hasEnded(channel)) return undefined
        return yield* new Unsettled({ outcome: "unavailable", detail: "the chain does not show the channel" })
      }
      const spent = ChannelBooks.due(channel)
      const captured = spent > state.settled ? spent : state.settled
      const data = Reserve.closeData(channel.descriptor, channel, captured)
      const { chainId, descriptor: { token } } = channel
      return { captured, transaction: yield* Reserve.transact(reserve, nodesOf(channel), chainId, token, data) }
    })
    const by = yield* attempt.pipe(
      Effect.tapError(({ outcome }) =>
        outcome === "unknown" ? Effect.void : books.modify(channelId, ChannelBooks.leaveOpen)
      ),
      Effect.mapError(({ detail }) => notReached(detail))
    )
    return ended((yield* books.modify(channelId, ChannelBooks.end(by))) ?? channel)
  })

  /** The payer asks for the end, by a voucher of at least what was delivered for. */
  const close = Effect.fnUntraced(function*(payload: Named<"close">, terms: Terms): Effect.fn.Return<Taken, Refused> {
    const { channelId, cumulativeAmount: cumulative } = payload
    const channel = yield* find(payload, terms)
    const lacking = ChannelBooks.due(channel) - cumulative
    if (channel.closed === undefined && lacking > 0n) {
      const detail = "The last voucher is less than what was delivered for"
      return yield* refusedBy({ code: "insufficient-balance", detail, requiredTopUp: lacking }, channelId)
    }
    if (cumulative > channel.deposit) {
      const detail = "The voucher is above the deposit of the channel"
      return yield* refusedBy({ code: "amount-exceeds-deposit", detail }, channelId)
    }
    const signature = yield* verify(payload, channel.chainId, channel.descriptor)
    return yield* finish(channelId, { cumulative, signature })
  })

  /** Takes what vouchers are good for; none that is above what was delivered for. */
  const settle = Effect.fnUntraced(function*(channel: ChannelBooks.Channel) {
    const { accepted, chainId, channelId, descriptor, spent } = channel
    if (accepted > spent) return
    const data = Reserve.settleData(descriptor, channel)
    yield* Reserve.transact(reserve, nodesOf(channel), chainId, descriptor.token, data)
    const state = yield* Reserve.state(nodesOf(channel), channelId)
    yield* books.modify(channelId, ChannelBooks.observe(state, yield* Clock.currentTimeMillis))
  })

  /**
   * Looks at all open channels of these terms: closes those whose payers have asked the chain for their end, and settles
   * those that owe at least so much.
   */
  const sweep = Effect.fnUntraced(function*(
    terms: ReadonlyArray<Terms>,
    settleAt: (channel: ChannelBooks.Channel) => bigint | undefined
  ) {
    const one = Effect.fnUntraced(function*(channel: ChannelBooks.Channel) {
      const { channelId } = channel
      const state = yield* Reserve.state(nodesOf(channel), channelId)
      if (state.deposit === 0n) {
        if (yield* hasEnded(channel)) yield* finish(channelId)
        return
      }
      const now = yield* Clock.currentTimeMillis
      const seen = yield* books.modify(channelId, ChannelBooks.observe(state, now))
      if (seen === undefined || seen.closed !== undefined || seen.closing > now) return
      const least = settleAt(seen)
      const owed = seen.accepted - seen.settled
      if (seen.closeRequestedAt !== 0) yield* finish(channelId)
      else if (least !== undefined && owed > 0n && owed >= least) yield* settle(seen)
    })
    const ours = (yield* books.open).filter(({ chainId, descriptor }) =>
      terms.some((some) => some.chainId === chainId && fits(descriptor, some))
    )
    yield* Effect.forEach(ours, (channel) => Effect.ignore(one(channel)), { discard: true })
  })

  return {
    open: (payload: Named<"open">, terms: Terms, sale: Parameters<typeof open>[2]) =>
      Effect.uninterruptible(open(payload, terms, sale)),
    voucher,
    topUp: (payload: Named<"topUp">, terms: Terms, expires: number) =>
      Effect.uninterruptible(topUp(payload, terms, expires)),
    close: (payload: Named<"close">, terms: Terms) => Effect.uninterruptible(close(payload, terms)),
    sweep,
    giveBack: (channelId: Hex, price: bigint) =>
      Effect.flatMap(Clock.currentTimeMillis, (now) => books.modify(channelId, ChannelBooks.giveBack(price, now)))
  }
}
