/**
 * Any payment method that was written for the client of mppx (Stripe, Solana, ...), as a rail of its own:
 * `mppx/<method>/charge`. Nothing of mppx is imported; the program brings the methods.
 *
 * **What such a rail can promise**
 *
 * Which currencies a method may pay in, and what they are worth, is for the program to say: an asset for each of them
 * ({@link asset}). All limits hold as everywhere. The method itself is a closed box, so that
 *
 * - what the challenge asks for is checked before it is called, and what it does then is not;
 * - it may ask a person, and it may move money while it makes the credential. Once it was called, nothing proves any more
 *   that nothing was spent, unless the program says that its methods only sign (`signsOnly`);
 * - what it made is kept in memory alone, and is never made a second time. A payment whose answer was lost is not sent
 *   again, and nobody can be asked about it: it counts as spent an hour after its challenge has expired.
 *
 * Prefer a rail that signs by itself where there is one.
 *
 * @since 0.1.0
 */
import * as Clock from "effect/Clock"
import type * as Duration from "effect/Duration"
import * as Effect from "effect/Effect"
import * as Layer from "effect/Layer"
import * as Option from "effect/Option"
import * as Result from "effect/Result"
import * as Schema from "effect/Schema"
import * as Asset from "../Asset.ts"
import type { Offer } from "../Offer.ts"
import { PolicyDenied, WalletError } from "../PaymentError.ts"
import * as Policy from "../Policy.ts"
import * as Rails from "../Rails.ts"
import * as Json from "../wire/Json.ts"
import * as Challenge from "../wire/mpp/Challenge.ts"
import * as Credential from "../wire/mpp/Credential.ts"
import * as ChargeVerdict from "./ChargeVerdict.ts"

/**
 * A challenge as methods of mppx take it: `request` is decoded, `opaque` is as it was received.
 *
 * @category models
 * @since 0.1.0
 */
export interface ClientChallenge {
  readonly id: string
  readonly realm: string
  readonly method: string
  readonly intent: string
  readonly request: { readonly [member: string]: unknown }
  readonly expires?: string | undefined
  readonly digest?: string | undefined
  readonly description?: string | undefined
  readonly opaque?: string | undefined
  readonly header?: string | undefined
}

/**
 * A client method, by what is used of it: what `stripe.charge({ ... })` and its like answer.
 *
 * **Details**
 *
 * `createCredential` is written as a method on purpose: each real one takes the challenges of its own kind alone, and is
 * called with no others.
 *
 * @category models
 * @since 0.1.0
 */
export interface ClientMethod {
  readonly name: string
  readonly intent: string
  readonly canHandleChallenge?: ((parameters: { readonly challenge: ClientChallenge }) => boolean) | undefined
  /** Answers the value of the header field: `Payment <credential>`. */
  createCredential(parameters: { readonly challenge: ClientChallenge }): Promise<string>
}

/**
 * @category models
 * @since 0.1.0
 */
export interface Options {
  /** One rail is added for each of them whose intent is `charge`; the others are left out. */
  readonly methods: ReadonlyArray<ClientMethod>
  /**
   * What each method may pay in, by its name. The same assets belong into `Agent.layer({ assets })`: the agent pays in
   * nothing else.
   */
  readonly assets: { readonly [method: string]: ReadonlyArray<Asset.Asset> }
  /**
   * Who pays, for the ceiling per wallet and day. Give the address where other rails pay from it, too. Default: each method
   * by itself.
   */
  readonly payer?: string | undefined
  /** The most that fees which the payer pays come to for one payment, in micro-dollars. Default: none. */
  readonly feeUsd?: bigint | undefined
  /**
   * The program's word that these methods only sign: that they move no money and send nothing to a chain. A payment that
   * was signed and never sent is void then. A method of mppx that can broadcast must be told not to (`mode: "pull"`).
   * Default: false.
   */
  readonly signsOnly?: boolean | undefined
  /** How long a method may take, which may have to ask a person. Default: one minute. */
  readonly timeout?: Duration.Input | undefined
  /**
   * Whether challenges that never expire are answered. They are held for the policy's
   * {@link Policy.maxValiditySeconds}. Default: false.
   */
  readonly allowNoExpiry?: boolean | undefined
}

/**
 * The network of the currencies of a method that are on no EVM chain.
 *
 * @category getters
 * @since 0.1.0
 */
export const networkOf = (method: string): string => `mpp:${method}`

