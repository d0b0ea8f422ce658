/**
 * What all charges of the Payment scheme share on the merchant's side: challenges that are known again without being kept,
 * the order in which a credential is judged, one answer per payment, and receipts.
 *
 * A payment is judged before anything is taken, claimed before it is taken, and taken before the request is served. Money
 * that moved, or may have moved, and was not answered is owed: the same credential can be presented again for the same
 * resource, also after its challenge has expired, and is answered without being taken twice.
 *
 * @since 0.1.0
 */
import * as Cause from "effect/Cause"
import * as Clock from "effect/Clock"
import * as Context from "effect/Context"
import * as SecureRandom from "effect/crypto/SecureRandom"
import * as Data from "effect/Data"
import * as Duration from "effect/Duration"
import * as Effect from "effect/Effect"
import * as Base64Url from "effect/encoding/Base64Url"
import * as HttpServerResponse from "effect/http/HttpServerResponse"
import * as Option from "effect/Option"
import * as Redacted from "effect/Redacted"
import type * as Schema from "effect/Schema"
import { sha256, stringToBytes } from "viem/utils"
import { cleanText } from "../Offer.ts"
import { isSecure } from "../Transport.ts"
import * as Json from "../wire/Json.ts"
import * as BodyDigest from "../wire/mpp/BodyDigest.ts"
import * as Challenge from "../wire/mpp/Challenge.ts"
import * as ChallengeId from "../wire/mpp/ChallengeId.ts"
import type * as Credential from "../wire/mpp/Credential.ts"
import * as PaymentRequest from "../wire/mpp/PaymentRequest.ts"
import * as Receipt from "../wire/mpp/Receipt.ts"
import * as Claims from "./Claims.ts"
import { Refused, type Sale, type Serve, unshared, type Way } from "./Way.ts"

// ---------------------------------------------------------------------------------------------------------------------
// Models
// ---------------------------------------------------------------------------------------------------------------------

/**
 * A payment by a charge, as the handler that it was made for can read it.
 *
 * @category models
 * @since 0.1.0
 */
export interface Payment {
  readonly method: string
  readonly challengeId: string
  /** The account that paid, or proved itself: `did:pkh:eip155:<chainId>:<address>`. */
  readonly source: string
  /** The hash of the transaction; the challenge's id where nothing was taken. */
  readonly reference: string
}

/**
 * What the request that is being handled was paid with; none where it was not paid by a charge.
 *
 * @category references
 * @since 0.1.0
 */
export const Paid: Context.Reference<Option.Option<Payment>> = Context.Reference<Option.Option<Payment>>(
  "effect-mpp/merchant/Paid",
  { defaultValue: () => Option.none() }
)

/**
 * A payment is not settled, and what that means for its money.
 *
 * @category errors
 * @since 0.1.0
 */
export class Unsettled extends Data.TaggedError("Unsettled")<{
  /**
   * - `failed`: it did not move, and this payment cannot move it any more.
   * - `unknown`: it may have moved, or may yet.
   * - `unavailable`: nobody could be asked to move it.
   */
  readonly outcome: "failed" | "unknown" | "unavailable"
  readonly detail: string
}> {}

/**
 * A payment that pays for what it is presented for. Nothing was taken yet.
 *
 * @category models
 * @since 0.1.0
 */
export interface Verified {
  readonly source: string
  /** Names what its chain takes once; absent where nothing is taken. */
  readonly name?: string | undefined
  /**
   * Takes the money, and answers the reference of the payment. Safe to repeat: for what is `owed` the money may have moved
   * before, and is not taken twice.
   */
  readonly settle: (found: "fresh" | "owed") => Effect.Effect<string, Unsettled>
}

/**
 * A method of payment, such as `tempo`.
 *
 * @category models
 * @since 0.1.0
 */
export interface Method {
  readonly name: string
  readonly sells: Way["sells"]
  /** What it asks for, one request per currency, the preferred one first. */
  readonly requests: (sale: Sale) => ReadonlyArray<Schema.JsonObject>
  /** Judges what answers one of its own challenges, of the requests above. Takes nothing. */
  readonly verify: (credential: Credential.Credential) => Effect.Effect<Verified, Refused>
}

/**
 * @category models
 * @since 0.1.0
 */
export interface Options {
  /**
   * What challenges are bound with, at least 32 bytes. To replace it put the new one first, and leave the old one in the
   * list until its challenges have expired, and what is owed for them was fetched.
   */
  readonly secret: Redacted.Redacted<string> | ReadonlyArray<Redacted.Redacted<string>>
  /** For how long a challenge can be answered (default 5 minutes). */
  readonly lifetime?: Duration.Input | undefined
  /** Where claims are kept (default: where the paywall keeps them). */
  readonly claims?: Effect.Effect<Claims.Claims> | undefined
}

/**
 * What is wrong with a credential that proves no payment.
 *
 * @category constructors
 * @since 0.1.0
 */
export const refuse = (code: string, detail: string): Refused =>
  new Refused({ status: 402, code, detail, demands: true })

