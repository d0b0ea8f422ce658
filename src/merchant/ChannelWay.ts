/**
 * Sells by channel sessions on Tempo: a payer puts a deposit into a channel once, and pays each request by a voucher, with
 * no transaction and no round trip of its own. In the end the payee takes what it delivered for, and the rest goes back.
 *
 * @since 0.1.0
 */
import * as Clock from "effect/Clock"
import * as SecureRandom from "effect/crypto/SecureRandom"
import * as Duration from "effect/Duration"
import * as Effect from "effect/Effect"
import * as Base64Url from "effect/encoding/Base64Url"
import { HttpServerRequest } from "effect/http/HttpServerRequest"
import * as HttpServerResponse from "effect/http/HttpServerResponse"
import * as Option from "effect/Option"
import * as Result from "effect/Result"
import * as Schedule from "effect/Schedule"
import * as Schema from "effect/Schema"
import type * as Scope from "effect/Scope"
import type { Address, LocalAccount } from "viem"
import { zeroAddress } from "viem"
import { isAddress } from "viem/utils"
import { parseUsd } from "../Amount.ts"
import type { Asset } from "../Asset.ts"
import * as Chain from "../Chain.ts"
import { cleanText } from "../Offer.ts"
import { Secp256k1 } from "../Secp256k1.ts"
import { isSecure } from "../Transport.ts"
import * as Json from "../wire/Json.ts"
import * as Challenge from "../wire/mpp/Challenge.ts"
import * as ChallengeId from "../wire/mpp/ChallengeId.ts"
import * as Channel from "../wire/mpp/Channel.ts"
import type { Credential } from "../wire/mpp/Credential.ts"
import * as PaymentRequest from "../wire/mpp/PaymentRequest.ts"
import * as Receipt from "../wire/mpp/Receipt.ts"
import * as Source from "../wire/mpp/Source.ts"
import * as TempoSession from "../wire/mpp/TempoSession.ts"
import * as ChannelBooks from "./ChannelBooks.ts"
import type { Terms } from "./channels/Terms.ts"
import type { Taken } from "./channels/Till.ts"
import * as ChargeWay from "./ChargeWay.ts"
import type * as Sponsor from "./tempoCharges/Sponsor.ts"
import { type Sale, type Serve, unitsOf, unshared, type Way } from "./Way.ts"

// ---------------------------------------------------------------------------------------------------------------------
// Models
// ---------------------------------------------------------------------------------------------------------------------

/**
 * @category models
 * @since 0.1.0
 */
export interface Options extends Pick<ChargeWay.Options, "secret" | "lifetime"> {
  /** The tokens that are taken, the preferred one first, and where they are paid to (default: {@link Options.account}). */
  readonly accepts: ReadonlyArray<{ readonly asset: Asset; readonly payTo?: string | undefined }>
  /**
   * Settles and closes the channels, and pays the fees for that. Where it is not the one that is paid, the challenge names
   * it as the operator: payers have to allow that.
   */
  readonly account: LocalAccount
  /** The token that those fees are paid in (default: that of the channel). */
  readonly feeToken?: Address | undefined
  /** What payers are asked to put into a channel, in US dollars (default: a hundred times the price). */
  readonly suggestedDeposit?: string | undefined
  /** By how much a voucher has to be above the one before, in US dollars (default: by nothing in particular). */
  readonly minVoucherDelta?: string | undefined
  /** Pays the fees of the transactions that open channels, and add to them. */
  readonly feePayer?: Sponsor.Options | undefined
  /** A channel that owes at least this, in US dollars, is settled before it is closed (default: none is). */
  readonly settleAt?: string | undefined
  /**
   * How often all channels are looked at: to settle them, and to close those whose payers have asked the chain for their
   * end, fifteen minutes before these can take back what is not settled (default 1 minute).
   */
  readonly sweepEvery?: Duration.Input | undefined
  /** For how long what the chain says of a channel is believed (default 5 s). */
  readonly freshness?: Duration.Input | undefined
  /** For how long to wait for a transaction to be confirmed before it is said that this is not known (default 15 s). */
  readonly confirmationTimeout?: Duration.Input | undefined
}

