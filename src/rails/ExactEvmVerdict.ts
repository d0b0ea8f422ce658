/**
 * What an answer to an x402 `exact` payment says of the money.
 *
 * The server's word can commit money and never frees it. The protocol has no status of its own for "I do not know yet", and
 * answers 402 for everything: not seen, refused, already spent, and settled by somebody else.
 *
 * @since 0.1.0
 */
import * as Option from "effect/Option"
import type { Answer, Problem, Receipt } from "../Demand.ts"
import * as Demand from "../Demand.ts"
import type { Plan, Verdict } from "../Rails.ts"
import { claimed, isSuccess, reconcile, resend, unknown } from "./Words.ts"

/** How long a settlement that is under way is given before the same authorisation is sent again, in milliseconds. */
const pendingDelay = 2_000

type X402Receipt = Extract<Receipt, { readonly protocol: "x402" }>

// ---------------------------------------------------------------------------------------------------------------------
// Codes
// ---------------------------------------------------------------------------------------------------------------------

/** The nonce is used: by an earlier copy, or by whoever saw it on the way. */
const isSpent = (code: string) => /nonce\w*used|already_(?:used|settled)|duplicate_settlement/.test(code)

const isPending = (code: string | undefined) => code === "settlement_pending"

/** Failures of a settlement that was begun, or of the facilitator: they say nothing of the nonce. */
const isInconclusive = (code: string) =>
  /^unexpected_|_transaction_failed$|transfer_event_mismatch$|^invalid_transaction_state$/.test(code)

/**
 * What servers say to a request in which they saw no payment at all, because it was in the other version's header.
 * Official servers do not say more, and a server that says this of a payment that it has seen gains nothing: the
 * authorisation is the same in every envelope.
 */
const unseen =
  /^(?:(?:x-payment|payment-signature|payment)(?: header)? (?:is )?(?:required|missing)|payment[_-]required|missing (?:x-)?payment(?:-signature)?(?: header)?)\.?$/i

const isUnseen = (problem: Option.Option<Problem>): boolean =>
  Option.match(problem, {
    onNone: () => true,
    onSome: ({ code, merchantText }) =>
      code === "invalid_x402_version" || unseen.test(code) ||
      (merchantText !== undefined && unseen.test(merchantText.trim()))
  })

/** The server understood the payment and found it wanting; in the words of the protocol, or as the official server says. */
const refusalOf = (problem: Option.Option<Problem>): string | undefined => {
  if (Option.isNone(problem)) return undefined
  const { code, merchantText } = problem.value
  if (code !== "unspecified") return code
  return /\bmatching payment requirements\b/i.test(merchantText ?? "") ? "no_matching_payment_requirements" : undefined
}

// ---------------------------------------------------------------------------------------------------------------------
// Verdicts
// ---------------------------------------------------------------------------------------------------------------------

const referenceOf = ({ transaction }: X402Receipt) =>
  /^0x[0-9a-fA-F]{64}$/.test(transaction) ? { reference: transaction.toLowerCase() } : {}

const fits = (plan: Plan, receipt: X402Receipt): boolean =>
  (receipt.network === "" || receipt.network === plan.network) &&
  (receipt.payer === undefined || receipt.payer.toLowerCase() === plan.payer.toLowerCase()) &&
  (receipt.amount === undefined || receipt.amount === plan.units)

const withReceipt = (plan: Plan, status: number, receipt: X402Receipt, now: number): Verdict => {
  const content = isSuccess(status)
  if (receipt.success) {
    const mismatch = fits(plan, receipt) ? {} : { mismatch: true }
    // an exact authorisation moves all of its value or nothing, whatever the receipt says
    return {
      _tag: "Settled",
      units: plan.units,
      content,
      evidence: claimed("receipt", { ...referenceOf(receipt), ...mismatch })
    }
  }
  if (!content && isPending(receipt.errorReason)) {
    return unknown("settlement pending", resend(plan.spendableUntil, now, pendingDelay), false, referenceOf(receipt))
  }
  return unknown("settlement failed", reconcile, content, referenceOf(receipt))
}

const demandedAgain = (
  plan: Plan,
  envelopes: number,
  problem: Option.Option<Problem>,
  now: number
): Verdict => {
  if (isUnseen(problem)) {
    return unknown("demanded again", envelopes > 1 ? { _tag: "envelope" } : reconcile)
  }
  const code = refusalOf(problem)
  if (code === undefined) return unknown("demanded again", reconcile)
  if (isPending(code)) return unknown("settlement pending", resend(plan.spendableUntil, now, pendingDelay))
  if (isSpent(code)) return unknown("nonce already used", reconcile)
  if (isInconclusive(code)) return unknown("settlement failed", reconcile)
  return { _tag: "Rejected", problem: code, evidence: claimed("refused", { detail: { status: 402, code } }) }
}

/**
 * Judges an answer to the request that carried the payment.
 *
 * **Details**
 *
 * Total. `envelopes` is how many envelopes the credential has. Which of them was sent is not known here, so `envelope` is
 * said whenever the server seems not to have looked and there is more than one: after the last it means `reconcile`.
 *
 * @category mapping
 * @since 0.1.0
 */
export const judge = (plan: Plan, envelopes: number, answer: Answer, now: number): Verdict => {
  const { problem, receipt, retryAfter } = Demand.read(answer, now)
  const { status } = answer
  if (Option.isSome(receipt) && receipt.value.protocol === "x402") return withReceipt(plan, status, receipt.value, now)
  if (isSuccess(status)) return unknown("no receipt", reconcile, true)
  if (status === 402) return demandedAgain(plan, envelopes, problem, now)
  const what = `status ${status}`
  if (status === 412) {
    return { _tag: "Rejected", problem: refusalOf(problem) ?? "precondition_failed", evidence: claimed(what) }
  }
  return unknown(
    what,
    status === 429 || status >= 500 ? resend(plan.spendableUntil, now, Option.getOrUndefined(retryAfter)) : reconcile
  )
}
