/**
 * One draw on a token session: what its plan carries, and what an answer says of it.
 *
 * @since 0.1.0
 */
import * as Option from "effect/Option"
import * as Schema from "effect/Schema"
import * as Demand from "../Demand.ts"
import * as Rails from "../Rails.ts"

/**
 * What a `draw` plan carries. The limit bounds what a receipt can claim.
 *
 * @category models
 * @since 0.1.0
 */
export const Draw = Schema.Struct({
  endpoint: Schema.String,
  sessionId: Schema.String,
  expiresAt: Schema.Natural,
  limit: Schema.BigIntFromString
})

/**
 * @category models
 * @since 0.1.0
 */
export type Draw = typeof Draw.Type

/**
 * @category decoding
 * @since 0.1.0
 */
export const decode = Schema.decodeUnknownOption(Draw)

/**
 * @category encoding
 * @since 0.1.0
 */
export const encode = Schema.encodeSync(Draw)

const claimed = (what: string, detail?: Schema.Json) =>
  new Rails.Evidence({ rank: "claimed", what, ...(detail === undefined ? {} : { detail }) })

const unknown = (what: string, content: boolean, next: Rails.Next): Rails.Verdict => ({
  _tag: "Unknown",
  content,
  evidence: claimed(what),
  next
})

const delivered = (
  plan: Rails.Plan,
  draw: Draw,
  demand: Demand.Demand,
  what: string
): Rails.Verdict => {
  const receipt = Option.getOrUndefined(demand.receipt)
  if (receipt?.protocol !== "mpp/1.0") {
    return { _tag: "Settled", units: plan.units, content: true, evidence: claimed(what, { estimated: true }) }
  }
  if (receipt.sessionId !== draw.sessionId) {
    const evidence = new Rails.Evidence({ rank: "claimed", what: "receipt of another session", mismatch: true })
    return { _tag: "Settled", units: plan.units, content: true, evidence }
  }
  const units = receipt.amount < draw.limit ? receipt.amount : draw.limit
  return {
    _tag: "Settled",
    units,
    content: true,
    evidence: new Rails.Evidence({
      rank: "claimed",
      what: "receipt",
      ...(units > plan.units ? { mismatch: true } : {}),
      detail: { amount: receipt.amount.toString(), remaining: receipt.remaining.toString() }
    })
  }
}

const isReceipted = (draw: Draw, { receipt }: Demand.Demand): boolean =>
  Option.exists(receipt, (it) => it.protocol === "mpp/1.0" && it.sessionId === draw.sessionId)

/**
 * What an answer to a request with the session's token says of the money. The merchant's word is a claim; where it is not
 * clear, the session endpoint is asked.
 *
 * @category judging
 * @since 0.1.0
 */
export const judge = (plan: Rails.Plan, answer: Demand.Answer, now: number): Rails.Verdict => {
  const draw = plan.kind === "draw" ? Option.getOrUndefined(decode(plan.data)) : undefined
  const { status } = answer
  const what = `status ${status}`
  if (draw === undefined) return unknown("not a draw of this rail", false, { _tag: "reconcile" })
  const demand = Demand.read(answer, now)
  const after = Option.getOrUndefined(demand.retryAfter)
  if (status >= 200 && status < 300) return delivered(plan, draw, demand, what)
  if (status === 429 || status >= 500 || (status === 402 && after !== undefined)) {
    return unknown(what, false, { _tag: "resend", after })
  }
  if (status === 402) {
    const problem = Option.match(demand.problem, { onNone: () => "unspecified", onSome: ({ code }) => code })
    return { _tag: "Rejected", problem, evidence: claimed(what) }
  }
  if (status === 401 && (demand.challenged || now >= draw.expiresAt)) return unknown(what, false, { _tag: "renew" })
  // Other refusals are the application's own answers to the request: for the caller to read, debited or not.
  return status >= 400 && isReceipted(draw, demand)
    ? delivered(plan, draw, demand, what)
    : unknown(what, status >= 400, { _tag: "reconcile" })
}
