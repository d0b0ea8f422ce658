/**
 * The rail of x402 `exact` on EVM chains: an EIP-3009 authorisation that a facilitator submits. We sign, pay no gas, and
 * never broadcast.
 *
 * Of what a merchant says, only price, payee and patience go into the signature. Decimals, contract, chain and domain come
 * from our own table; a demand that contradicts it is refused.
 *
 * @since 0.1.0
 */
import * as Array from "effect/Array"
import * as Clock from "effect/Clock"
import * as SecureRandom from "effect/crypto/SecureRandom"
import * as Effect from "effect/Effect"
import * as Function from "effect/Function"
import type * as Layer from "effect/Layer"
import * as Option from "effect/Option"
import * as Result from "effect/Result"
import * as Schema from "effect/Schema"
import { sha256, stringToHex } from "viem/utils"
import type * as Asset from "../Asset.ts"
import type * as Chain from "../Chain.ts"
import type { Offer } from "../Offer.ts"
import { PolicyDenied } from "../PaymentError.ts"
import * as Policy from "../Policy.ts"
import * as Rails from "../Rails.ts"
import type { Wallet } from "../Wallet.ts"
import * as Json from "../wire/Json.ts"
import * as Envelope from "../wire/x402/Envelope.ts"
import * as Eip3009 from "./Eip3009.ts"
import * as Eip3009Payer from "./Eip3009Payer.ts"
import { judge } from "./ExactEvmVerdict.ts"

/**
 * The name of the rail.
 *
 * @category constants
 * @since 0.1.0
 */
export const name = "x402/exact"

/**
 * @category models
 * @since 0.1.0
 */
export type Options = Eip3009Payer.Options

/** A demand's parts that are sent back are left out above this length, in characters, as the protocol allows. */
const maxEcho = 4096

// ---------------------------------------------------------------------------------------------------------------------
// What is demanded
// ---------------------------------------------------------------------------------------------------------------------

/** Why an envelope does not fit the offer that was made of it, or our table. */
const misfit = ({ requirement, version }: Envelope.Envelope, offer: Offer, asset: Asset.Asset): string | undefined => {
  const extra = Json.isObject(requirement.extra) ? requirement.extra : {}
  const units = version === 1 ? requirement.maxAmountRequired : requirement.amount
  const isTheOffer = units === offer.units.toString() && isSame(requirement.asset, offer.asset) &&
    isSame(requirement.payTo, offer.payee)
  if (!isTheOffer) return "the demand is not the one that the offer was made of"
  const isOurs = (value: Schema.Json | undefined, ours: string | undefined) =>
    value === ours || (version === 1 && isAbsent(value))
  if (!isOurs(extra.name, asset.domain?.name) || !isOurs(extra.version, asset.domain?.version)) {
    return "its EIP-712 domain is not the one of the asset in our table"
  }
  if (!isAbsent(extra.assetTransferMethod) && extra.assetTransferMethod !== "eip3009") {
    return "only EIP-3009 transfers are signed"
  }
  if (!isAbsent(extra.paymentFlow) && extra.paymentFlow !== "authorization" && extra.paymentFlow !== "upfront") {
    return "its payment flow is not known here"
  }
  return isShort(requirement) ? undefined : "it is too long to be sent back"
}

const isAbsent = (value: Schema.Json | undefined) => value === undefined || value === null
const isShort = (value: Schema.Json) => JSON.stringify(value).length <= maxEcho
const isSame = (value: Schema.Json | undefined, address: string) =>
  typeof value === "string" && value.toLowerCase() === address.toLowerCase()

interface Terms extends Eip3009Payer.Terms {
  readonly validity: number
  readonly envelopes: Array.NonEmptyReadonlyArray<Envelope.Envelope>
}

/** Reads the terms of an offer, all of them checked. */
const termsOf = (payer: Eip3009Payer.Payer) => (offer: Offer): Result.Result<Terms, Rails.Unaccepted> => {
  const refuse = (why: string) => Result.fail({ why })
  if (offer.protocol !== "x402" || offer.method !== "exact") return refuse("not x402 exact")
  return Result.flatMap(payer.terms(offer), (terms) => {
    // A facilitator needs six seconds itself. With less than this nothing could be resent.
    if (offer.validitySeconds === undefined || offer.validitySeconds < Policy.minValiditySeconds) {
      return refuse(`the merchant waits for less than ${Policy.minValiditySeconds} seconds`)
    }
    const demanded = Envelope.fromOffer(offer)
    if (Option.isNone(demanded)) return refuse("the demand cannot be read")
    const envelopes = demanded.value.filter((envelope) => misfit(envelope, offer, terms.asset) === undefined)
    return Array.isReadonlyArrayNonEmpty(envelopes)
      ? Result.succeed({ ...terms, validity: Math.min(offer.validitySeconds, payer.maxValidity), envelopes })
      : refuse(misfit(demanded.value[0], offer, terms.asset) ?? "")
  })
}

