/**
 * Which offer is paid, and why.
 *
 * 1. An active session that covers the price. 2. A new session, when the workload is worth one. 3. A single charge over
 * MPP. 4. x402. A new session that is not worth one comes last. Within a class: cheaper first, then fewer on-chain steps,
 * then the server's order. What the request itself prefers by `Accept-Payment` comes before all of that.
 *
 * A program can replace the ranking; it cannot skip policy, budget or ledger.
 *
 * @since 0.1.0
 */
import * as Context from "effect/Context"
import * as Option from "effect/Option"
import * as Amount from "./Amount.ts"
import type { Asset } from "./Asset.ts"
import type { Demand } from "./Demand.ts"
import * as Fit from "./Fit.ts"
import { type Offer, Refused } from "./Offer.ts"
import * as PaymentError from "./PaymentError.ts"
import type { Rail, SessionOps } from "./Rails.ts"

/**
 * A workload of this many requests is worth a session.
 *
 * @category constants
 * @since 0.1.0
 */
export const sessionWorkload = 5

/**
 * The class of a candidate, best first.
 *
 * @category models
 * @since 0.1.0
 */
export type Tier = "live session" | "new session" | "charge" | "x402" | "session of last resort"

const order: { readonly [K in Tier]: number } = {
  "live session": 0,
  "new session": 1,
  charge: 2,
  x402: 3,
  "session of last resort": 4
}

/**
 * An offer that a rail can pay, that policy allows, and that is within the ceiling for one request.
 *
 * @category models
 * @since 0.1.0
 */
export interface Candidate {
  readonly rail: Rail
  readonly session: Option.Option<SessionOps>
  readonly offer: Offer
  readonly asset: Asset
  /** The price in micro-dollars. */
  readonly usd: bigint
  readonly tier: Tier
  /** How much the caller wants to pay this way, from 0 to 1: 1 unless the request says otherwise. */
  readonly preference: number
  /** The place in the server's list. */
  readonly place: number
  /** Why it stands where it stands, in our words. */
  readonly why: string
}

/**
 * Sorts candidates, best first.
 *
 * @category models
 * @since 0.1.0
 */
export type Rank = (candidates: ReadonlyArray<Candidate>) => ReadonlyArray<Candidate>

const byTierThenPrice: Rank = (candidates) =>
  candidates.toSorted((a, b) =>
    b.preference - a.preference ||
    order[a.tier] - order[b.tier] ||
    (a.usd < b.usd ? -1 : a.usd > b.usd ? 1 : 0) ||
    a.rail.steps - b.rail.steps ||
    a.place - b.place
  )

/**
 * The ranking in force.
 *
 * **Example** (Never a session)
 *
 * ```ts
 * import * as Choice from "effect-mpp/Choice"
 * import * as Layer from "effect/Layer"
 *
 * const perRequest = Layer.succeed(Choice.Ranking, (candidates) =>
 *   candidates.filter((candidate) => candidate.offer.intent === "charge"))
 * Layer.isLayer(perRequest) // => true
 * ```
 *
 * @category services
 * @since 0.1.0
 */
export const Ranking: Context.Reference<Rank> = Context.Reference<Rank>("effect-mpp/Choice/Ranking", {
  defaultValue: () => byTierThenPrice
})

/**
 * What the choice is made from.
 *
 * @category models
 * @since 0.1.0
 */
export interface Question {
  readonly demand: Demand
  readonly origin: string
  readonly rails: ReadonlyArray<Rail>
  /** Names of the rails that may be used; absent: all. */
  readonly only: ReadonlyArray<string> | undefined
  /** The request that is to be paid for. */
  readonly request: Fit.Request
  /** The most that one request may cost, in micro-dollars. */
  readonly ceiling: bigint
  readonly expected: number
  readonly screen: (offer: Offer, asset: Asset, rail: Rail) => Option.Option<PaymentError.PolicyDenied>
  readonly isLive: (offer: Offer, rail: Rail, ops: SessionOps) => boolean
  readonly rank: Rank
}

/**
 * An offer that was understood and is no candidate, and why; in our own words.
 *
 * @category models
 * @since 0.1.0
 */
export interface Declined {
  readonly offer: Offer
  readonly why: string
}

/**
 * The candidates, best first, and why the others are none.
 *
 * @category models
 * @since 0.1.0
 */
export interface Answer {
  readonly candidates: ReadonlyArray<Candidate>
  readonly refused: ReadonlyArray<Refused>
  /** Those of the refused that were understood. */
  readonly declined: ReadonlyArray<Declined>
  /** The error that a caller gets if no candidate is left. */
  readonly failure: PaymentError.Reason
}

const name = (offer: Offer) =>
  offer.protocol === "x402"
    ? `x402 ${offer.method} on ${offer.network}`
    : offer.protocol === "mpp/1.0"
    ? "mpp/1.0 session"
    : `mpp ${offer.method}/${offer.intent}`