// ---------------------------------------------------------------------------------------------------------------------
// What is asked for
// ---------------------------------------------------------------------------------------------------------------------

type Accepted = Options["accepts"][number]

const usdOf = (text: string): bigint =>
  Option.getOrThrowWith(
    parseUsd(text),
    () => new RangeError(`Expected an amount of US dollars such as "0.05", got "${text}"`)
  )

const check = ({ accepts, feePayer, minVoucherDelta, settleAt, suggestedDeposit }: Options) => {
  const wrong = accepts.find(({ payTo }) => payTo !== undefined && !isAddress(payTo, { strict: false }))
  if (wrong !== undefined) throw new RangeError(`Expected an address to pay to, got "${wrong.payTo}"`)
  const foreign = accepts.find(({ asset }) => asset.chainId === undefined)
  if (foreign !== undefined) throw new RangeError(`Expected a network of EVM chains, got "${foreign.asset.network}"`)
  for (const usd of [feePayer?.maxFee, minVoucherDelta, settleAt, suggestedDeposit]) if (usd !== undefined) usdOf(usd)
}

const address = (text: string): Address => `0x${text.slice(2).toLowerCase()}`

const termsOf = ({ account }: Options, { asset, payTo = account.address }: Accepted): Terms => ({
  chainId: asset.chainId!,
  token: address(asset.address),
  payee: address(payTo),
  operator: address(payTo) === address(account.address) ? zeroAddress : address(account.address)
})

const encodeRequest = Schema.encodeSync(TempoSession.Request)

/** How many requests a channel is meant to pay for, where the merchant does not say. */
const requestsPerChannel = 100n

const requestOf = (options: Options, sale: Sale, accepted: Accepted): Schema.JsonObject => {
  const { asset } = accepted
  const { chainId, operator, payee, token } = termsOf(options, accepted)
  const amount = unitsOf(asset, sale.priceUsd)
  const { minVoucherDelta, suggestedDeposit } = options
  const suggested = suggestedDeposit === undefined ? 0n : unitsOf(asset, usdOf(suggestedDeposit))
  return encodeRequest({
    amount,
    unitType: "request",
    suggestedDeposit: suggested > amount ? suggested : amount * requestsPerChannel,
    currency: token,
    recipient: payee,
    ...(sale.externalId === undefined ? {} : { externalId: sale.externalId }),
    methodDetails: {
      sessionProtocol: "v2",
      chainId,
      escrowContract: Channel.escrowV2,
      ...(minVoucherDelta === undefined ? {} : { minVoucherDelta: unitsOf(asset, usdOf(minVoucherDelta)) }),
      ...(operator === zeroAddress ? {} : { operator }),
      ...(options.feePayer === undefined ? {} : { feePayer: true })
    }
  })
}

// ---------------------------------------------------------------------------------------------------------------------
// What is presented
// ---------------------------------------------------------------------------------------------------------------------

const decodePayload = Json.decoder(TempoSession.Payload)

/** Without these a request manages its channel, and nothing is bought. */
const isForContent = Effect.fnUntraced(function*({ body, method, query }: Sale) {
  if (method !== "POST") return method !== "HEAD"
  const { headers } = yield* HttpServerRequest
  const isLong = headers["transfer-encoding"] !== undefined || Number(headers["content-length"] ?? "0") > 0
  return query !== "" || isLong || Option.isSome(yield* body)
})

const isPaidFor = ({ status }: HttpServerResponse.HttpServerResponse) => status < 400

const withReceipt = Effect.fnUntraced(function*(
  response: HttpServerResponse.HttpServerResponse,
  { channel, transaction }: Taken,
  { id }: Challenge.Challenge
) {
  const { accepted, channelId, spent, units } = channel
  const now = yield* Clock.currentTimeMillis
  return HttpServerResponse.setHeaders(response, {
    "payment-receipt": Receipt.encode({
      method: "tempo",
      reference: channelId,
      timestamp: new Date(now).toISOString(),
      members: {
        intent: "session",
        challengeId: id,
        channelId,
        acceptedCumulative: accepted.toString(),
        spent: spent.toString(),
        units,
        ...(transaction === undefined ? {} : { txHash: transaction })
      }
    }),
    "cache-control": unshared(response)
  })
})

