/**
 * The rail of MPP `evm/charge`: an EIP-3009 authorisation that the merchant submits. We sign, pay no gas, and never
 * broadcast.
 *
 * The nonce is the digest of the challenge. A token takes a nonce once, so of all that is ever signed for one challenge, by
 * whichever purchase, at most one can be taken.
 *
 * @since 0.1.0
 */
import * as Clock from "effect/Clock"
import * as Effect from "effect/Effect"
import * as Function from "effect/Function"
import type * as Layer from "effect/Layer"
import * as Option from "effect/Option"
import * as Result from "effect/Result"
import * as Schema from "effect/Schema"
import type * as Chain from "../Chain.ts"
import type { Offer } from "../Offer.ts"
import { PolicyDenied } from "../PaymentError.ts"
import * as Policy from "../Policy.ts"
import * as Rails from "../Rails.ts"
import type { Wallet } from "../Wallet.ts"
import * as Challenge from "../wire/mpp/Challenge.ts"
import * as Credential from "../wire/mpp/Credential.ts"
import * as EvmCharge from "../wire/mpp/EvmCharge.ts"
import * as Source from "../wire/mpp/Source.ts"
import * as ChargeVerdict from "./ChargeVerdict.ts"
import type * as Eip3009 from "./Eip3009.ts"
import * as Eip3009Payer from "./Eip3009Payer.ts"

/**
 * The name of the rail.
 *
 * @category constants
 * @since 0.1.0
 */
export const name = "evm/charge"

/**
 * @category models
 * @since 0.1.0
 */
export interface Options extends Eip3009Payer.Options {
  /**
   * Whether challenges that never expire are answered, by authorisations that are valid for `maxValidity`. Default: false.
   */
  readonly allowNoExpiry?: boolean | undefined
}

/** The complete unsigned payment, and the challenge that it answers. */
const Data = Schema.Struct({ ...Eip3009Payer.Message.fields, challenge: Challenge.Challenge })

const decodePlan = Schema.decodeUnknownOption(Data)
/** An offer and a plan are looked at more than once on the way of one payment, and never change. */
const decodeData = Function.memoize((plan: Rails.Plan) => decodePlan(plan.data))

interface Terms extends Eip3009Payer.Terms {
  readonly challenge: Challenge.Challenge
}

/** Reads the terms of an offer, all of them checked. */
const termsOf =
  (payer: Eip3009Payer.Payer, { allowNoExpiry = false }: Options) =>
  (offer: Offer): Result.Result<Terms, Rails.Unaccepted> => {
    const refuse = (why: string) => Result.fail({ why })
    if (offer.protocol !== "mpp" || offer.method !== "evm" || offer.intent !== "charge") {
      return refuse("not a charge of the method evm")
    }
    const demanded = Challenge.fromOffer(offer)
    if (Option.isNone(demanded)) return refuse("the challenge cannot be read")
    const challenge = demanded.value
    const decoded = EvmCharge.fromChallenge(challenge)
    if (Result.isFailure(decoded)) return refuse(`the challenge cannot be answered: ${decoded.failure}`)
    const request = decoded.success
    const { amount, currency, methodDetails, recipient } = request
    const isTheOffer = amount === offer.units && currency === offer.asset.toLowerCase() &&
      recipient === offer.payee.toLowerCase() && `eip155:${methodDetails.chainId}` === offer.network
    if (!isTheOffer) return refuse("the challenge is not the one that the offer was made of")
    if (!EvmCharge.takesAuthorization(request)) return refuse("the merchant does not take a single authorisation")
    if (offer.expiresAt === undefined && !allowNoExpiry) return refuse("the challenge never expires")
    return Result.map(
      payer.terms({ network: offer.network, asset: currency, units: amount, payee: recipient }),
      (terms) => ({ ...terms, challenge })
    )
  }

const make = Effect.fnUntraced(function*(options: Options) {
  const payer = yield* Eip3009Payer.make(options)
  const terms = Function.memoize(termsOf(payer, options))

  const plan: Rails.Rail["plan"] = Effect.fn("EvmCharge.plan")(function*(offer) {
    const accepted = terms(offer)
    if (Result.isFailure(accepted)) {
      return yield* new PolicyDenied({ rule: accepted.failure.rule ?? "rail", detail: accepted.failure.why, offer })
    }
    const { asset, challenge, domain, payee } = accepted.success
    const plannedAt = Math.floor((yield* Clock.currentTimeMillis) / 1000)
    const validBefore = Math.min(Math.floor((offer.expiresAt ?? Infinity) / 1000), plannedAt + payer.maxValidity)
    if (validBefore - plannedAt < Policy.minValiditySeconds) {
      const detail = `the challenge expires in less than ${Policy.minValiditySeconds} seconds`
      return yield* new PolicyDenied({ rule: "validity", detail, offer })
    }
    const authorization: Eip3009.Authorization = {
      from: payer.address,
      to: payee,
      value: offer.units.toString(),
      validAfter: "0",
      validBefore: validBefore.toString(),
      nonce: EvmCharge.nonce(challenge)
    }
    const data: typeof Data.Encoded = { domain, authorization, plannedAt, challenge }
    return new Rails.Plan({
      rail: name,
      kind: "charge",
      network: asset.network,
      asset: asset.address,
      units: offer.units,
      payer: payer.address,
      payee,
      spendableUntil: validBefore * 1000,
      // What can no longer be taken is not worth presenting, however long the challenge lives.
      presentableUntil: validBefore * 1000,
      mark: payer.mark(domain, authorization.nonce),
      data
    })
  })

  const sign: Rails.Rail["sign"] = Effect.fn("EvmCharge.sign")(function*(plan) {
    const data = decodeData(plan)
    if (Option.isNone(data)) return yield* Eip3009Payer.foreign.sign
    const { authorization, challenge, domain } = data.value
    const signature = yield* payer.sign(plan, data.value)
    const credential = Credential.format({
      challenge,
      source: Source.format(domain.chainId, payer.address),
      payload: { type: "authorization", ...authorization, signature }
    })
    return { envelopes: [{ [Credential.headerOf(challenge)]: credential }] }
  })

  const rail: Rails.Rail = {
    name,
    payer: payer.address,
    accept: name,
    steps: 1,
    repeats: payer.repeats,
    accepts: (offer) => Result.map(terms(offer), ({ asset }) => asset),
    plan,
    sign,
    judge: (plan, answer, now) =>
      Option.match(decodeData(plan), {
        onNone: () => Eip3009Payer.foreign.verdict,
        onSome: ({ challenge }) =>
          ChargeVerdict.judge(plan, { method: challenge.method, challengeId: challenge.id }, answer, now)
      }),
    reconcile: payer.reconcile,
    balance: payer.balance,
    accounts: payer.accounts,
    session: Option.none()
  }
  return rail
})

/**
 * Adds the rail, paid for by the wallet.
 *
 * **Example** (Paying on Base alone)
 *
 * ```ts
 * import * as Layer from "effect/Layer"
 * import * as EvmCharge from "effect-mpp/rails/EvmCharge"
 * import * as Wallet from "effect-mpp/Wallet"
 *
 * const BaseRail = EvmCharge.layer({ networks: ["eip155:8453"] }).pipe(Layer.provide(Wallet.layerConfig()))
 * ```
 *
 * @category layers
 * @since 0.1.0
 */
export const layer = (options: Options = {}): Layer.Layer<never, never, Rails.Rails | Wallet | Chain.Chain> =>
  Rails.layerAdd(make(options))
