/**
 * What an answer demands and says: offers, refused ones with reasons, receipt, problem, when to come back.
 *
 * {@link read} is total and linear: whatever a server writes, it is read within caps or left aside, and nothing throws. Text
 * of the server appears only where it is called `merchantText`, and in ids, addresses and realms, whose characters are
 * checked.
 *
 * @since 0.1.0
 */
import * as Array from "effect/Array"
import * as Duration from "effect/Duration"
import * as Headers from "effect/http/Headers"
import * as Option from "effect/Option"
import * as Result from "effect/Result"
import type * as Schema from "effect/Schema"
import * as Struct from "effect/Struct"
import { cleanText, type Offer, Refused } from "./Offer.ts"
import * as Hints from "./wire/Hints.ts"
import * as Json from "./wire/Json.ts"
import * as Challenge from "./wire/mpp/Challenge.ts"
import * as ProblemDocument from "./wire/mpp/Problem.ts"
import * as PaymentReceipt from "./wire/mpp/Receipt.ts"
import * as SeedChallenge from "./wire/mpp/SeedChallenge.ts"
import * as X402 from "./wire/x402/Offers.ts"
import * as Settlement from "./wire/x402/Settlement.ts"
import * as V1 from "./wire/x402/V1.ts"
import * as V2 from "./wire/x402/V2.ts"

/**
 * An answer of a server, reduced to what matters for payment. Header names are lower case; the body is text of at most
 * 256 KiB, read only where the status says that it may be a demand.
 *
 * @category models
 * @since 0.1.0
 */
export interface Answer {
  readonly status: number
  readonly headers: { readonly [name: string]: string | undefined }
  readonly body: string | undefined
  /** The challenges of the `Payment` scheme, where what carries the answer has them in another place than a header. */
  readonly challenges?: ReadonlyArray<Challenge.Outcome> | undefined
}

/**
 * A receipt in any of the protocols.
 *
 * @category models
 * @since 0.1.0
 */
export type Receipt =
  | {
    readonly protocol: "mpp"
    readonly method: string
    readonly reference: string
    readonly timestamp: string
    readonly status: "success"
    /** The challenge that was paid, where the receipt says. */
    readonly challengeId: string | undefined
  }
  | {
    readonly protocol: "mpp/1.0"
    readonly sessionId: string
    /** micro-dollars */
    readonly amount: bigint
    readonly remaining: bigint
  }
  | {
    readonly protocol: "x402"
    readonly success: boolean
    readonly transaction: string
    readonly network: string
    readonly payer: string | undefined
    readonly amount: bigint | undefined
    readonly errorReason: string | undefined
  }

/**
 * An RFC 9457 problem, or an x402 `error`, reduced to a known code.
 *
 * @category models
 * @since 0.1.0
 */
export interface Problem {
  /** A code that is known here: `payment-expired`, `session/insufficient-balance`, `insufficient_funds`, ...; or
   * `unspecified`. */
  readonly code: string
  readonly merchantText: string | undefined
}

/**
 * @category models
 * @since 0.1.0
 */
export interface Demand {
  readonly offers: ReadonlyArray<Offer>
  readonly refused: ReadonlyArray<Refused>
  /** Signs that a protocol is spoken here, never payable by themselves. */
  readonly hints: ReadonlyArray<string>
  /** Whether any standard or dialect `Payment` challenge was seen: what makes a 401 one of ours. */
  readonly challenged: boolean
  readonly receipt: Option.Option<Receipt>
  readonly problem: Option.Option<Problem>
  /** Milliseconds, capped at one hour. */
  readonly retryAfter: Option.Option<number>
}

/**
 * The most offers, and the most refused ones, that are kept of one answer.
 *
 * @category constants
 * @since 0.1.0
 */
export const maxOffers = 50

/**
 * The longest wait that a server may ask for, in milliseconds.
 *
 * @category constants
 * @since 0.1.0
 */
export const maxRetryAfter: number = Duration.toMillis("1 hour")

// ---------------------------------------------------------------------------------------------------------------------
// Offers
// ---------------------------------------------------------------------------------------------------------------------

type ForUs = Exclude<Challenge.Outcome, { readonly _tag: "Unsupported" }>

const isForUs = (outcome: Challenge.Outcome): outcome is ForUs => outcome._tag !== "Unsupported"

const refuseChallenge = (protocol: "mpp" | "mpp/1.0", why: string) =>
  new Refused({ what: `${protocol} challenge`, why })

const offerOf = (outcome: ForUs): Result.Result<Offer, Refused> => {
  switch (outcome._tag) {
    case "Standard":
      return Result.mapError(
        Challenge.toOffer(outcome.challenge, outcome.request, outcome.native),
        (why) => refuseChallenge("mpp", why)
      )
    case "Seed":
      return Result.succeed(SeedChallenge.toOffer(outcome.challenge))
    case "Malformed":
      return Result.fail(refuseChallenge(outcome.protocol, outcome.why))
  }
}

/** The place of version 2 is the header: a body is read for it only where the header is none. */
const readX402 = (headers: Answer["headers"], body: Option.Option<Schema.JsonObject>) => {
  const header = Option.fromUndefinedOr(headers[V2.requiredHeader])
  const fromHeader = Option.flatMap(header, V2.decodeHeader)
  const demands = {
    v1: Option.flatMap(body, V1.fromJson),
    v2: Option.orElse(fromHeader, () => Option.flatMap(body, V2.fromJson))
  }
  const { offers, refused } = X402.make(demands)
  return {
    demands,
    offers,
    refused: Option.isSome(header) && Option.isNone(fromHeader)
      ? [...refused, new Refused({ what: "x402 version 2", why: "its header cannot be read" })]
      : refused
  }
}