// ---------------------------------------------------------------------------------------------------------------------
// The way
// ---------------------------------------------------------------------------------------------------------------------

/**
 * A way to sell by channel sessions. Throws a `RangeError` at once if a secret is too short, an address is none, or an
 * amount is none; dies of one when its layer is built if a network has no RPC.
 *
 * **Example** (A hundred requests for one transaction)
 *
 * ```ts
 * import * as Redacted from "effect/Redacted"
 * import * as Asset from "effect-mpp/Asset"
 * import * as Paywall from "effect-mpp/merchant/Paywall"
 * import type { LocalAccount } from "viem"
 *
 * const channels = (account: LocalAccount, secret: Redacted.Redacted<string>, asset: Asset.Asset) =>
 *   Paywall.channels({ secret, account, accepts: [{ asset }], suggestedDeposit: "1", settleAt: "10" })
 * ```
 *
 * **Details**
 *
 * A request is paid before its handler runs. What was taken for an answer with a status of 400 and above, or for none, is
 * given back: the voucher stays good for it. `HEAD`, and `POST` with neither body nor query, manage a channel and buy
 * nothing.
 *
 * **Gotchas**
 *
 * A voucher that was forgotten is money that was given away: the memory of a process is for trying out.
 *
 * @category constructors
 * @since 0.1.0
 */
export const make = (
  options: Options
): Effect.Effect<
  Way,
  never,
  Chain.Chain | ChannelBooks.ChannelBooks | SecureRandom.SecureRandom | Scope.Scope