/**
 * A currency of a method, as its challenges name it. It counts as a dollar: give no other one.
 *
 * **Details**
 *
 * A method whose challenges name an EVM chain pays in ordinary assets of that chain, and needs none of these. A challenge
 * that names no payee, as those of card payments do, pays nobody where the policy has a list of payees.
 *
 * **Example** (Cents, by card)
 *
 * ```ts
 * import * as Mppx from "effect-mpp/rails/Mppx"
 *
 * const cents = Mppx.asset({ method: "stripe", currency: "usd", decimals: 2 })
 * cents.network // => "mpp:stripe"
 * ```
 *
 * @category constructors
 * @since 0.1.0
 */
export const asset = (
  currency: { readonly method: string; readonly currency: string; readonly decimals: number; readonly symbol?: string }
): Asset.Asset =>
  new Asset.Asset({
    network: networkOf(currency.method),
    address: currency.currency,
    symbol: currency.symbol ?? currency.currency.toUpperCase(),
    decimals: currency.decimals,
    usd: true,
    testnet: false
  })

// ---------------------------------------------------------------------------------------------------------------------
// What is demanded
// ---------------------------------------------------------------------------------------------------------------------

interface Terms {
  readonly asset: Asset.Asset
  readonly challenge: Challenge.Challenge
}

/** A copy for each call: what a method does to it stays there. */
const clientChallenge = (challenge: Challenge.Challenge): Option.Option<ClientChallenge> =>
  Option.map(Challenge.requestOf(challenge), (request) => ({ ...challenge, request }))

/** A method that throws cannot handle it. */
const handles = (method: ClientMethod, challenge: ClientChallenge): boolean => {
  if (method.canHandleChallenge === undefined) return true
  try {
    return method.canHandleChallenge({ challenge })
  } catch {
    return false
  }
}

/** Reads the terms of an offer, all of them checked. */
const termsOf = (method: ClientMethod, options: Options) => {
  const table = Asset.makeTable(options.assets[method.name] ?? [])
  return (offer: Offer): Result.Result<Terms, Rails.Unaccepted> => {
    const refuse = (why: string) => Result.fail({ why })
    if (offer.protocol !== "mpp" || offer.method !== method.name || offer.intent !== method.intent) {
      return refuse("it is for another method")
    }
    const demanded = Challenge.fromOffer(offer)
    const given = Option.flatMap(demanded, clientChallenge)
    if (Option.isNone(demanded) || Option.isNone(given)) return refuse("the challenge cannot be read")
    const challenge = demanded.value
    const { amount, currency } = given.value.request
    if (amount !== offer.units.toString() || currency !== offer.asset) {
      return refuse("the challenge is not the one that the offer was made of")
    }
    const found = table.find(offer.network === "" ? networkOf(method.name) : offer.network, offer.asset)
    if (Option.isNone(found)) return refuse("the currency is not one that the method may pay in")
    if (offer.units === 0n) return refuse("nothing is to be paid")
    if (offer.expiresAt === undefined && options.allowNoExpiry !== true) return refuse("the challenge never expires")
    return handles(method, given.value)
      ? Result.succeed({ asset: found.value, challenge })
      : refuse("the method does not handle this challenge")
  }
}

// ---------------------------------------------------------------------------------------------------------------------
// What is sent
// ---------------------------------------------------------------------------------------------------------------------

/** There is nothing else to repeat a payment from, and nothing that could be repeated. */
const Data = Schema.Struct({ challenge: Challenge.Challenge })

const decodeData = ({ data }: Rails.Plan) => Schema.decodeUnknownOption(Data)(data)

/** What a method answers; the challenge in it is the method's own idea of what was received. */
const Answered = Schema.Struct({
  challenge: Schema.Struct({ id: Schema.String }),
  source: Schema.optionalKey(Schema.String),
  payload: Schema.JsonObject
})

const decodeAnswered = Schema.decodeUnknownOption(Answered)

/**
 * The credential that a method made, for the challenge as it was received: methods write its request anew, and servers
 * that wrote it in another way do not recognise it then.
 */
const sealed = (header: string, challenge: Challenge.Challenge): Option.Option<Rails.Envelope> => {
  // A method is not held to its types.
  const isShort = typeof header === "string" && header.length <= Json.maxHeaderLength
  const presented = isShort ? /^payment[ \t]+(\S+)[ \t]*$/i.exec(header)?.[1] : undefined
  return Option.fromUndefinedOr(presented).pipe(
    Option.flatMap(Json.fromBase64),
    Option.flatMap(decodeAnswered),
    Option.filter((answered) => answered.challenge.id === challenge.id),
    Option.map((answered) => ({ [Credential.headerOf(challenge)]: Credential.format({ ...answered, challenge }) }))
  )
}

const failed = (detail: string) => new WalletError({ operation: "make a credential", detail })

