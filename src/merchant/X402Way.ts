/**
 * Sells by x402, scheme `exact` on EVM networks, version 1 and 2: a payment is verified, the request is served, the payment
 * is settled, and only then the answer is sent.
 *
 * One payment buys one answer, however many copies of it arrive. What the handler refuses (a status of 400 and above) is
 * not settled. Where the outcome of a settlement is not known, nothing is sent and the payment stays good for one answer.
 *
 * @since 0.1.0
 */
import * as Clock from "effect/Clock"
import * as Effect from "effect/Effect"
import type * as Headers from "effect/http/Headers"
import * as HttpEffect from "effect/http/HttpEffect"
import * as HttpServerResponse from "effect/http/HttpServerResponse"
import * as Option from "effect/Option"
import * as Result from "effect/Result"
import * as Schema from "effect/Schema"
import type { Asset } from "../Asset.ts"
import { cleanText } from "../Offer.ts"
import * as Json from "../wire/Json.ts"
import * as ExactEvm from "../wire/x402/ExactEvm.ts"
import * as Networks from "../wire/x402/Networks.ts"
import * as SettlementHeader from "../wire/x402/Settlement.ts"
import * as V1 from "../wire/x402/V1.ts"
import * as V2 from "../wire/x402/V2.ts"
import * as Claims from "./Claims.ts"
import {
  Facilitator,
  type FacilitatorUnavailable,
  type Settlement,
  type Submission,
  submissionV1,
  submissionV2
} from "./Facilitator.ts"
import * as Settling from "./Settling.ts"
import { Refused, type Sale, type Serve, unitsOf, unshared, type Way } from "./Way.ts"

// ---------------------------------------------------------------------------------------------------------------------
// Models
// ---------------------------------------------------------------------------------------------------------------------

/**
 * A currency that is taken, and the address that it is paid to. The asset needs an EIP-712 domain.
 *
 * @category models
 * @since 0.1.0
 */
export interface Accepted {
  readonly asset: Asset
  readonly payTo: string
}

/**
 * @category models
 * @since 0.1.0
 */
export interface Options {
  /** In version 1, where a payment does not name its asset, only the first of each network is offered. */
  readonly accepts: ReadonlyArray<Accepted>
  /** Version 1 is offered on networks that have a name there (default both). */
  readonly versions?: ReadonlyArray<1 | 2> | undefined
  /** For how long an authorisation should be valid (default 60 seconds). */
  readonly maxTimeoutSeconds?: number | undefined
  /** `authorization` settles after the handler, `upfront` before it (default `authorization`). */
  readonly flow?: "authorization" | "upfront" | undefined
  /**
   * Where claims are kept (default: where the paywall keeps them, which is the memory of this process).
   *
   * What is sold once is known from its claim and from the facilitator: a payment that is seen for the first time must
   * verify, and one that was settled before does not. A merchant of several processes needs {@link Claims.Claims} that
   * they share, or two of them sell one payment at the same time. One that restarts needs claims that are durable, or it
   * forgets what it owes, and has the facilitator's word alone for what it sold.
   */
  readonly claims?: Effect.Effect<Claims.Claims> | undefined
}

/** A payment that was presented, matched with what we ask for. */
interface Presented {
  readonly submission: Submission
  /** Names what the chain takes once. */
  readonly key: string
  /** Milliseconds since the epoch. */
  readonly validUntil: number
  /** In the words of its version. */
  readonly network: string
  readonly units: bigint
  readonly responseHeader: string
}

// ---------------------------------------------------------------------------------------------------------------------
// What is asked for
// ---------------------------------------------------------------------------------------------------------------------