// ---------------------------------------------------------------------------------------------------------------------
// Challenges
// ---------------------------------------------------------------------------------------------------------------------

/** How long an answer that is owed can be fetched after its challenge has expired. */
const owedFor = Duration.toMillis("1 hour")

const minSecretBytes = 32

/**
 * The secrets that challenges are bound with, the present one first. Throws a `RangeError` if one is too short.
 *
 * @category getters
 * @since 0.1.0
 */
export const secretsOf = (secret: Options["secret"]): ReadonlyArray<Redacted.Redacted<string>> => {
  const secrets = Redacted.isRedacted(secret) ? [secret] : secret
  const isLong = (text: Redacted.Redacted<string>) => stringToBytes(Redacted.value(text)).length >= minSecretBytes
  if (secrets.length === 0 || !secrets.every(isLong)) {
    throw new RangeError(`Expected secrets of at least ${minSecretBytes} bytes each`)
  }
  return secrets
}

/** Long paths make no long challenges. */
const digestOf = (text: string): string => Base64Url.encode(sha256(stringToBytes(text), "bytes"))

const scopeOf = ({ method, resource }: Sale): string => digestOf(`${method} ${resource}`)

const queryOf = ({ query }: Sale): string | undefined => query === "" ? undefined : digestOf(query)

const expiryOf = ({ expires }: Challenge.Challenge): number => expires === undefined ? 0 : Date.parse(expires)

/** What a challenge of ours was given for. */
const givenFor = ({ opaque = "" }: Challenge.Challenge): Schema.JsonObject =>
  Option.getOrElse(Json.fromBase64Url(opaque), () => ({}))

/** Whether a request is the one that a challenge was given for, as far as prices can depend on it. */
const isSameRequest = (sale: Sale, challenge: Challenge.Challenge): Effect.Effect<boolean> =>
  givenFor(challenge).query !== queryOf(sale)
    ? Effect.succeed(false)
    : challenge.digest === undefined
    ? Effect.map(sale.body, Option.isNone)
    : Effect.succeed(true)

// ---------------------------------------------------------------------------------------------------------------------
// Answers
// ---------------------------------------------------------------------------------------------------------------------

const presentedBefore = () =>
  refuse("verification-failed", "This challenge, or this payment, was answered before or is being answered")

const expired = () => refuse("payment-expired", "The challenge has expired")

const otherPrice = () => refuse("invalid-challenge", "The challenge asks for another price")

/**
 * What a payer is told of a payment that is not settled.
 *
 * @category conversions
 * @since 0.1.0
 */
export const notSettled = ({ detail, outcome }: Unsettled): Refused => {
  switch (outcome) {
    case "failed":
      return refuse("verification-failed", `The payment was not settled: ${detail}`)
    case "unknown":
      // Not 402: a payer that signs again pays twice.
      return new Refused({
        status: 503,
        code: "internal-payment-error",
        detail: `Whether the payment was settled is not known yet: ${detail}. Send the same payment again`,
        headers: { "retry-after": "2" },
        demands: false
      })
    case "unavailable":
      return new Refused({
        status: 503,
        code: "internal-payment-error",
        detail: `The payment was not taken: ${detail}. Send the same payment again`,
        headers: { "retry-after": "5" },
        demands: false
      })
  }
}

/** What a settlement that failed leaves of its claim; one that broke may have moved the money. */
const leftBy = (cause: Cause.Cause<Unsettled>, found: "fresh" | "owed"): Claims.Left => {
  const outcome = Option.map(Cause.findErrorOption(cause), ({ outcome }) => outcome)
  const isFree = Option.exists(outcome, (it) => it === "failed" || (it === "unavailable" && found === "fresh"))
  return isFree ? "free" : "owed"
}

const isSuccess = ({ status }: HttpServerResponse.HttpServerResponse) => status >= 200 && status < 300

const withReceipt = Effect.fnUntraced(function*(
  response: HttpServerResponse.HttpServerResponse,
  payment: Payment,
  externalId: string | undefined
) {
  const now = yield* Clock.currentTimeMillis
  return HttpServerResponse.setHeaders(response, {
    "payment-receipt": Receipt.encode({
      method: payment.method,
      reference: payment.reference,
      timestamp: new Date(now).toISOString(),
      members: {
        challengeId: payment.challengeId,
        ...(externalId === undefined ? {} : { externalId })
      }
    }),
    "cache-control": unshared(response)
  })
})

// ---------------------------------------------------------------------------------------------------------------------
// The way
// ---------------------------------------------------------------------------------------------------------------------

/**
 * A way to sell by the charges of a method. Throws a `RangeError` at once if a secret is too short.
 *
 * @category constructors
 * @since 0.1.0
 */