/** What the merchant wrote never reaches a message: names of methods are cut to harmless characters. */
const describe = (offer: Offer) => name(offer).replace(/[^A-Za-z0-9_./: -]/g, "?").slice(0, 80)

/** That it is of another method is no reason that helps anybody. */
const speaks = ({ accept }: Rail, { intent, method, protocol }: Offer): boolean =>
  accept === undefined ? protocol !== "mpp" : accept === `${method}/${intent}`

const tierOf = (question: Question, offer: Offer, rail: Rail): Pick<Candidate, "tier" | "why"> => {
  if (Option.isSome(rail.session) && offer.intent === "session") {
    if (question.isLive(offer, rail, rail.session.value)) {
      return { tier: "live session", why: "a live session covers it" }
    }
    return question.expected >= sessionWorkload
      ? { tier: "new session", why: `${question.expected} requests are worth a session` }
      : {
        tier: "session of last resort",
        why: `${question.expected} ${question.expected === 1 ? "request is" : "requests are"} not worth a session`
      }
  }
  return offer.protocol === "x402"
    ? { tier: "x402", why: "pays this request alone, over x402" }
    : { tier: "charge", why: "pays this request alone, over MPP" }
}

/** A ranking is the program's own: if it fails, nothing is paid. */
const rankedBy = (rank: Rank, candidates: ReadonlyArray<Candidate>) => {
  try {
    return { ranked: rank(candidates), failed: undefined }
  } catch {
    return {
      ranked: [],
      failed: new PaymentError.PolicyDenied({ rule: "ranking", detail: "the program's own ranking of offers failed" })
    }
  }
}

/**
 * Chooses. Pure: asks nobody and signs nothing.
 *
 * @category constructors
 * @since 0.1.0
 */
export const choose = (question: Question): Answer => {
  const { demand } = question
  const declined: Array<Declined> = []
  const denied: Array<PaymentError.PolicyDenied> = []
  const dear: Array<PaymentError.BudgetExceeded> = []
  const candidates: Array<Candidate> = []
  const rails = question.rails.filter((rail) => question.only === undefined || question.only.includes(rail.name))

  demand.offers.forEach((offer, place) => {
    const deny = (error: PaymentError.PolicyDenied) => {
      denied.push(error)
      declined.push({ offer, why: error.detail })
    }
    const misfit = Fit.objection(offer, question.request)
    if (Option.isSome(misfit)) return deny(misfit.value)
    const reasons: Array<string> = []
    for (const rail of rails) {
      const accepted = rail.accepts(offer, question.origin)
      if (accepted._tag === "Failure") {
        const { rule, why } = accepted.failure
        if (rule !== undefined) denied.push(new PaymentError.PolicyDenied({ rule, detail: why, offer }))
        if (speaks(rail, offer)) reasons.push(why)
        continue
      }
      const asset = accepted.success
      const objection = question.screen(offer, asset, rail)
      if (Option.isSome(objection)) {
        denied.push(objection.value)
        reasons.push(objection.value.detail)
        continue
      }
      const usd = Amount.toUsd({ asset, units: offer.units })
      if (usd > question.ceiling) {
        dear.push(
          new PaymentError.BudgetExceeded({
            scope: "request",
            limit: question.ceiling,
            spent: 0n,
            exposed: 0n,
            requested: usd
          })
        )
        reasons.push(`costs $${Amount.formatUsd(usd)}, and one request may cost $${Amount.formatUsd(question.ceiling)}`)
        continue
      }
      candidates.push({
        rail,
        session: offer.intent === "session" ? rail.session : Option.none(),
        offer,
        asset,
        usd,
        preference: Fit.preference(offer, question.request),
        place,
        ...tierOf(question, offer, rail)
      })
      return
    }
    declined.push({ offer, why: reasons[0] ?? "no rail of this agent speaks it" })
  })
  const refused = [
    ...demand.refused,
    ...declined.map(({ offer, why }) => new Refused({ what: describe(offer), why }))
  ]

  const { failed, ranked } = rankedBy(question.rank, candidates)
  const text = Option.getOrUndefined(Option.flatMap(demand.problem, (it) => Option.fromUndefinedOr(it.merchantText)))
  const merchantText = text === undefined ? {} : { merchantText: text }
  const sessionsOnly = demand.offers.length > 0 && demand.offers.every((offer) => offer.intent === "session")
  return {
    candidates: ranked,
    refused,
    declined,
    // Made when it is asked for: where there is a candidate it rarely is.
    get failure() {
      return failed ?? dear[0] ?? denied[0] ??
        (sessionsOnly
          ? new PaymentError.SessionRequired({
            realm: (demand.offers[0]!.realm ?? "").slice(0, 200),
            offers: demand.offers,
            refused,
            ...merchantText
          })
          : new PaymentError.NoPayableOffer({ offers: demand.offers, refused, ...merchantText }))
    }
  }
}
