/**
 * How an origin has behaved, and when that closes it for a while. The ledger remembers; nothing is decided from an offer.
 *
 * @since 0.1.0
 */
import * as Duration from "effect/Duration"
import * as Option from "effect/Option"
import * as Amount from "../Amount.ts"
import { PolicyDenied } from "../PaymentError.ts"

/**
 * How an origin has behaved, as the ledger remembers it.
 *
 * @category models
 * @since 0.1.0
 */
export interface Figures {
  /** Purchases abandoned within {@link undelivered}'s window, at their most in the last one. */
  readonly abandoned: number
  /** Authorisations refused within {@link refusals}' window, at their most in the last one. */
  readonly refused: number
  /** Micro-dollars that hang in authorisations of open outcome. */
  readonly hangingUsd: bigint
}

/**
 * So many purchases abandoned within the window close an origin for as long again.
 *
 * @category constants
 * @since 0.1.0
 */
export const undelivered = { count: 3, window: Duration.hours(1) } as const

/**
 * So many refusals within the window close an origin for as long again.
 *
 * @category constants
 * @since 0.1.0
 */
export const refusals = { count: 2, window: Duration.minutes(10) } as const

/**
 * The share of a plan, in percent, that may hang at one origin in authorisations of open outcome, and at a session endpoint
 * in openings that it did not answer.
 *
 * @category constants
 * @since 0.1.0
 */
export const hangingPercent = 20n

const denied = (rule: string, detail: string): PolicyDenied => new PolicyDenied({ rule, detail })

/**
 * Whether more hangs at one place, in what was signed and has an open outcome, than its share of a plan.
 *
 * @category rules
 * @since 0.1.0
 */
export const hangsTooMuch = (hangingUsd: bigint, plan: { readonly limit: bigint }): boolean =>
  100n * hangingUsd > hangingPercent * plan.limit

/**
 * Whether an origin has behaved badly enough to be closed for a while: rules `origin-undelivered`, `origin-refusals` and
 * `origin-exposure`.
 *
 * @category rules
 * @since 0.1.0
 */
export const conduct = (
  figures: Figures,
  plan: { readonly limit: bigint },
  origin: string
): Option.Option<PolicyDenied> => {
  if (figures.abandoned >= undelivered.count) {
    const window = Duration.format(undelivered.window)
    const detail = `${figures.abandoned} purchases at ${origin} were not delivered within ${window}; wait as long`
    return Option.some(denied("origin-undelivered", detail))
  }
  if (figures.refused >= refusals.count) {
    const window = Duration.format(refusals.window)
    const detail =
      `${origin} refused ${figures.refused} payments within ${window}, and could still take them; wait as long`
    return Option.some(denied("origin-refusals", detail))
  }
  if (hangsTooMuch(figures.hangingUsd, plan)) {
    const detail =
      `$${Amount.formatUsd(figures.hangingUsd)} hang at ${origin} in payments of open outcome, more than ` +
      `${hangingPercent} % of the budget; wait until they are resolved`
    return Option.some(denied("origin-exposure", detail))
  }
  return Option.none()
}