// ---------------------------------------------------------------------------------------------------------------------
// Receipts, problems, waiting
// ---------------------------------------------------------------------------------------------------------------------

const readSettlement = (headers: Answer["headers"]): Option.Option<Settlement.Settlement> =>
  Option.firstSomeOf(
    [V2.responseHeader, V1.responseHeader].map((name) =>
      Option.flatMap(Option.fromUndefinedOr(headers[name]), Settlement.decode)
    )
  )

const readReceipt = (
  headers: Answer["headers"],
  settlement: Option.Option<Settlement.Settlement>
): Option.Option<Receipt> =>
  Option.fromUndefinedOr(headers["payment-receipt"]).pipe(
    Option.flatMap(PaymentReceipt.decode),
    Option.map((receipt): Receipt => {
      if (receipt.protocol !== "mpp") return receipt
      const { challengeId } = receipt.members
      return {
        ...Struct.omit(receipt, ["members"]),
        challengeId: typeof challengeId === "string" ? challengeId : undefined
      }
    }),
    Option.orElse(() => Option.map(settlement, Struct.omit(["merchantText"])))
  )

const fromError = (error: unknown): Option.Option<Problem> =>
  typeof error === "string" && error !== ""
    ? Option.some({ code: Settlement.codeOf(error), merchantText: cleanText(error) })
    : Option.none()

const fromSettlement = (settlement: Settlement.Settlement): Option.Option<Problem> =>
  settlement.errorReason === undefined
    ? Option.none()
    : Option.some({ code: settlement.errorReason, merchantText: settlement.merchantText })

/** A document counts as a problem if it says so, or if its type is one of the Payment scheme. */
const fromDocument = (headers: Answer["headers"], body: Schema.JsonObject): Option.Option<Problem> =>
  Option.filter(
    ProblemDocument.fromJson(body),
    ({ code }) => code !== "unspecified" || /^application\/problem\+json\b/i.test(headers["content-type"] ?? "")
  )

const firstProblem = (problems: ReadonlyArray<Option.Option<Problem>>): Option.Option<Problem> => {
  const found = Array.getSomes(problems)
  return Option.orElse(Array.findFirst(found, ({ code }) => code !== "unspecified"), () => Array.head(found))
}

const readRetryAfter = (header: string | undefined, now: number | undefined): Option.Option<number> => {
  if (header === undefined || header.length > 64) return Option.none()
  return Result.getSuccess(Headers.parseRetryAfter(header)).pipe(
    Option.filter((parsed) => parsed._tag === "Duration" || now !== undefined),
    Option.map((parsed) => Math.min(Duration.toMillis(Headers.retryAfterDelay(parsed, now ?? 0)), maxRetryAfter))
  )
}

// ---------------------------------------------------------------------------------------------------------------------

/**
 * Reads what an answer demands and says.
 *
 * **Details**
 *
 * Offers are read from a 402 only: all `Payment` challenges of `WWW-Authenticate`, then x402 (the header
 * `PAYMENT-REQUIRED`, then the body). Whether we are challenged is also read from a 401. Receipts are read whatever the
 * status is, because a server may take the money and fail. `now` (milliseconds since the epoch) is needed for a
 * `Retry-After` that is a date.
 *
 * **Example** (A demand of x402 version 1)
 *
 * ```ts
 * import * as Demand from "effect-mpp/Demand"
 *
 * const demand = Demand.read({
 *   status: 402,
 *   headers: {},
 *   body: JSON.stringify({
 *     x402Version: 1,
 *     accepts: [{
 *       scheme: "exact",
 *       network: "base",
 *       maxAmountRequired: "10000",
 *       asset: "0x833589fCD6eDb6E08f4c7C32D4f71b54bdA02913",
 *       payTo: "0x3C44CdDdB6a900fa2b585dd299e03d12FA4293BC",
 *       maxTimeoutSeconds: 60
 *     }]
 *   })
 * })
 * demand.offers.map(({ network, units }) => [network, units]) // => [["eip155:8453", 10000n]]
 * ```
 *
 * @category decoding
 * @since 0.1.0
 */
export const read = ({ body: text, challenges, headers, status }: Answer, now?: number): Demand => {
  const body = text === undefined || status < 400 || text.length > Json.maxBodyLength
    ? Option.none()
    : Json.parseObject(text)
  const outcomes = status === 401 || status === 402
    ? challenges ?? Challenge.parse(headers["www-authenticate"] ?? "")
    : []
  const settlement = readSettlement(headers)
  const spoken = {
    challenged: outcomes.some(({ _tag }) => _tag === "Standard" || _tag === "Seed"),
    receipt: readReceipt(headers, settlement),
    retryAfter: readRetryAfter(headers["retry-after"], now)
  }
  const document = Option.flatMap(body, (json) => fromDocument(headers, json))
  const failure = Option.flatMap(settlement, fromSettlement)
  const error = Option.flatMap(body, (json) => fromError(json.error))
  if (status !== 402) {
    return { ...spoken, offers: [], refused: [], hints: [], problem: firstProblem([document, failure, error]) }
  }
  const x402 = readX402(headers, body)
  const headerError = Option.flatMap(x402.demands.v2, (demand) => fromError(demand.error))
  const [offers, refused] = Array.partition(outcomes.filter(isForUs), offerOf)
  return {
    ...spoken,
    offers: [...offers, ...x402.offers].slice(0, maxOffers),
    refused: [...refused, ...x402.refused].slice(0, maxOffers),
    hints: Hints.read(headers, Option.getOrUndefined(body), outcomes),
    problem: firstProblem([document, failure, headerError, error])
  }
}
