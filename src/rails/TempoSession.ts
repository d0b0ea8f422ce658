/**
 * The rail of MPP `tempo/session`: a channel on a Tempo chain, and vouchers for what was asked for.
 *
 * A deposit goes into the reserve of the chain, and each request is paid by a voucher, which says how much the merchant may
 * take in all. So a lost answer is asked for again with the same voucher, and nothing is paid twice. What the merchant has not
 * earned comes back when the channel is closed: by the merchant, or by the payer alone if it takes sixteen minutes.
 *
 * @since 0.1.0
 */
import * as BigInt from "effect/BigInt"
import * as Clock from "effect/Clock"
import * as SecureRandom from "effect/crypto/SecureRandom"
import * as Effect from "effect/Effect"
import * as Function from "effect/Function"
import type * as Layer from "effect/Layer"
import * as Option from "effect/Option"
import * as Result from "effect/Result"
import { bytesToHex, getAddress } from "viem/utils"
import * as Amount from "../Amount.ts"
import * as Asset from "../Asset.ts"
import * as Chain from "../Chain.ts"
import type { Offer } from "../Offer.ts"
import { PaymentRejected, PolicyDenied, ProtocolError, RateLimited, WalletError } from "../PaymentError.ts"
import * as Rails from "../Rails.ts"
import * as Transport from "../Transport.ts"
import { Wallet } from "../Wallet.ts"
import * as Channel from "../wire/mpp/Channel.ts"
import * as TempoUnsigned from "../wire/mpp/TempoUnsigned.ts"
import * as Fees from "./tempo/Fees.ts"
import * as Drawing from "./tempoSession/Drawing.ts"
import * as Ending from "./tempoSession/Ending.ts"
import * as Merchant from "./tempoSession/Merchant.ts"
import * as Plan from "./tempoSession/Plan.ts"
import * as Terms from "./tempoSession/Terms.ts"
import * as Transactions from "./tempoSession/Transactions.ts"
import * as Vouchers from "./tempoSession/Vouchers.ts"
import { reconcile as askElsewhere, unknown } from "./Words.ts"

/**
 * The name of the rail.
 *
 * @category constants
 * @since 0.1.0
 */
export const name = "tempo/session"

/**
 * @category models
 * @since 0.1.0
 */
export interface Options extends Terms.Options {
  /** The most that the fee of opening a channel may come to, in US dollars. Default: `"0.05"`. */
  readonly maxFee?: string | undefined
  /** What is offered beyond the base fee for a unit of gas, in units of 10^-18 US dollar. Default: 10^9. */
  readonly priorityFee?: bigint | undefined
  /**
   * Whether channels are opened even if the ledger is kept in memory alone. A process that dies leaves its deposits behind
   * then. Default: false.
   */
  readonly allowEphemeral?: boolean | undefined
}