const requirementsOf = (options: Options, sale: Sale) => {
  const { accepts, flow = "authorization", maxTimeoutSeconds = 60, versions = [1, 2] } = options
  const v2 = accepts.map(({ asset, payTo }): V2.Requirement => ({
    scheme: "exact",
    network: asset.network,
    amount: unitsOf(asset, sale.priceUsd),
    asset: asset.address,
    payTo,
    maxTimeoutSeconds,
    extra: { ...asset.domain, ...(flow === "upfront" ? { paymentFlow: flow } : {}) }
  }))
  const firstOfNetwork = v2.filter(({ network }, index) => v2.findIndex((other) => other.network === network) === index)
  const v1 = firstOfNetwork.flatMap(({ amount, network, ...terms }): ReadonlyArray<V1.Requirement> =>
    Option.match(Networks.toName(network), {
      onNone: () => [],
      onSome: (name) => [{
        ...terms,
        network: name,
        maxAmountRequired: amount,
        resource: sale.resource,
        description: sale.description ?? "",
        mimeType: sale.mimeType ?? ""
      }]
    })
  )
  return { v1: versions.includes(1) ? v1 : [], v2: versions.includes(2) ? v2 : [] }
}

// ---------------------------------------------------------------------------------------------------------------------
// What is presented
// ---------------------------------------------------------------------------------------------------------------------

const refuse = (error: string, detail: string) =>
  new Refused({ status: 402, code: "verification-failed", error, detail, demands: true })

const Choice = Json.decoder(Schema.Struct({
  scheme: Schema.String,
  network: Schema.String,
  amount: Schema.String,
  asset: Schema.String,
  payTo: Schema.String
}))

const isSame = (a: string, b: string) => a.toLowerCase() === b.toLowerCase()

const unmatched = () => refuse("invalid_payment_requirements", "The payment answers none of the ways that are offered")
const undecodable = () => refuse("invalid_payload", "The payment cannot be read")

/** What is owed is not verified again: whether a payment is enough for this very sale is looked at here, each time. */
const identify = (
  payload: Schema.JsonObject,
  asked: { readonly network: string; readonly asset: string; readonly payTo: string; readonly units: bigint }
): Result.Result<Pick<Presented, "key" | "validUntil">, Refused> => {
  const payment = Option.getOrUndefined(ExactEvm.decode(payload))
  if (payment === undefined) return Result.fail(undecodable())
  const { from, nonce, to, validBefore, value } = payment.authorization
  if (!isSame(to, asked.payTo)) {
    return Result.fail(refuse("invalid_exact_evm_recipient_mismatch", "The payment pays somebody else"))
  }
  if (value < asked.units) {
    return Result.fail(
      refuse("invalid_exact_evm_payload_authorization_value_mismatch", "The payment is less than the price")
    )
  }
  return Result.succeed({
    key: Settling.nameOf({ ...asked, from, nonce }),
    validUntil: Math.min(Number(validBefore) * 1000, Number.MAX_SAFE_INTEGER)
  })
}

const readV2 = (header: string, requirements: ReadonlyArray<V2.Requirement>): Result.Result<Presented, Refused> =>
  Result.gen(function*() {
    const payment = yield* Result.fromOption(V2.decodePayment(header), undecodable)
    const chosen = yield* Result.mapError(Choice(payment.accepted), undecodable)
    const requirement = requirements.find(({ amount, asset, network, payTo, scheme }) =>
      chosen.scheme === scheme && chosen.network === network && chosen.amount === amount.toString() &&
      isSame(chosen.asset, asset) && isSame(chosen.payTo, payTo)
    )
    if (requirement === undefined) return yield* Result.fail(unmatched())
    const { amount: units, network } = requirement
    return {
      ...(yield* identify(payment.payload, { ...requirement, units })),
      submission: submissionV2(payment, requirement),
      network,
      units,
      responseHeader: V2.responseHeader
    }
  })