// ---------------------------------------------------------------------------------------------------------------------
// What is planned
// ---------------------------------------------------------------------------------------------------------------------

/** The complete unsigned payment: what is signed, and the envelopes that the signature travels in. */
const Data = Schema.Struct({ ...Eip3009Payer.Message.fields, envelopes: Schema.NonEmptyArray(Envelope.Envelope) })

const decodePlan = Schema.decodeUnknownOption(Data)
/** An offer and a plan are looked at more than once on the way of one payment, and never change. */
const decodeData = Function.memoize((plan: Rails.Plan) => decodePlan(plan.data))

/** The same for all that is sent of one purchase, so that a merchant who remembers it recognises a repetition. */
const paymentId = (purchase: string) => `pay_${sha256(stringToHex(purchase)).slice(2, 34)}`

/** Extensions go back whole; the payment identifier is the one to which we add. */
const withPaymentId = (extensions: Schema.JsonObject, purchase: string): Schema.JsonObject => {
  const advertised = extensions["payment-identifier"]
  if (!Json.isObject(advertised)) return extensions
  const info = Json.isObject(advertised.info) ? advertised.info : {}
  return { ...extensions, "payment-identifier": { ...advertised, info: { ...info, id: paymentId(purchase) } } }
}

const answering =
  (purchase: string) => ({ extensions, requirement, resource, version }: Envelope.Envelope): Envelope.Envelope => {
    const answered = extensions === undefined ? undefined : withPaymentId(extensions, purchase)
    return {
      version,
      requirement,
      ...(resource !== undefined && isShort(resource) ? { resource } : {}),
      ...(answered !== undefined && isShort(answered) ? { extensions: answered } : {})
    }
  }

// ---------------------------------------------------------------------------------------------------------------------
// The rail
// ---------------------------------------------------------------------------------------------------------------------

const make = Effect.fnUntraced(function*(options: Options) {
  const random = yield* SecureRandom.SecureRandom
  const payer = yield* Eip3009Payer.make(options)
  const terms = Function.memoize(termsOf(payer))

  const plan: Rails.Rail["plan"] = Effect.fn("ExactEvm.plan")(function*(offer, { purchase }) {
    const accepted = terms(offer)
    if (Result.isFailure(accepted)) {
      return yield* new PolicyDenied({ rule: accepted.failure.rule ?? "rail", detail: accepted.failure.why, offer })
    }
    const { asset, domain, envelopes, payee, validity } = accepted.success
    const plannedAt = Math.floor((yield* Clock.currentTimeMillis) / 1000)
    const validBefore = plannedAt + validity
    const authorization: Eip3009.Authorization = {
      from: payer.address,
      to: payee,
      value: offer.units.toString(),
      validAfter: "0",
      validBefore: validBefore.toString(),
      nonce: yield* Eip3009.nonce(random)
    }
    const data: typeof Data.Encoded = {
      domain,
      authorization,
      plannedAt,
      envelopes: Array.map(envelopes, answering(purchase))
    }
    return new Rails.Plan({
      rail: name,
      kind: "charge",
      network: asset.network,
      asset: asset.address,
      units: offer.units,
      payer: payer.address,
      payee,
      spendableUntil: validBefore * 1000,
      mark: payer.mark(domain, authorization.nonce),
      data
    })
  })

  const sign: Rails.Rail["sign"] = Effect.fn("ExactEvm.sign")(function*(plan) {
    const data = decodeData(plan)
    if (Option.isNone(data)) return yield* Eip3009Payer.foreign.sign
    const { authorization, envelopes } = data.value
    const signature = yield* payer.sign(plan, data.value)
    return { envelopes: Array.map(envelopes, (envelope) => Envelope.seal(envelope, { signature, authorization })) }
  })

  const rail: Rails.Rail = {
    name,
    payer: payer.address,
    steps: 1,
    repeats: payer.repeats,
    accepts: (offer) => Result.map(terms(offer), ({ asset }) => asset),
    plan,
    sign,
    judge: (plan, answer, now) => {
      const envelopes = Option.match(decodeData(plan), {
        onNone: () => 1,
        onSome: (data) => data.envelopes.length
      })
      return judge(plan, envelopes, answer, now)
    },
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
 * import * as ExactEvm from "effect-mpp/rails/ExactEvm"
 * import * as Wallet from "effect-mpp/Wallet"
 *
 * const BaseRail = ExactEvm.layer({ networks: ["eip155:8453"] }).pipe(Layer.provide(Wallet.layerConfig()))
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
