/**
 * What came of an authorisation, and how it is told.
 *
 * @since 0.1.0
 */
import * as Option from "effect/Option"
import * as Schema from "effect/Schema"
import * as Demand from "./Demand.ts"
import * as PaymentError from "./PaymentError.ts"
import * as Rails from "./Rails.ts"

/**
 * What came of an authorisation.
 *
 * - `Content`: the answer is what was bought.
 * - `Void`: proven that it takes no money; another one may be made, for the reason given.
 * - `Again`: a draw that is proven unspent may be repeated, after waiting as the reason says.
 * - `Expired`: the session's token ran out, and the draw is proven unspent.
 * - `Stop`: nothing more may be signed for this purchase.
 *
 * @category models
 * @since 0.1.0
 */
export type Outcome<A> =
  | { readonly _tag: "Content"; readonly value: A }
  | { readonly _tag: "Void"; readonly reason: PaymentError.Reason; readonly answer: Option.Option<A> }
  | { readonly _tag: "Again"; readonly reason: Outage }
  | { readonly _tag: "Expired"; readonly reason: PaymentError.TokenExpired }
  | { readonly _tag: "Stop"; readonly reason: PaymentError.Reason; readonly money: PaymentError.Money }

/**
 * A reason to wait and try again.
 *
 * @category models
 * @since 0.1.0
 */
export type Outage = PaymentError.RateLimited | PaymentError.Unavailable

/**
 * What was seen of the last answer, as far as errors tell it.
 *
 * @category models
 * @since 0.1.0
 */
export interface Seen {
  readonly status: number | undefined
  readonly merchantText: string | undefined
  readonly evidence: Rails.Evidence
}

/**
 * No answer was seen, or nothing was sent.
 *
 * @category constructors
 * @since 0.1.0
 */
export const nothingSeen = (what: string): Seen => ({
  status: undefined,
  merchantText: undefined,
  evidence: new Rails.Evidence({ rank: "presumed", what })
})

const encodeEvidence = Schema.encodeSync(Schema.toCodecJson(Schema.Array(Rails.Evidence)))

/**
 * Evidence as it stands in errors and in the command line's output.
 *
 * @category formatting
 * @since 0.1.0
 */
export const evidenceJson = (evidence: ReadonlyArray<Rails.Evidence>): Schema.Json => encodeEvidence(evidence)

const text = ({ merchantText }: Seen) => merchantText === undefined ? {} : { merchantText }

const status = (seen: Seen) => seen.status === undefined ? {} : { status: seen.status }

const until = ({ spendableUntil }: Rails.Plan) => spendableUntil === undefined ? {} : { spendableUntil }

/**
 * The money moved and the content did not come.
 *
 * @category constructors
 * @since 0.1.0
 */
export const undelivered = (rail: string, seen: Seen): PaymentError.PaidUndelivered =>
  new PaymentError.PaidUndelivered({ rail, evidence: evidenceJson([seen.evidence]), ...status(seen), ...text(seen) })

/**
 * Nobody knows whether the money moved.
 *
 * @category constructors
 * @since 0.1.0
 */
export const uncertain = (plan: Rails.Plan, seen: Seen): PaymentError.PaymentUncertain =>
  new PaymentError.PaymentUncertain({
    rail: plan.rail,
    evidence: evidenceJson([seen.evidence]),
    ...until(plan),
    ...status(seen),
    ...text(seen)
  })

/**
 * An answer that is not what was bought, in words: what was seen, and the errors that it may be reported as.
 *
 * @category constructors
 * @since 0.1.0
 */
export const words = (plan: Rails.Plan, answer: Demand.Answer, verdict: Rails.Verdict, now: number): {
  readonly seen: Seen
  readonly outage: Outage
  readonly refusal: PaymentError.PaymentRejected
} => {
  const { problem, retryAfter } = Demand.read(answer, now)
  const seen: Seen = {
    status: answer.status,
    merchantText: Option.getOrUndefined(Option.flatMapNullishOr(problem, (it) => it.merchantText)),
    evidence: verdict.evidence
  }
  const after = Option.isNone(retryAfter) ? {} : { retryAfter: retryAfter.value }
  return {
    seen,
    outage: answer.status === 429 || answer.status === 402
      ? new PaymentError.RateLimited({ ...after, ...text(seen) })
      : new PaymentError.Unavailable({
        service: "merchant",
        status: answer.status,
        notSent: false,
        ...after,
        ...text(seen)
      }),
    refusal: new PaymentError.PaymentRejected({
      rail: plan.rail,
      status: answer.status,
      problem: verdict._tag === "Rejected" ? verdict.problem : "void",
      ...until(plan),
      ...text(seen)
    })
  }
}