const readV1 = (header: string, requirements: ReadonlyArray<V1.Requirement>): Result.Result<Presented, Refused> =>
  Result.gen(function*() {
    const payment = yield* Result.fromOption(V1.decodePayment(header), undecodable)
    const requirement = requirements.find(({ network, scheme }) =>
      payment.scheme === scheme && payment.network === network
    )
    if (requirement === undefined) return yield* Result.fail(unmatched())
    const { maxAmountRequired: units, network: name } = requirement
    const network = Option.getOrElse(Networks.fromName(name), () => name)
    return {
      ...(yield* identify(payment.payload, { ...requirement, network, units })),
      submission: submissionV1(payment, requirement),
      network: name,
      units,
      responseHeader: V1.responseHeader
    }
  })

const read = (
  headers: Headers.Headers,
  { v1, v2 }: ReturnType<typeof requirementsOf>
): Option.Option<Result.Result<Presented, Refused>> => {
  const second = headers[V2.paymentHeader]
  if (second !== undefined && v2.length > 0) return Option.some(readV2(second, v2))
  const first = headers[V1.paymentHeader]
  return first !== undefined && v1.length > 0 ? Option.some(readV1(first, v1)) : Option.none()
}

// ---------------------------------------------------------------------------------------------------------------------
// Serving
// ---------------------------------------------------------------------------------------------------------------------

const receiptOf = (presented: Presented, { errorReason, payer, success, transaction }: Settlement) => ({
  [presented.responseHeader]: SettlementHeader.encode({
    success,
    transaction,
    network: presented.network,
    ...(payer === undefined ? {} : { payer }),
    ...(success ? { amount: presented.units } : {}),
    ...(errorReason === undefined ? {} : { errorReason })
  })
})

const unavailable = ({ message }: FacilitatorUnavailable) =>
  new Refused({ status: 502, code: "internal-payment-error", detail: message, demands: false })

/** Not 402: a payer that signs again pays twice. */
const uncertain = (headers: { readonly [name: string]: string }) =>
  new Refused({
    status: 503,
    code: "internal-payment-error",
    detail: "Whether the payment was settled is not known yet. Send the same payment again",
    headers: { "retry-after": "2", ...headers },
    demands: false
  })

const presentedBefore = () => refuse("invalid_exact_evm_nonce_already_used", "The payment was presented before")

/**
 * A way to sell by x402.
 *
 * @category constructors
 * @since 0.1.0
 */
