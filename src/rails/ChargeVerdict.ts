/**
 * What an answer to a charge over MPP says of the money, whatever the method.
 *
 * The server's word can commit money and never frees it. A receipt counts on any status, because a server may take the money
 * and fail afterwards; a demand that is made again says nothing.
 *
 * @since 0.1.0
 */
import * as Option from "effect/Option"
import type { Answer, Problem, Receipt } from "../Demand.ts"
import * as Demand from "../Demand.ts"
import type { Plan, Verdict } from "../Rails.ts"
import { claimed, isSuccess, reconcile, resend, unknown } from "./Words.ts"

/**
 * What is known of the credential that was answered.
 *
 * @category models
 * @since 0.1.0
 */
export interface Expected {
  readonly method: string
  readonly challengeId: string
  /** What a receipt must refer to, where that is known before: the hash of the transaction. */
  readonly reference?: string | undefined
  /**
   * Until when the same credential may be sent again (milliseconds since the epoch). By default that is as long as what was
   * signed can be taken.
   */
  readonly resendUntil?: number | undefined
}

type Standard = Extract<Receipt, { readonly protocol: "mpp" }>

// ---------------------------------------------------------------------------------------------------------------------
// Receipts
// ---------------------------------------------------------------------------------------------------------------------

const isHex = /^0x[0-9a-f]+$/i

/** Hashes are the same in any case; other references are not. */
const normal = (reference: string): string => isHex.test(reference) ? reference.toLowerCase() : reference

/** A reference of the merchant's that may be shown. */
const referenceOf = ({ reference }: Standard) =>
  /^[A-Za-z0-9_.:-]{1,128}$/.test(reference) ? { reference: normal(reference) } : {}

const fits = ({ challengeId, method, reference }: Expected, receipt: Standard): boolean =>
  receipt.method === method && (receipt.challengeId === undefined || receipt.challengeId === challengeId) &&
  (reference === undefined || normal(receipt.reference) === normal(reference))

const withReceipt = (plan: Plan, expected: Expected, status: number, receipt: Standard): Verdict => {
  const content = isSuccess(status)
  return fits(expected, receipt)
    // A charge moves all of its units or nothing.
    ? { _tag: "Settled", units: plan.units, content, evidence: claimed("receipt", referenceOf(receipt)) }
    : unknown("receipt of another payment", reconcile, content, { ...referenceOf(receipt), mismatch: true })
}

// ---------------------------------------------------------------------------------------------------------------------
// Problems
// ---------------------------------------------------------------------------------------------------------------------

/** The server understood the credential and does not take it. */
const refusals: ReadonlySet<string> = new Set([
  "payment-insufficient",
  "payment-expired",
  "payment-action-required",
  "malformed-credential",
  "method-unsupported",
  "invalid-payload",
  "bad-request"
])

/** A credential fails its verification, too, when it was taken before. */
const isTaken = ({ merchantText = "" }: Problem) =>
  /\balready\b|\bused\b|\bclaimed\b|replay|duplicate/i.test(merchantText)

const refused = (status: number, problem: Option.Option<Problem>): Verdict | undefined => {
  if (Option.isNone(problem)) return undefined
  const { code } = problem.value
  if (code === "invalid-challenge") return unknown("challenge used or unknown", reconcile)
  if (code === "internal-payment-error") return unknown("the merchant failed at the payment", reconcile)
  if (code === "verification-failed" && isTaken(problem.value)) return unknown("already used", reconcile)
  return refusals.has(code) || code === "verification-failed"
    ? { _tag: "Rejected", problem: code, evidence: claimed("refused", { detail: { status, code } }) }
    : undefined
}

/**
 * Judges an answer to the request that carried the credential.
 *
 * **Details**
 *
 * Total. A receipt that names another challenge, or another transaction than the one that was signed, settles nothing: it is
 * found out what became of ours.
 *
 * @category mapping
 * @since 0.1.0
 */
export const judge = (plan: Plan, expected: Expected, answer: Answer, now: number): Verdict => {
  const { problem, receipt, retryAfter } = Demand.read(answer, now)
  const { status } = answer
  if (Option.isSome(receipt) && receipt.value.protocol === "mpp") {
    return withReceipt(plan, expected, status, receipt.value)
  }
  if (isSuccess(status)) return unknown("no receipt", reconcile, true)
  const isOutage = status === 429 || status >= 500
  const isOver = !isOutage || Option.exists(problem, ({ code }) => code === "internal-payment-error")
  const verdict = isOver ? refused(status, problem) : undefined
  if (verdict !== undefined) return verdict
  const until = expected.resendUntil ?? plan.spendableUntil
  // Told to come back, with a demand that is no answer to what was presented.
  if (status === 402) {
    const next = Option.match(retryAfter, { onNone: () => reconcile, onSome: (after) => resend(until, now, after) })
    return unknown("demanded again", next)
  }
  return unknown(`status ${status}`, isOutage ? resend(until, now, Option.getOrUndefined(retryAfter)) : reconcile)
}
