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
import * as Duration from "effect/Duration"
import * as Effect from "effect/Effect"
import type * as Layer from "effect/Layer"
import * as Number from "effect/Number"
import * as Option from "effect/Option"
import * as Ref from "effect/Ref"
import * as Result from "effect/Result"
import * as Schema from "effect/Schema"
import { type Address, zeroAddress } from "viem"
import { getAddress, isAddress, sha256, stringToHex } from "viem/utils"
import * as Asset from "../Asset.ts"
import * as Chain from "../Chain.ts"
import type { Offer } from "../Offer.ts"
import { PolicyDenied, WalletError } from "../PaymentError.ts"
import * as Policy from "../Policy.ts"
import * as Rails from "../Rails.ts"
import { Wallet } from "../Wallet.ts"
import * as Json from "../wire/Json.ts"
import * as Envelope from "../wire/x402/Envelope.ts"
import * as Eip3009 from "./Eip3009.ts"
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
export interface Options {
  /** The networks to pay on, in CAIP-2; by default every `eip155` network of the asset table. */
  readonly networks?: ReadonlyArray<string> | undefined
  /**
   * The longest time for which an authorisation is signed, however patient the merchant is. Default: one minute; the
   * policy's {@link Policy.maxValiditySeconds} at most.
   */
  readonly maxValidity?: Duration.Input | undefined
  /**
   * Whether a wallet with code (EIP-7702) is refused: whether its signature holds depends on that code. It is asked for
   * once per network, before the first signature, where an RPC is configured; a node that does not answer in two seconds
   * does not hold a payment up. Default: true.
   */
  readonly checkCode?: boolean | undefined
}

/** A demand's parts that are sent back are left out above this length, in characters, as the protocol allows. */
const maxEcho = 4096

/** An offer and a plan are looked at more than once on the way of one payment, and never change. */
const remembering = <Key extends object, Value>(make: (key: Key) => Value) => {
  const known = new WeakMap<Key, Value>()
  return (key: Key): Value => {
    const value = known.get(key) ?? make(key)
    known.set(key, value)
    return value
  }
}

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

interface Terms {
  readonly asset: Asset.Asset
  readonly domain: Eip3009.Domain
  readonly payee: Address
  readonly validity: number
  readonly envelopes: Array.NonEmptyReadonlyArray<Envelope.Envelope>
}

/** Reads the terms of an offer, all of them checked. */
const termsOf = (config: {
  readonly table: Asset.AssetTable
  readonly payer: Address
  readonly networks: ReadonlySet<string> | undefined
  readonly maxValidity: number
}) =>
(offer: Offer): Result.Result<Terms, Rails.Unaccepted> => {
  const refuse = (why: string, rule?: string) => Result.fail(rule === undefined ? { why } : { why, rule })
  if (offer.protocol !== "x402" || offer.method !== "exact") return refuse("not x402 exact")
  if (!offer.network.startsWith("eip155:")) return refuse("not an EVM network")
  if (config.networks !== undefined && !config.networks.has(offer.network)) {
    return refuse("the network is not one of those that this rail pays on", "network")
  }
  const found = config.table.find(offer.network, offer.asset)
  if (Option.isNone(found)) return refuse("the asset is not in our table")
  const asset = found.value
  const { chainId, domain } = asset
  if (domain === undefined || chainId === undefined || !isAddress(asset.address)) {
    return refuse("the asset takes no EIP-3009 transfers")
  }
  if (offer.units === 0n) return refuse("nothing is to be paid")
  if (!isAddress(offer.payee)) return refuse("the payee is not an address")
  const payee = getAddress(offer.payee)
  if (payee === config.payer || payee === zeroAddress || payee === getAddress(asset.address)) {
    return refuse("the payee is the payer, the zero address or the token")
  }
  // A facilitator needs six seconds itself. With less than this nothing could be resent.
  if (offer.validitySeconds === undefined || offer.validitySeconds < Policy.minValiditySeconds) {
    return refuse(`the merchant waits for less than ${Policy.minValiditySeconds} seconds`)
  }
  const demanded = Envelope.fromOffer(offer)
  if (Option.isNone(demanded)) return refuse("the demand cannot be read")
  const envelopes = demanded.value.filter((envelope) => misfit(envelope, offer, asset) === undefined)
  if (!Array.isReadonlyArrayNonEmpty(envelopes)) return refuse(misfit(demanded.value[0], offer, asset) ?? "")
  return Result.succeed({
    asset,
    domain: { ...domain, chainId, verifyingContract: asset.address },
    payee,
    validity: Math.min(offer.validitySeconds, config.maxValidity),
    envelopes
  })
}