const unanswerable: Rails.Verdict = {
  _tag: "Unknown",
  content: false,
  evidence: new Rails.Evidence({ rank: "presumed", what: "nobody can be asked" }),
  next: { _tag: "reconcile" }
}

// ---------------------------------------------------------------------------------------------------------------------
// The rail
// ---------------------------------------------------------------------------------------------------------------------

const railOf = (method: ClientMethod, options: Options): Rails.Rail => {
  const name = `mppx/${method.name}/${method.intent}`
  const payer = options.payer ?? name
  const terms = termsOf(method, options)

  const plan: Rails.Rail["plan"] = Effect.fn("Mppx.plan")(function*(offer) {
    const accepted = terms(offer)
    if (Result.isFailure(accepted)) {
      return yield* new PolicyDenied({ rule: "rail", detail: accepted.failure.why, offer })
    }
    const { asset, challenge } = accepted.success
    const now = yield* Clock.currentTimeMillis
    const until = offer.expiresAt ?? now + Policy.maxValiditySeconds * 1000
    const seconds = (until - now) / 1000
    if (seconds < Policy.minValiditySeconds || seconds > Policy.maxValiditySeconds) {
      const detail = "the challenge lives for less than " +
        `${Policy.minValiditySeconds} or more than ${Policy.maxValiditySeconds} seconds`
      return yield* new PolicyDenied({ rule: "validity", detail, offer })
    }
    const data: typeof Data.Encoded = { challenge }
    return new Rails.Plan({
      rail: name,
      kind: "charge",
      network: asset.network,
      asset: asset.address,
      units: offer.units,
      payer,
      payee: offer.payee,
      ...(options.feeUsd === undefined ? {} : { feeUsd: options.feeUsd }),
      // When the method's credential ends is not known; what comes later was counted by then.
      spendableUntil: until,
      presentableUntil: until,
      data
    })
  })

  const sign: Rails.Rail["sign"] = Effect.fn("Mppx.sign")(function*(plan) {
    const data = decodeData(plan)
    const given = Option.flatMap(data, ({ challenge }) => clientChallenge(challenge))
    if (Option.isNone(data) || Option.isNone(given)) return yield* failed("the plan is not one of this rail")
    // What a method throws may quote what it was given: only our own words leave this function.
    const header = yield* Effect.tryPromise({
      try: () => method.createCredential({ challenge: given.value }),
      catch: () => failed("the method failed")
    }).pipe(
      Effect.timeoutOrElse({
        duration: options.timeout ?? "1 minute",
        orElse: () => Effect.fail(failed("the method did not answer in time"))
      })
    )
    const envelope = sealed(header, data.value.challenge)
    if (Option.isNone(envelope)) return yield* failed("the method answered no credential for this challenge")
    return { envelopes: [envelope.value] }
  })

  return {
    name,
    accept: `${method.name}/${method.intent}`,
    payer,
    steps: 1,
    repeats: false,
    signingMayPay: options.signsOnly !== true,
    accepts: (offer) => Result.map(terms(offer), ({ asset }) => asset),
    plan,
    sign,
    judge: (plan, answer, now) =>
      Option.match(decodeData(plan), {
        onNone: () => unanswerable,
        onSome: ({ challenge }) =>
          ChargeVerdict.judge(plan, { method: challenge.method, challengeId: challenge.id }, answer, now)
      }),
    reconcile: () => Effect.succeed(unanswerable),
    session: Option.none()
  }
}

/**
 * Adds a rail for each method.
 *
 * **Example** (Cents, by card)
 *
 * ```ts no-run
 * import * as Agent from "effect-mpp/Agent"
 * import * as Mppx from "effect-mpp/rails/Mppx"
 * import * as FetchHttpClient from "effect/http/FetchHttpClient"
 * import * as Layer from "effect/Layer"
 * import { stripe } from "mppx/client"
 *
 * declare const createToken: () => Promise<string>
 *
 * const cents = Mppx.asset({ method: "stripe", currency: "usd", decimals: 2 })
 *
 * export const AgentLive = Agent.layer({
 *   rails: Mppx.layer({
 *     methods: [stripe.charge({ createToken, paymentMethod: "pm_card_visa" })],
 *     assets: { stripe: [cents] },
 *     signsOnly: true
 *   }),
 *   assets: [cents]
 * }).pipe(Layer.provide(FetchHttpClient.layer))
 * ```
 *
 * @category layers
 * @since 0.1.0
 */
export const layer = (options: Options): Layer.Layer<never, never, Rails.Rails> =>
  options.methods
    .filter(({ intent }) => intent === "charge")
    .map((method) => Rails.layerAdd(Effect.sync(() => railOf(method, options))))
    .reduce((all, one) => Layer.merge(all, one), Layer.empty)
