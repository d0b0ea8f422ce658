/**
 * The rail of MPP `tempo/charge`: a transfer of dollars on a Tempo chain, in a transaction that the merchant broadcasts and
 * may sponsor, or that the payer broadcasts; or, where nothing is charged, a proof of the account.
 *
 * Every field of a transaction comes from the offer, our tables and the program. From a node come an estimate of gas and the
 * base fee alone, and both are bounded; what it says of the chain's time can make a transaction end sooner, and never later.
 * A transaction carries its end in itself, so that after it nothing can be taken any more, and no two of them are alike.
 *
 * @since 0.1.0
 */
import * as Clock from "effect/Clock"
import * as SecureRandom from "effect/crypto/SecureRandom"
import * as Duration from "effect/Duration"
import * as Effect from "effect/Effect"
import * as Function from "effect/Function"
import type * as Layer from "effect/Layer"
import * as Number from "effect/Number"
import * as Option from "effect/Option"
import * as Result from "effect/Result"
import type { Address, Hex } from "viem"
import { getAddress } from "viem/utils"
import * as Amount from "../Amount.ts"
import * as Asset from "../Asset.ts"
import * as Chain from "../Chain.ts"
import type { Account } from "../Movement.ts"
import type { Offer } from "../Offer.ts"
import { PolicyDenied, WalletError } from "../PaymentError.ts"
import * as Rails from "../Rails.ts"
import { Wallet } from "../Wallet.ts"
import * as Credential from "../wire/mpp/Credential.ts"
import * as Source from "../wire/mpp/Source.ts"
import * as Wire from "../wire/mpp/TempoCharge.ts"
import * as TempoUnsigned from "../wire/mpp/TempoUnsigned.ts"
import * as ChargeVerdict from "./ChargeVerdict.ts"
import * as Eip3009 from "./Eip3009.ts"
import * as Draft from "./tempo/Draft.ts"
import * as Fees from "./tempo/Fees.ts"
import * as TempoAccount from "./tempoCharge/Account.ts"
import * as Outcome from "./tempoCharge/Outcome.ts"
import * as Payment from "./tempoCharge/Plan.ts"
import * as Push from "./tempoCharge/Push.ts"
import type { Signed } from "./tempoCharge/Search.ts"
import * as Terms from "./tempoCharge/Terms.ts"

/**
 * The name of the rail.
 *
 * @category constants
 * @since 0.1.0
 */
export const name = "tempo/charge"

/**
 * @category models
 * @since 0.1.0
 */
export interface Options extends Terms.Options {
  /** The most that the fee of one charge may come to, in US dollars; what is no amount allows none. Default: `"0.05"`. */
  readonly maxFee?: string | undefined
  /** What is offered beyond the base fee for a unit of gas, in units of 10^-18 US dollar. Default: 10^9. */
  readonly priorityFee?: bigint | undefined
  /**
   * For how long a transaction can be mined. Default: 25 seconds. Chains take 30 seconds at most before hard fork T11, and
   * five minutes since.
   */
  readonly validity?: Duration.Input | undefined
}

/** The longest validity that any chain takes, and the shortest that leaves time to be mined; in seconds. */
const validity = { most: 300, least: 6 }

/** A transaction is taken if it ends this many seconds after the chain's time, by whatever chain. */
const window = 30

/**
 * What the payer broadcasts has to be mined before he can present it: that much of a challenge's life is needed before, and
 * that much is left after; in seconds.
 */
const presentation = { before: 60, after: 10 }

const foreign = Outcome.unknown("the plan is not one of this rail")
const nothingCharged: Rails.Verdict = {
  _tag: "Void",
  evidence: new Rails.Evidence({ rank: "proven", what: "nothing was charged" })
}