export const make = Effect.fnUntraced(function*(options: Options): Effect.fn.Return<Way, never, Facilitator> {
  const facilitator = yield* Facilitator
  const claims = yield* options.claims ?? (yield* Claims.Default)
  const accepts = options.accepts.filter(({ asset }) => asset.domain !== undefined)

  const verify = (submission: Submission): Effect.Effect<void, Refused> =>
    Effect.flatMap(Effect.mapError(facilitator.verify(submission), unavailable), ({ invalidReason, isValid }) => {
      const reason = cleanText(invalidReason ?? "unexpected_verify_error")
      return isValid ? Effect.void : Effect.fail(refuse(reason, `The payment does not verify: ${reason}`))
    })

  /** What a settlement leaves of the claim is written before anything else happens. */
  const take = (presented: Presented, otherwise: Claims.Left): Effect.Effect<Settlement, Refused> => {
    const leave = (left: Claims.Left) => claims.leave(presented.key, left)
    return Settling.settle(facilitator, presented.submission).pipe(
      Effect.catchTags({
        FacilitatorUnavailable: (error) =>
          Effect.andThen(leave(otherwise), Effect.fail(otherwise === "owed" ? uncertain({}) : unavailable(error))),
        SettlementUnknown: () => Effect.andThen(leave("owed"), Effect.fail(uncertain({})))
      }),
      Effect.flatMap((settlement) => {
        const receipt = receiptOf(presented, settlement)
        if (settlement.success) return Effect.succeed(settlement)
        // What was settled before does not settle again with every facilitator.
        if (otherwise === "owed" || Settling.isPending(settlement)) {
          return Effect.andThen(leave("owed"), Effect.fail(uncertain(receipt)))
        }
        const reason = cleanText(settlement.errorReason ?? "unexpected_settle_error")
        return Effect.andThen(
          leave(otherwise),
          Effect.fail(
            new Refused({
              status: 402,
              code: "verification-failed",
              error: reason,
              detail: `The payment was not settled: ${reason}`,
              headers: receipt,
              demands: false
            })
          )
        )
      })
    )
  }

  /**
   * Claims a payment that verifies: a claim is an answer to everybody else who presents the payment, so it is not for who
   * only knows its name. What is owed was verified before, and does not verify again once it is settled.
   */
  const claimVerified = Effect.fnUntraced(function*(
    { key, submission, validUntil }: Presented,
    restore: <A, E>(effect: Effect.Effect<A, E>) => Effect.Effect<A, E>
  ): Effect.fn.Return<"fresh" | "owed", Refused> {
    const seen = yield* claims.look(key)
    if (seen === "taken") return yield* presentedBefore()
    if (seen === "fresh") yield* restore(verify(submission))
    const claim = yield* claims.take(key, validUntil)
    if (claim === "taken") return yield* presentedBefore()
    // A claim may be forgotten from then on: a fresh one could be of a payment that was sold meanwhile.
    if (claim === "fresh" && (seen === "owed" || validUntil <= (yield* Clock.currentTimeMillis))) {
      yield* claims.leave(key, "free")
      return yield* refuse("invalid_exact_evm_payload_authorization_valid_before", "The payment is no longer valid")
    }
    return claim
  })

  const serve = (presented: Presented): Serve => (handler) => {
    const leave = (left: Claims.Left) => claims.leave(presented.key, left)
    return Effect.uninterruptibleMask(Effect.fnUntraced(function*(restore) {
      const claim = yield* claimVerified(presented, restore)
      const settlesFirst = options.flow === "upfront" || claim === "owed"
      const otherwise: Claims.Left = claim === "owed" ? "owed" : "free"
      const attach = (settlement: Settlement) =>
        HttpEffect.appendPreResponseHandler((_, response) =>
          Effect.succeed(HttpServerResponse.setHeaders(response, {
            ...receiptOf(presented, settlement),
            "cache-control": unshared(response)
          }))
        )

      if (settlesFirst) {
        const settlement = yield* take(presented, otherwise)
        yield* attach(settlement)
        const response = yield* Effect.onExit(
          restore(handler),
          (exit) => leave(exit._tag === "Success" && exit.value.status < 400 ? "sold" : "owed")
        )
        return response
      }

      const response = yield* Effect.onError(restore(handler), () => leave("free"))
      if (response.status >= 400) return yield* Effect.as(leave("free"), response)
      const settlement = yield* take(presented, otherwise)
      yield* attach(settlement)
      // An asker who has gone away meanwhile has paid and got nothing: the same payment can fetch the content later.
      yield* leave("owed")
      yield* restore(leave("sold"))
      return response
    }))
  }

  return {
    protocol: "x402",
    sells: ({ priceUsd }) => priceUsd > 0n,
    demand: (sale, error) =>
      Effect.sync(() => {
        const { v1, v2 } = requirementsOf({ ...options, accepts }, sale)
        const resource = {
          url: sale.resource,
          ...(sale.description === undefined ? {} : { description: sale.description }),
          ...(sale.mimeType === undefined ? {} : { mimeType: sale.mimeType })
        }
        return {
          challenges: [],
          headers: v2.length === 0
            ? {}
            : { [V2.requiredHeader]: V2.encodeHeader({ resource, accepts: v2, error }) },
          members: v1.length === 0 ? {} : V1.toJson({ error, accepts: v1 })
        }
      }),
    presented: (sale, { headers }) =>
      Option.map(
        read(headers, requirementsOf({ ...options, accepts }, sale)),
        Result.match({
          onFailure: (refused): Serve => () => Effect.fail(refused),
          onSuccess: serve
        })
      )
  }
})