// ---------------------------------------------------------------------------------------------------------------------
// What is planned
// ---------------------------------------------------------------------------------------------------------------------

/** The complete unsigned payment: what is signed, and the envelopes that the signature travels in. */
const Data = Schema.Struct({
  domain: Eip3009.Domain,
  authorization: Eip3009.Authorization,
  /** Seconds since the epoch. */
  plannedAt: Schema.Natural,
  envelopes: Schema.NonEmptyArray(Envelope.Envelope)
})

const decodePlan = Schema.decodeUnknownOption(Data)
const decodeData = remembering((plan: Rails.Plan) => decodePlan(plan.data))

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
  const wallet = yield* Wallet
  const chain = yield* Chain.Chain
  const random = yield* SecureRandom.SecureRandom
  const payer = getAddress(wallet.address)
  const terms = remembering(termsOf({
    table: yield* Asset.Table,
    payer,
    networks: options.networks === undefined ? undefined : new Set(options.networks),
    maxValidity: Number.clamp(
      Math.floor(Duration.toSeconds(Duration.fromInputUnsafe(options.maxValidity ?? "1 minute"))),
      { minimum: Policy.minValiditySeconds, maximum: Policy.maxValiditySeconds }
    )
  }))

  const plan: Rails.Rail["plan"] = Effect.fn("ExactEvm.plan")(function*(offer, { purchase }) {
    const accepted = terms(offer)
    if (Result.isFailure(accepted)) {
      return yield* new PolicyDenied({ rule: accepted.failure.rule ?? "rail", detail: accepted.failure.why, offer })
    }
    const { asset, domain, envelopes, payee, validity } = accepted.success
    const plannedAt = Math.floor((yield* Clock.currentTimeMillis) / 1000)
    const validBefore = plannedAt + validity
    const authorization: Eip3009.Authorization = {
      from: payer,
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
      payer,
      payee,
      spendableUntil: validBefore * 1000,
      data
    })
  })

  const unusable = (detail: string) => new WalletError({ operation: "sign the payment", detail })

  /** The networks on which the wallet is known to have no code. */
  const plain = yield* Ref.make<ReadonlySet<string>>(new Set())
  const refuseCode = Effect.fnUntraced(function*(network: string) {
    const [node] = chain.nodes(network)
    if (options.checkCode === false || node === undefined || (yield* Ref.get(plain)).has(network)) return
    const code = yield* node.code(payer).pipe(Effect.timeoutOption("2 seconds"), Effect.orElseSucceed(Option.none))
    if (Option.isNone(code)) return
    if (code.value !== "0x") {
      return yield* unusable(`${payer} has code on ${network}, so that its signatures may stop to hold`)
    }
    yield* Ref.update(plain, (networks) => new Set([...networks, network]))
  })

  const sign: Rails.Rail["sign"] = Effect.fn("ExactEvm.sign")(function*(plan) {
    const data = decodeData(plan)
    if (Option.isNone(data)) return yield* unusable("the plan is not one of this rail")
    const { authorization, domain, envelopes } = data.value
    if (authorization.from !== payer) return yield* unusable("the plan was made for another wallet")
    if (authorization.value !== plan.units.toString() || authorization.to !== plan.payee) {
      return yield* unusable("the plan contradicts itself")
    }
    yield* refuseCode(plan.network)
    const signature = yield* wallet.signTypedData(Eip3009.typedData(domain, authorization))
    return { envelopes: Array.map(envelopes, (envelope) => Envelope.seal(envelope, { signature, authorization })) }
  })

  const reconcile: Rails.Rail["reconcile"] = Effect.fn("ExactEvm.reconcile")(function*(plan) {
    const data = decodeData(plan)
    if (Option.isNone(data)) return Eip3009.unknown("the plan is not one of this rail")
    const { authorization, domain, plannedAt } = data.value
    return yield* Eip3009.reconcile(chain.nodes(plan.network), {
      token: domain.verifyingContract,
      authorization,
      plannedAt
    })
  })

  const balance: NonNullable<Rails.Rail["balance"]> = Effect.fn("ExactEvm.balance")(function*(plan) {
    const data = decodeData(plan)
    const [node] = chain.nodes(plan.network)
    if (Option.isNone(data) || node === undefined) return Option.none()
    const { authorization, domain } = data.value
    return yield* Effect.timeoutOption(
      Eip3009.balance(node, domain.verifyingContract, authorization.from),
      "2 seconds"
    )
  })

  const rail: Rails.Rail = {
    name,
    payer,
    steps: 1,
    repeats: wallet.resign !== "no",
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
    reconcile,
    balance,
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
