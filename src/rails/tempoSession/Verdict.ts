/**
 * What an answer says of a draw on a channel.
 *
 * A receipt tells how much the server has delivered for in all. It is believed as far as it fits our own books: the same
 * channel, no more than was signed, and not less than before.
 *
 * @since 0.1.0
 */
import * as Option from "effect/Option"
import type { Answer } from "../../Demand.ts"
import * as Demand from "../../Demand.ts"
import type { Plan, Verdict } from "../../Rails.ts"
import type { SessionReceipt } from "../../wire/mpp/TempoSession.ts"
import { claimed, isSuccess, reconcile, resend, unknown } from "../Words.ts"
import * as Merchant from "./Merchant.ts"
import type { Draw } from "./Plan.ts"

/**
 * Whether a receipt can be true of a draw: of its channel, within what was signed and has left, and no less than before.
 *
 * @category predicates
 * @since 0.1.0
 */
export const fits = (draw: Draw, receipt: SessionReceipt, signed: bigint): boolean =>
  receipt.channelId === draw.channelId && receipt.spent <= receipt.acceptedCumulative &&
  receipt.acceptedCumulative <= signed && receipt.spent >= draw.before

/** The server wants a higher voucher than the one that it got. */
const wantsMore: ReadonlySet<string> = new Set(["insufficient-balance", "delta-too-small"])

/** The server looked at the challenge, and not at the voucher. */
const wantsChallenge: ReadonlySet<string> = new Set([
  "challenge-not-found",
  "invalid-challenge",
  "payment-expired",
  "payment-required"
])

/** The server does not know the channel any more, or will not take anything from it. */
const isGone: ReadonlySet<string> = new Set([
  "channel-not-found",
  "channel-closed",
  "channel-finalized",
  "invalid-signature",
  "signer-mismatch"
])

/** Problems of sessions have a prefix, which not all servers write. */
const bare = (code: string): string => code.replace(/^session\//, "")

/**
 * Judges an answer to the request that carried a voucher.
 *
 * @category mapping
 * @since 0.1.0
 */
export const judge = (
  plan: Plan,
  draw: Draw,
  answer: Answer,
  now: number,
  signed: bigint
): Verdict => {
  const { status } = answer
  // A merchant answers the management of a channel like that.
  const content = isSuccess(status) && status !== 204
  const receipt = Merchant.receiptOf(answer)
  if (Option.isSome(receipt)) {
    const { acceptedCumulative, spent } = receipt.value
    const detail = { spent: spent.toString(), accepted: acceptedCumulative.toString() }
    if (!fits(draw, receipt.value, signed)) {
      return unknown("receipt that does not fit", reconcile, content, { detail, mismatch: true })
    }
    if (spent >= draw.before + plan.units) {
      return {
        _tag: "Settled",
        units: plan.units,
        content,
        evidence: claimed("receipt", { reference: draw.channelId, detail }),
        session: { total: spent, signed }
      }
    }
    if (content) return unknown("receipt that counts nothing", reconcile, true, { detail })
  } else if (isSuccess(status)) {
    return unknown("no receipt", reconcile, content)
  }
  const { problem, retryAfter } = Demand.read(answer, now)
  const code = Option.match(problem, { onNone: () => "", onSome: (it) => bare(it.code) })
  const detail = { status, code }
  if (status === 410 || isGone.has(code)) {
    return {
      _tag: "Rejected",
      problem: code === "" ? "channel-not-found" : code,
      evidence: claimed("refused", { detail, mismatch: true })
    }
  }
  if (wantsMore.has(code) && draw.first < draw.most) {
    return unknown("a higher voucher is wanted", { _tag: "envelope" }, false, { detail })
  }
  if (wantsMore.has(code)) return { _tag: "Rejected", problem: code, evidence: claimed("refused", { detail }) }
  if ((status === 402 || status === 401) && (code === "" || wantsChallenge.has(code))) {
    return unknown("another challenge is wanted", { _tag: "challenge" }, false, { detail })
  }
  if (status === 429 || status >= 500) {
    const after = Option.getOrUndefined(retryAfter)
    return unknown(`status ${status}`, resend(undefined, now, after), false, { detail })
  }
  return code === ""
    ? unknown(`status ${status}`, reconcile, false, { detail })
    : { _tag: "Rejected", problem: code, evidence: claimed("refused", { detail }) }
}