> => {
  check(options)
  const secrets = ChargeWay.secretsOf(options.secret)
  const lifetime = Duration.toMillis(options.lifetime ?? "5 minutes")
  return Effect.gen(function*() {
    const chain = yield* Chain.Chain
    const random = yield* SecureRandom.SecureRandom
    const unreachable = options.accepts.find(({ asset }) => chain.nodes(asset.network).length === 0)
    if (unreachable !== undefined) {
      return yield* Effect.die(
        new RangeError(`Expected an RPC of ${unreachable.asset.network}, where payments are taken`)
      )
    }
    // Loaded here, so that merchants who sell otherwise need not wait for it.
    const Till = yield* Effect.promise(() => import("./channels/Till.ts"))
    const inUnits = (usd: string | undefined, token: string) => {
      const accepted = options.accepts.find(({ asset }) => address(asset.address) === token)
      return usd === undefined || accepted === undefined ? undefined : unitsOf(accepted.asset, usdOf(usd))
    }
    const till = Till.make({
      books: yield* ChannelBooks.ChannelBooks,
      nodes: chain.nodes,
      curve: yield* Secp256k1,
      reserve: {
        account: options.account,
        feeToken: options.feeToken,
        timeout: Duration.fromInputUnsafe(options.confirmationTimeout ?? "15 seconds")
      },
      feePayer: options.feePayer,
      minDelta: ({ descriptor }) => inUnits(options.minVoucherDelta, descriptor.token) ?? 0n,
      freshness: Duration.fromInputUnsafe(options.freshness ?? "5 seconds")
    })
    const pause = Duration.fromInputUnsafe(options.sweepEvery ?? "1 minute")
    const terms = options.accepts.map((accepted) => termsOf(options, accepted))
    yield* till.sweep(terms, ({ descriptor }) => inUnits(options.settleAt, descriptor.token)).pipe(
      Effect.delay(pause),
      Effect.repeat(Schedule.forever),
      Effect.forkScoped
    )

    const challenge = Effect.fnUntraced(function*(sale: Sale, accepted: Accepted) {
      const now = yield* Clock.currentTimeMillis
      const nonce = yield* random.randomBytes(16)
      const description = cleanText(sale.description ?? "")
      const unnamed = {
        realm: sale.realm,
        method: "tempo",
        intent: "session",
        request: PaymentRequest.encode(requestOf(options, sale, accepted)),
        expires: new Date(now + lifetime).toISOString(),
        ...(description === "" ? {} : { description }),
        opaque: PaymentRequest.encode({ nonce: Base64Url.encode(nonce) }),
        ...(sale.credentialHeader === undefined ? {} : { header: sale.credentialHeader })
      }
      const named = { id: ChallengeId.compute(secrets[0]!, unnamed), ...unnamed }
      return { method: "tempo", intent: "session", value: Challenge.format(named) }
    })

    /** Which of our offers a credential answers; nothing is taken. */
    const judge = Effect.fnUntraced(function*(sale: Sale, { challenge, payload, source }: Credential) {
      if (challenge.realm !== sale.realm || !ChallengeId.verify(secrets, challenge)) {
        return yield* ChargeWay.refuse("invalid-challenge", "The challenge is none of those that are given here")
      }
      const expires = Date.parse(challenge.expires ?? "")
      if (!(expires > (yield* Clock.currentTimeMillis))) {
        return yield* ChargeWay.refuse("payment-expired", "The challenge has expired")
      }
      const accepted = options.accepts.find((accepted) =>
        PaymentRequest.encode(requestOf(options, sale, accepted)) === challenge.request
      )
      if (accepted === undefined) {
        return yield* ChargeWay.refuse("invalid-challenge", "The challenge asks for another price")
      }
      const decoded = decodePayload(payload)
      if (Result.isFailure(decoded)) {
        return yield* ChargeWay.refuse("malformed-credential", "The credential's payload cannot be read")
      }
      const terms = termsOf(options, accepted)
      const { descriptor } = decoded.success
      const payer = Option.flatMap(Option.fromUndefinedOr(source), Source.parse)
      const isItsPayer = Option.exists(
        payer,
        ({ address, chainId }) =>
          chainId === terms.chainId && (address === descriptor?.payer || address === descriptor?.authorizedSigner)
      )
      if (source !== undefined && !isItsPayer) {
        return yield* ChargeWay.refuse("verification-failed", "The source is not the payer of the channel")
      }
      return { accepted, terms, payload: decoded.success, expires: Math.floor(expires / 1000) }
    })

    const serve = (sale: Sale, credential: Credential): Serve => (handler) =>
      Effect.uninterruptibleMask(Effect.fnUntraced(function*(restore) {
        const { challenge } = credential
        const { accepted, expires, payload, terms } = yield* restore(judge(sale, credential))
        const done = (taken: Taken) => withReceipt(HttpServerResponse.empty({ status: 204 }), taken, challenge)
        if (payload.action === "close") return yield* Effect.flatMap(till.close(payload, terms), done)
        if (payload.action === "topUp") return yield* Effect.flatMap(till.topUp(payload, terms, expires), done)
        const units = unitsOf(accepted.asset, sale.priceUsd)
        const price = (yield* restore(isForContent(sale))) ? units : undefined
        const taken = yield* payload.action === "open"
          ? till.open(payload, terms, { expires, price })
          : till.voucher(payload, terms, price)
        if (price === undefined) return yield* done(taken)
        const { channelId, descriptor: { payer } } = taken.channel
        const payment = {
          method: "tempo",
          challengeId: challenge.id,
          source: Source.format(terms.chainId, payer),
          reference: channelId
        }
        const response = yield* restore(Effect.provideService(handler, ChargeWay.Paid, Option.some(payment))).pipe(
          Effect.onExit((exit) =>
            exit._tag === "Success" && isPaidFor(exit.value) ? Effect.void : till.giveBack(channelId, price)
          )
        )
        return isPaidFor(response) ? yield* withReceipt(response, taken, challenge) : response
      }))

    const isOurs = ({ challenge }: Credential) => challenge.method === "tempo" && challenge.intent === "session"

    return {
      protocol: "mpp",
      // Whoever reads a challenge on its way could answer it.
      sells: ({ origin, priceUsd }) => isSecure(origin) && priceUsd > 0n && options.accepts.length > 0,
      demand: (sale) =>
        Effect.map(
          Effect.forEach(options.accepts, (accepted) => challenge(sale, accepted)),
          (challenges) => ({ challenges, headers: {}, members: {} })
        ),
      presented: (sale, { credential }) =>
        credential?._tag === "Standard" && isOurs(credential.credential)
          ? Option.some(serve(sale, credential.credential))
          : Option.none()
    }
  })
}