export const make = <R>(
  options: Options,
  method: Effect.Effect<Method, never, R>
): Effect.Effect<Way, never, R | SecureRandom.SecureRandom> => {
  const secrets = secretsOf(options.secret)
  const lifetime = Duration.toMillis(options.lifetime ?? "5 minutes")
  return Effect.gen(function*() {
    const { name, requests, sells, verify } = yield* method
    const random = yield* SecureRandom.SecureRandom
    const claims = yield* options.claims ?? (yield* Claims.Default)

    const challenge = Effect.fnUntraced(function*(sale: Sale, request: Schema.JsonObject, digest: string | undefined) {
      const now = yield* Clock.currentTimeMillis
      const nonce = yield* random.randomBytes(16)
      const description = cleanText(sale.description ?? "")
      const query = queryOf(sale)
      const unnamed = {
        realm: sale.realm,
        method: name,
        intent: "charge",
        request: PaymentRequest.encode(request),
        expires: new Date(now + lifetime).toISOString(),
        ...(digest === undefined ? {} : { digest }),
        ...(description === "" ? {} : { description }),
        opaque: PaymentRequest.encode({
          nonce: Base64Url.encode(nonce),
          scope: scopeOf(sale),
          ...(query === undefined ? {} : { query })
        }),
        ...(sale.credentialHeader === undefined ? {} : { header: sale.credentialHeader })
      }
      return { id: ChallengeId.compute(secrets[0]!, unnamed), ...unnamed }
    })

    const nameOf = ({ id }: Challenge.Challenge) => `${name}/charge/${id}`

    /** Everything that can be said of a credential without taking anything. */
    const judge = Effect.fnUntraced(function*(sale: Sale, credential: Credential.Credential) {
      const { challenge } = credential
      if (challenge.realm !== sale.realm || !ChallengeId.verify(secrets, challenge)) {
        return yield* refuse("invalid-challenge", "The challenge is none of those that are given here")
      }
      if (givenFor(challenge).scope !== scopeOf(sale)) {
        return yield* refuse("invalid-challenge", "The challenge was given for something else")
      }
      const isExpired = expiryOf(challenge) <= (yield* Clock.currentTimeMillis)
      const isCurrent = requests(sale).some((request) => PaymentRequest.encode(request) === challenge.request)
      // What is owed was paid for when it was due, and at the price of that time: a dearer request is something else.
      const isDue = !isExpired && isCurrent
      if (!isDue && (yield* claims.look(nameOf(challenge))) !== "owed") {
        return yield* isExpired ? expired() : otherPrice()
      }
      if (!isCurrent && !(yield* isSameRequest(sale, challenge))) return yield* otherPrice()
      if (challenge.digest !== undefined) {
        const body = Option.getOrElse(yield* sale.body, () => new Uint8Array())
        if (!BodyDigest.matches(challenge.digest, body)) {
          return yield* refuse("verification-failed", "The body is not that which the challenge was given for")
        }
      }
      return { ...(yield* verify(credential)), isDue }
    })

    const serve = (sale: Sale, credential: Credential.Credential): Serve => (handler) =>
      Effect.uninterruptibleMask(Effect.fnUntraced(function*(restore) {
        const { challenge } = credential
        const verified = yield* restore(judge(sale, credential))
        const names = [nameOf(challenge), ...(verified.name === undefined ? [] : [verified.name])]
        const claim = Claims.together(claims, names)
        const found = yield* claim.take(expiryOf(challenge) + owedFor)
        if (found === "taken") return yield* presentedBefore()
        // What was owed a moment ago may have been forgotten since, or have failed.
        if (found === "fresh" && (!verified.isDue || expiryOf(challenge) <= (yield* Clock.currentTimeMillis))) {
          yield* claim.leave("free")
          return yield* expired()
        }
        const reference = yield* verified.settle(found).pipe(
          Effect.onError((cause) => claim.leave(leftBy(cause, found))),
          Effect.mapError(notSettled)
        )
        const payment = { method: name, challengeId: challenge.id, source: verified.source, reference }
        const response = yield* restore(Effect.provideService(handler, Paid, Option.some(payment))).pipe(
          Effect.onExit((exit) => claim.leave(exit._tag === "Success" && exit.value.status < 400 ? "sold" : "owed"))
        )
        return isSuccess(response) ? yield* withReceipt(response, payment, sale.externalId) : response
      }))

    const isOurs = ({ challenge }: Credential.Credential) => challenge.method === name && challenge.intent === "charge"

    return {
      protocol: "mpp",
      // Whoever reads a challenge on its way could answer it.
      sells: (sale) => isSecure(sale.origin) && sells(sale),
      demand: Effect.fnUntraced(function*(sale) {
        const digest = Option.map(yield* sale.body, BodyDigest.of)
        const challenges = yield* Effect.forEach(
          requests(sale),
          (request) => challenge(sale, request, Option.getOrUndefined(digest))
        )
        return {
          challenges: challenges.map((challenge) => ({
            method: challenge.method,
            intent: challenge.intent,
            value: Challenge.format(challenge)
          })),
          headers: {},
          members: {}
        }
      }),
      presented: (sale, { credential }) =>
        credential?._tag === "Standard" && isOurs(credential.credential)
          ? Option.some(serve(sale, credential.credential))
          : Option.none()
    }
  })
}
