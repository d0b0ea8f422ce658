/**
 * What is checked before a hold is taken. Pure: every store of a ledger asks this inside its own atomic step.
 *
 * @since 0.1.0
 */
import * as Option from "effect/Option"
import type { Limit } from "../Budget.ts"
import { BudgetExceeded } from "../PaymentError.ts"
import type { Draft, Standing } from "./Model.ts"

/**
 * Whether a request would go over a limit, and by which figures.
 *
 * @category limits
 * @since 0.1.0
 */
export const exceeds = (limit: Limit, standing: Standing, requestedUsd: bigint): Option.Option<BudgetExceeded> => {
  const counts = limit.scope === "count"
  const spent = counts ? BigInt(standing.count) : standing.spent
  const exposed = counts ? 0n : standing.exposed
  const requested = counts ? 1n : requestedUsd
  return spent + exposed + requested <= limit.limit
    ? Option.none()
    : Option.some(new BudgetExceeded({ scope: limit.scope, limit: limit.limit, spent, exposed, requested }))
}

/**
 * What is wrong with a draft that no program should make.
 *
 * @category limits
 * @since 0.1.0
 */
export const flaw = ({ authorization, limits, purchase, session }: Draft): Option.Option<string> => {
  const { counters, drawUsd, exposedUsd, holdUsd, plan: { kind }, spentUsd, state } = authorization
  const held = kind === "draw" ? 0n : holdUsd
  const drawn = kind === "draw" ? drawUsd : 0n
  return Option.fromUndefinedOr(
    state !== "signed" || authorization.evidence.length > 0
      ? "a new authorisation is signed, and nothing is known of it"
      : holdUsd < 0n || drawUsd < 0n
      ? "an amount is negative"
      : holdUsd !== held || drawUsd !== drawn || exposedUsd !== held || spentUsd !== 0n
      ? `an authorisation of kind ${kind} does not hold, draw, expose and spend like this`
      : kind !== "open" && purchase._tag === "None"
      ? "what pays must pay for a purchase"
      : Option.exists(purchase, (it) => it.id !== authorization.purchase)
      ? "the purchase is not the one that the authorisation names"
      : (kind === "open") !== (session._tag === "Some")
      ? "an authorisation begins a session if it is of kind open, and only then"
      : Option.exists(session, (it) => it.id !== authorization.session || it.authorization !== authorization.id)
      ? "the session is not the one that the authorisation names"
      : Option.exists(session, (it) => it.limitUsd > holdUsd || it.spentUsd !== 0n || it.reservedUsd !== 0n)
      ? "a new session has spent nothing, and its hold covers its limit"
      : limits.some((limit) => !counters.includes(limit.counter))
      ? "a limit is asked of a counter that the authorisation does not count in"
      : undefined
  )
}
