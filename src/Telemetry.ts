/**
 * Names of what is measured: span attributes and metrics. None of them ever carries a credential, a token, a query string
 * or a word of a merchant.
 *
 * @since 0.1.0
 */
import * as Duration from "effect/Duration"
import * as Effect from "effect/Effect"
import * as Metric from "effect/Metric"
import * as Amount from "./Amount.ts"

const counted = { description: "Payments, by rail and outcome", incremental: true } as const
const spent = { description: "Micro-dollars spent, by rail", incremental: true, bigint: true } as const
const lasted = { description: "Time from the authorisation to the end of its payment, by rail and outcome" } as const

/**
 * Payments that came to an end, by rail and outcome.
 *
 * @category metrics
 * @since 0.1.0
 */
export const payments = Metric.counter("mpp_payments_total", counted)

/**
 * Micro-dollars that moved, by rail.
 *
 * @category metrics
 * @since 0.1.0
 */
export const amount = Metric.counter("mpp_spent_microdollars_total", spent)

/**
 * Time from the authorisation to the end of its payment, by rail and outcome.
 *
 * @category metrics
 * @since 0.1.0
 */
export const latency = Metric.timer("mpp_payment_duration", lasted)

/**
 * Micro-dollars that may still be spent in the agent's window.
 *
 * @category metrics
 * @since 0.1.0
 */
export const budgetLeft = Metric.gauge("mpp_budget_left_microdollars", {
  description: "Micro-dollars left in the agent's window",
  bigint: true
})

/**
 * How a payment ended, for the metric's label.
 *
 * @category models
 * @since 0.1.0
 */
export type Outcome = "paid" | "undelivered" | "rejected" | "uncertain" | "void"

/** Counters by the values of their labels, of which there are few: to name a series anew costs more than to count in it. */
const seriesOf = <Counter>(make: (rail: string, outcome: Outcome) => Counter) => {
  const known = new Map<string, Counter>()
  return (rail: string, outcome: Outcome): Counter => {
    const name = `${outcome} ${rail}`
    const counter = known.get(name) ?? make(rail, outcome)
    known.set(name, counter)
    return counter
  }
}

const paymentsBy = seriesOf((rail, outcome) =>
  Metric.counter(payments.id, { ...counted, attributes: { rail, outcome } })
)
const amountBy = seriesOf((rail) => Metric.counter(amount.id, { ...spent, attributes: { rail } }))
const latencyBy = seriesOf((rail, outcome) =>
  Metric.timer("mpp_payment_duration", { ...lasted, attributes: { rail, outcome } })
)

/**
 * Counts a payment that came to an end: the micro-dollars that moved, and the nanoseconds that it took.
 *
 * @category constructors
 * @since 0.1.0
 */
export const count = (rail: string, outcome: Outcome, spentUsd: bigint, nanos: bigint): Effect.Effect<void> =>
  Metric.update(paymentsBy(rail, outcome), 1).pipe(
    Effect.andThen(Metric.update(latencyBy(rail, outcome), Duration.nanos(nanos))),
    Effect.andThen(spentUsd > 0n ? Metric.update(amountBy(rail, outcome), spentUsd) : Effect.void)
  )

/**
 * What a span of a payment says.
 *
 * @category constructors
 * @since 0.1.0
 */
export const attributes = (payment: {
  readonly rail: string
  readonly origin: string
  readonly usd: bigint
  readonly id: string
  readonly choice?: string
}): Record<string, unknown> => ({
  "mpp.rail": payment.rail,
  "mpp.origin": payment.origin,
  "mpp.amount.usd": Amount.formatUsd(payment.usd),
  "mpp.payment.id": payment.id,
  ...(payment.choice === undefined ? {} : { "mpp.choice": payment.choice })
})