const make = Effect.fnUntraced(function*(options: Options) {
  const wallet = yield* Wallet
  const chain = yield* Chain.Chain
  const random = yield* SecureRandom.SecureRandom
  const table = yield* Asset.Table
  const merchant = Merchant.make(yield* Transport.Transport)
  const payer = getAddress(wallet.address)
  const from = Channel.lower(payer)
  const terms = Function.memoize(Terms.make(options, { table, payer }))
  const fees = yield* Fees.make(chain.nodes, options.priorityFee ?? Fees.defaultPriorityFee)
  const maxFee = Option.getOrElse(Amount.parseUsd(options.maxFee ?? "0.05"), () => 0n)
  const vouchers = Vouchers.make({ payer: from, wallet })
  const drawing = Drawing.make({ name, payer, terms, vouchers })

  // What writes transactions takes a while to load, and a program that opens no channel does without.
  const writer = yield* Effect.cached(
    Effect.flatMap(
      Effect.promise(() => import("./tempoSession/Writer.ts")),
      ({ make }) => make(wallet)
    )
  )
  const transactions = Transactions.make({
    chain,
    fees,
    random,
    payer: from,
    signTransaction: (transaction) => Effect.flatMap(writer, ({ sign }) => sign(transaction))
  })

  // -------------------------------------------------------------------------------------------------------------------
  // Opened
  // -------------------------------------------------------------------------------------------------------------------

  const accepted = (offer: Offer): Result.Result<Terms.Terms, Rails.Unaccepted> =>
    Result.flatMap(terms(offer), (found) =>
      chain.nodes(found.asset.network).length > 0
        ? Result.succeed(found)
        : Result.fail({ why: `no RPC of ${found.asset.network} is configured` }))

  const planOpen: Rails.SessionOps["planOpen"] = Effect.fn("TempoSession.planOpen")(function*(offer, context) {
    const deny = (rule: string, detail: string) => new PolicyDenied({ rule, detail, offer })
    const found = accepted(offer)
    if (Result.isFailure(found)) return yield* deny(found.failure.rule ?? "rail", found.failure.why)
    const { asset, chainId, challenge, escrow, feeToken, operator, payee, price, suggestedDeposit, token } =
      found.success
    // The merchant's suggestion can only lower what is put at its disposal.
    const wanted = BigInt.max(suggestedDeposit ?? context.limit, price)
    const deposit = wanted < context.limit ? wanted : context.limit
    const now = yield* Clock.currentTimeMillis
    const plannedAt = Math.floor(now / 1000)
    const until = Math.floor((offer.expiresAt ?? Infinity) / 1000)
    if (until - plannedAt < 6) {
      return yield* deny("validity", "the challenge leaves less than 6 seconds to open a channel")
    }
    const salt = bytesToHex(yield* random.randomBytes(32))
    const transaction = yield* transactions.build({
      chainId,
      asset,
      units: deposit,
      call: Channel.openCall({ payee, operator, token, deposit, salt, authorizedSigner: from }),
      feeToken,
      until
    })
    const openFee = TempoUnsigned.maxFeeUsd(transaction)
    if (openFee > maxFee) {
      const allowed = `and $${Amount.formatUsd(maxFee)} are allowed`
      return yield* deny("fee", `the fee of opening a channel may come to $${Amount.formatUsd(openFee)}, ${allowed}`)
    }
    // What ends a channel without the merchant is two transactions, which nobody sponsors.
    const reserve = Transactions.mostFee(transaction)
    const { expiringNonceHash } = yield* Effect.mapError(
      Effect.flatMap(writer, ({ describe }) => describe(transaction)),
      ({ detail }) => deny("rail", detail)
    )
    const descriptor = { payer: from, payee, operator, token, salt, authorizedSigner: from, expiringNonceHash }
    const data = Plan.encodeOpen({
      chainId,
      escrow,
      descriptor,
      channelId: Channel.id(descriptor, { chainId, escrow }),
      challenge,
      transaction,
      first: price,
      reserve,
      resource: context.resource,
      plannedAt,
      expiresAt: now + context.validityMillis
    })
    return new Rails.Plan({
      rail: name,
      kind: "open",
      network: asset.network,
      asset: asset.address,
      units: deposit,
      feeUsd: openFee + 2n * reserve,
      payer,
      payee: getAddress(payee),
      data
    })
  })

  const establish: Rails.SessionOps["establish"] = Effect.fn("TempoSession.establish")(function*(plan) {
    const open = Option.getOrUndefined(Plan.decodeOpen(plan.data))
    if (open === undefined || open.descriptor.payer !== from) {
      return yield* new WalletError({ operation: "open a channel", detail: "the plan was made for another wallet" })
    }
    const { chainId, challenge, channelId, descriptor, escrow, first, plannedAt, reserve, resource, transaction } = open
    const signed = yield* Effect.flatMap(writer, ({ sign }) => sign(transaction))
    const signature = yield* vouchers.sign(open, first)
    vouchers.remember(open, first, 0n)
    const answer = yield* merchant.manage(
      resource,
      vouchers.present(challenge, chainId, {
        action: "open",
        type: "transaction",
        channelId,
        transaction: signed,
        authorizedSigner: from,
        descriptor,
        cumulativeAmount: first.toString(),
        signature
      })
    )
    const receipt = Merchant.receiptOf(answer)
    const isOpen = answer.status >= 200 && answer.status < 300 &&
      Option.exists(receipt, (it) => it.channelId === channelId && it.acceptedCumulative <= first)
    if (!isOpen) {
      if (answer.status === 429) return yield* new RateLimited({})
      if (answer.status >= 400 && answer.status < 500) {
        return yield* new PaymentRejected({ rail: name, status: answer.status, problem: "channel-not-opened" })
      }
      return yield* new ProtocolError({
        protocol: "mpp",
        detail:
          `the merchant answers HTTP ${answer.status} to the opening of a channel, and does not say that it is open`
      })
    }
    return new Rails.SessionHandle({
      wireId: channelId,
      limit: plan.units,
      expiresAt: open.expiresAt,
      resumable: true,
      data: Plan.encodeHandle({
        chainId,
        escrow,
        descriptor,
        channelId,
        resource,
        reserve,
        first,
        openFee: TempoUnsigned.maxFeeUsd(transaction),
        validBefore: transaction.validBefore,
        plannedAt
      })
    })
  })

  // -------------------------------------------------------------------------------------------------------------------
  // Ended
  // -------------------------------------------------------------------------------------------------------------------

  const ending = yield* Ending.make({
    chain,
    merchant,
    transactions,
    table,
    feeToken: options.feeToken,
    signed: (channel) => vouchers.recall(channel)?.signed,
    isOurs: (offer, channel) =>
      Result.match(terms(offer), {
        onFailure: () => undefined,
        onSuccess: (found) => Terms.areOf(found, channel) ? found.challenge : undefined
      }),
    closing: (handle, challenge, cumulative) =>
      Effect.map(
        vouchers.sign(handle, cumulative),
        (signature) =>
          vouchers.present(challenge, handle.chainId, {
            action: "close",
            channelId: handle.channelId,
            descriptor: handle.descriptor,
            cumulativeAmount: cumulative.toString(),
            signature
          })
      )
  })

  const ours = (data: Option.Option<Plan.Handle>) =>
    Effect.mapError(
      Effect.fromOption(Option.filter(data, ({ descriptor }) => descriptor.payer === from)),
      () => new ProtocolError({ protocol: "mpp", detail: "the channel is one of another wallet" })
    )

  const rail: Rails.Rail = {
    name,
    payer,
    accept: name,
    steps: 0,
    repeats: wallet.resign !== "no",
    accepts: (offer) => Result.map(accepted(offer), ({ asset }) => asset),
    plan: (offer) =>
      Effect.fail(new PolicyDenied({ rule: "session-only", detail: "channels pay by session only", offer })),
    sign: drawing.sign,
    judge: drawing.judge,
    represent: drawing.represent,
    reconcile: Effect.fn("TempoSession.reconcile")(function*(plan, drawn) {
      if (plan.kind !== "open") return unknown("its channel is open", askElsewhere)
      return yield* Option.match(Plan.decodeOpen(plan.data), {
        onNone: () => Effect.succeed(Drawing.foreign),
        onSome: (open) => ending.ofOpening(plan, open, drawn)
      })
    }),
    session: Option.some({
      key: (offer) =>
        Result.match(terms(offer), {
          onFailure: () => offer.digest,
          onSuccess: ({ asset, chainId, escrow, operator, payee }) =>
            [chainId, escrow, payee, operator, asset.address.toLowerCase()].join("\n")
        }),
      inOrder: true,
      needsDurableLedger: options.allowEphemeral !== true,
      attests: false,
      planOpen,
      establish,
      planDraw: drawing.plan,
      isWorn: ({ limit, reserved }, price) => reserved > BigInt.max(3n * price, limit / 100n),
      inspect: Effect.fn("TempoSession.inspect")(function*(handle) {
        return yield* ending.inspect(yield* ours(Plan.decodeHandle(handle.data)), handle.limit)
      }),
      close: Effect.fn("TempoSession.close")(function*(handle, drawn) {
        const channel = yield* ours(Plan.decodeHandle(handle.data))
        const figures = yield* ending.close(channel, drawn)
        vouchers.forget(channel)
        return figures
      })
    })
  }
  return rail
})

/**
 * Adds the rail to the registry.
 *
 * @category layers
 * @since 0.1.0
 */
export const layer = (
  options: Options = {}
): Layer.Layer<
  never,
  never,
  Rails.Rails | Transport.Transport | Chain.Chain | Wallet | SecureRandom.SecureRandom
> => Rails.layerAdd(make(options))