const make = Effect.fnUntraced(function*(options: Options) {
  const wallet = yield* Wallet
  const chain = yield* Chain.Chain
  const random = yield* SecureRandom.SecureRandom
  const payer = getAddress(wallet.address)
  const from = lower(payer)
  // An offer and a plan are looked at more than once on the way of one payment, and never change.
  const table = yield* Asset.Table
  const terms = Function.memoize(Terms.make(options, { table, payer }))
  const fees = yield* Fees.make(chain.nodes, options.priorityFee ?? Fees.defaultPriorityFee)
  const read = Function.memoize(Payment.read)
  const maxFee = Option.getOrElse(Amount.parseUsd(options.maxFee ?? "0.05"), () => 0n)
  const lasting = Number.clamp(
    Math.floor(Duration.toSeconds(Duration.fromInputUnsafe(options.validity ?? "25 seconds"))),
    { minimum: validity.least, maximum: validity.most }
  )
  /** The hash of a transaction whose fee the payer pays, from its signature on. */
  const hashes = new WeakMap<Rails.Plan, Hex>()

  // -------------------------------------------------------------------------------------------------------------------
  // Planned
  // -------------------------------------------------------------------------------------------------------------------

  const accepted = (offer: Offer, origin: string): Result.Result<Terms.Terms, Rails.Unaccepted> =>
    Result.flatMap(terms(offer), (found): Result.Result<Terms.Terms, Rails.Unaccepted> => {
      const misplaced = Terms.misplaced(found, origin, options.realms)
      if (Option.isSome(misplaced)) return Result.fail(misplaced.value)
      return found.mode === "proof" || chain.nodes(found.asset.network).length > 0
        ? Result.succeed(found)
        : Result.fail({ why: `no RPC of ${found.asset.network} is configured` })
    })

  const transactionOf = Effect.fnUntraced(function*(offer: Offer, terms: Terms.Terms, now: number) {
    const { asset, chainId, feeToken, mode, transfers } = terms
    const expires = Math.floor((offer.expiresAt ?? Infinity) / 1000)
    const [least, end] = mode === "push"
      ? [presentation.before, expires - presentation.after]
      : [validity.least, expires]
    const wanted = Math.min(now + lasting, end)
    const late = new PolicyDenied({
      rule: "validity",
      detail: `the challenge leaves less than ${least} seconds to pay it`,
      offer
    })
    if (expires - now < least) return yield* late
    const calls = TempoUnsigned.calls(lower(asset.address), transfers)
    const quote = yield* fees.quote({
      payer: from,
      asset,
      units: offer.units,
      transfers,
      calls,
      feeToken,
      validBefore: wanted
    })
    // No validity of its own accord does for a chain that is twenty seconds behind us and for one that is fifteen ahead: the
    // first takes ten seconds at most, to the second these are over.
    const validBefore = Math.min(wanted, quote.chainTime + Math.max(lasting, window))
    if (validBefore - now < validity.least) {
      return yield* new PolicyDenied({ rule: "validity", detail: "the chain's clock is too far behind ours", offer })
    }
    return yield* Draft.make(random, { chainId, from, calls, quote, validBefore, feeToken })
  })

  const plan: Rails.Rail["plan"] = Effect.fn("TempoCharge.plan")(function*(offer, { origin }) {
    const found = accepted(offer, origin)
    if (Result.isFailure(found)) {
      return yield* new PolicyDenied({ rule: found.failure.rule ?? "rail", detail: found.failure.why, offer })
    }
    const { asset, chainId, challenge, mode, payee } = found.success
    const common = {
      rail: name,
      kind: "charge",
      network: asset.network,
      asset: asset.address,
      units: offer.units,
      payer,
      payee: getAddress(payee),
      ...(offer.expiresAt === undefined ? {} : { presentableUntil: offer.expiresAt })
    } as const
    if (mode === "proof") {
      const data: typeof Payment.Data.Encoded = { mode, challenge, chainId }
      const until = offer.expiresAt === undefined ? {} : { spendableUntil: offer.expiresAt }
      return new Rails.Plan({ ...common, ...until, data })
    }
    const plannedAt = Math.floor((yield* Clock.currentTimeMillis) / 1000)
    const transaction = yield* transactionOf(offer, found.success, plannedAt)
    const feeUsd = TempoUnsigned.maxFeeUsd(transaction)
    if (feeUsd > maxFee) {
      const detail = `its fee may come to $${Amount.formatUsd(feeUsd)}, and $${Amount.formatUsd(maxFee)} are allowed`
      return yield* new PolicyDenied({ rule: "fee", detail, offer })
    }
    const { clientId } = options
    const data: typeof Payment.Data.Encoded = {
      mode,
      challenge,
      transaction,
      ...(clientId === undefined ? {} : { clientId }),
      plannedAt
    }
    return new Rails.Plan({
      ...common,
      ...(feeUsd === 0n ? {} : { feeUsd }),
      spendableUntil: transaction.validBefore * 1000,
      mark: TempoAccount.mark({ network: asset.network, token: asset.address, payer }, found.success.transfers[0]),
      data
    })
  })

  // -------------------------------------------------------------------------------------------------------------------
  // Signed
  // -------------------------------------------------------------------------------------------------------------------

  const unusable = (detail: string) => new WalletError({ operation: "sign the payment", detail })

  const presenting = (
    { challenge }: Payment.Payment,
    chainId: number,
    payload: typeof Wire.Payload.Encoded
  ): Rails.Envelope => ({
    [Credential.headerOf(challenge)]: Credential.format({
      challenge,
      source: Source.format(chainId, payer),
      payload
    })
  })

  // What writes transactions takes a while to load, and a program that pays none on Tempo does without.
  const signer = yield* Effect.cached(
    Effect.flatMap(Effect.promise(() => import("./tempo/Signer.ts")), ({ make }) => make(wallet))
  )
  const signTransaction = (transaction: TempoUnsigned.Unsigned) => Effect.flatMap(signer, (sign) => sign(transaction))

  /** A transaction that was broadcast is signed again only if that gives the same one, and it was not mined yet. */
  const pushed = Effect.fnUntraced(function*(
    nodes: ReadonlyArray<Chain.Node>,
    { signed, transaction }: Extract<Payment.Payment, { readonly signed: Signed }>,
    before: Hex | undefined
  ): Effect.fn.Return<Push.Broadcast, WalletError> {
    if (before === undefined) {
      const raw = yield* signTransaction(transaction)
      return { ...signed, hash: TempoUnsigned.hash(raw), raw: Option.some(raw), sentBefore: false }
    }
    const again = wallet.resign === "same" && Option.isNone(yield* Push.receipt(nodes, before))
      ? yield* Effect.option(signTransaction(transaction))
      : Option.none()
    const raw = Option.filter(again, (raw) => TempoUnsigned.hash(raw) === before)
    return { ...signed, hash: before, raw, sentBefore: true }
  })

  const sign: Rails.Rail["sign"] = Effect.fn("TempoCharge.sign")(function*(plan, before) {
    const found = read(plan)
    if (Option.isNone(found)) return yield* unusable("the plan is not one of this rail")
    const payment = found.value
    if (plan.payer !== payer) return yield* unusable("the plan was made for another wallet")
    if (payment.mode === "proof") {
      const { challenge: { id, realm }, chainId } = payment
      const proof = Wire.proofTypedData({ account: payer, chainId, challengeId: id, realm })
      const signature = yield* wallet.signTypedData(proof)
      return { envelopes: [presenting(payment, chainId, { type: "proof", signature })] }
    }
    const { chainId, sponsored } = payment.transaction
    if (payment.mode === "push") {
      const nodes = chain.nodes(plan.network)
      const broadcast = yield* pushed(nodes, payment, before === undefined ? undefined : hex(before))
      hashes.set(plan, broadcast.hash)
      return {
        envelopes: [presenting(payment, chainId, { type: "hash", hash: broadcast.hash })],
        broadcast: { transaction: broadcast.hash, run: Push.run(nodes, broadcast) }
      }
    }
    const signature = yield* signTransaction(payment.transaction)
    if (!sponsored) hashes.set(plan, TempoUnsigned.hash(signature))
    return { envelopes: [presenting(payment, chainId, { type: "transaction", signature })] }
  })

  // -------------------------------------------------------------------------------------------------------------------
  // Judged
  // -------------------------------------------------------------------------------------------------------------------

  const judge: Rails.Rail["judge"] = (plan, answer, now) =>
    Option.match(read(plan), {
      onNone: () => foreign,
      onSome: ({ challenge, mode }) =>
        ChargeVerdict.judge(
          plan,
          {
            method: challenge.method,
            challengeId: challenge.id,
            reference: hashes.get(plan),
            // What was mined can be presented until the challenge expires.
            resendUntil: mode === "push" ? plan.presentableUntil ?? Infinity : undefined
          },
          answer,
          now
        )
    })

  const reconcile: Rails.Rail["reconcile"] = Effect.fn("TempoCharge.reconcile")(function*(plan) {
    const payment = read(plan)
    if (Option.isNone(payment)) return foreign
    if (payment.value.mode === "proof") return nothingCharged
    return yield* Outcome.reconcile(chain.nodes(plan.network), payment.value.signed, hashes.get(plan))
  })

  const balance: NonNullable<Rails.Rail["balance"]> = Effect.fn("TempoCharge.balance")(function*(plan) {
    const [node] = chain.nodes(plan.network)
    const payment = read(plan)
    if (node === undefined || Option.isNone(payment)) return Option.none()
    const held = Effect.timeoutOption(Eip3009.balance(node, hex(plan.asset), hex(plan.payer)), "2 seconds")
    const isFeeOnTop = payment.value.mode !== "proof" && payment.value.transaction.feeToken === lower(plan.asset)
    const fee = isFeeOnTop ? plan.feeUsd ?? 0n : 0n
    return Option.map(yield* held, (units) => units > fee ? units - fee : 0n)
  })

  const accounts = table.assets.flatMap((asset): ReadonlyArray<Account> => {
    const nodes = chain.nodes(asset.network)
    const isOurs = TempoAccount.isTip20(asset) && (options.chainId === undefined || options.chainId === asset.chainId)
    return isOurs && nodes.length > 0 ? [TempoAccount.make(nodes, asset, hex(asset.address), payer)] : []
  })

  const rail: Rails.Rail = {
    name,
    payer,
    accept: name,
    steps: 1,
    repeats: wallet.resign !== "no",
    accepts: (offer, origin) => Result.map(accepted(offer, origin), ({ asset }) => asset),
    plan,
    sign,
    judge,
    reconcile,
    balance,
    accounts,
    session: Option.none()
  }
  return rail
})

const hex = (text: string): Hex => `0x${text.replace(/^0x/i, "")}`

const lower = (address: string): Address => hex(address.toLowerCase())

/**
 * Adds the rail, paid for by the wallet.
 *
 * **Example** (Charges of at most half a cent in fees, or sponsored ones)
 *
 * ```ts
 * import * as Layer from "effect/Layer"
 * import * as TempoCharge from "effect-mpp/rails/TempoCharge"
 * import * as Wallet from "effect-mpp/Wallet"
 *
 * const TempoRail = TempoCharge.layer({ chainId: 4217, maxFee: "0.005" }).pipe(Layer.provide(Wallet.layerConfig()))
 * ```
 *
 * @category layers
 * @since 0.1.0
 */
export const layer = (options: Options = {}): Layer.Layer<
  never,
  never,
  Rails.Rails | Wallet | Chain.Chain | SecureRandom.SecureRandom
> => Rails.layerAdd(make(options))
