/**
 * How long to wait and how often to try again, per error, and when another rail may be used.
 *
 * A retry of a payment sends the same authorisation again; it never signs a second one.
 *
 * @since 0.1.0
 */
import * as Context from "effect/Context"
import * as Duration from "effect/Duration"
import * as Effect from "effect/Effect"
import * as Pull from "effect/Pull"
import * as Schedule from "effect/Schedule"
import type { RateLimited, TokenExpired, Unavailable } from "./PaymentError.ts"

/**
 * Whether another rail may be used while it is not proven that the first can take no money.
 *
 * **Details**
 *
 * `"proof"`, the default, never does. The other form buys time with a bounded loss: both may then be charged, up to
 * `maxDoubleSpend` US dollars for one purchase and `perHour` for all of them. Such purchases are marked in the ledger.
 *
 * @category models
 * @since 0.1.0
 */
export type Fallback = "proof" | { readonly maxDoubleSpend: string; readonly perHour: string }

/**
 * A schedule per error that waiting can mend. Its input is the error, so that it can honour `retryAfter`.
 *
 * @category models
 * @since 0.1.0
 */
export interface Policy {
  readonly RateLimited: Schedule.Schedule<unknown, RateLimited>
  readonly Unavailable: Schedule.Schedule<unknown, Unavailable>
  /** How often an expired token is renewed for one purchase. */
  readonly TokenExpired: Schedule.Schedule<unknown, TokenExpired>
  readonly fallback: Fallback
}

/**
 * The longest time that a server can make us wait, whatever it says.
 *
 * @category constants
 * @since 0.1.0
 */
export const maxWait: Duration.Duration = Duration.seconds(60)

/** As the server says, within reason; else as planned, in whole milliseconds. */
const honourRetryAfter = (millis: number | undefined, planned: Duration.Duration) =>
  Effect.succeed(
    millis === undefined
      ? Duration.millis(Math.ceil(Duration.toMillis(planned)))
      : Duration.min(Duration.millis(millis), maxWait)
  )

/**
 * The defaults: a rate limit is waited for as told, at most a minute and three times; an outage is tried again four times
 * with exponential waits, jittered, at most five seconds apart; a token is renewed once.
 *
 * @category constructors
 * @since 0.1.0
 */
export const defaults: Policy = {
  RateLimited: Schedule.exponential("500 millis").pipe(
    Schedule.setInputType<RateLimited>(),
    Schedule.upTo({ times: 3 }),
    Schedule.modifyDelay(({ duration, input }) => honourRetryAfter(input.retryAfter, duration))
  ),
  Unavailable: Schedule.min([Schedule.exponential("200 millis"), Schedule.spaced("5 seconds")]).pipe(
    Schedule.jittered,
    Schedule.setInputType<Unavailable>(),
    Schedule.upTo({ times: 4 }),
    Schedule.modifyDelay(({ duration, input }) => honourRetryAfter(input.retryAfter, duration))
  ),
  TokenExpired: Schedule.recurs(1).pipe(Schedule.setInputType<TokenExpired>()),
  fallback: "proof"
}

/**
 * The policy in force, read when a payment needs it.
 *
 * **Example** (No second try, and a loss of half a cent accepted)
 *
 * ```ts
 * import * as Effect from "effect/Effect"
 * import * as Schedule from "effect/Schedule"
 * import * as RetryPolicy from "effect-mpp/RetryPolicy"
 *
 * const impatient = Effect.updateService(RetryPolicy.RetryPolicy, (policy) => ({
 *   ...policy,
 *   Unavailable: Schedule.recurs(0),
 *   fallback: { maxDoubleSpend: "0.005", perHour: "0.05" } as const
 * }))
 *
 * Effect.runSync(impatient(Effect.map(RetryPolicy.RetryPolicy, (policy) => policy.fallback !== "proof"))) // => true
 * ```
 *
 * @category services
 * @since 0.1.0
 */
export const RetryPolicy: Context.Reference<Policy> = Context.Reference<Policy>("effect-mpp/RetryPolicy", {
  defaultValue: () => defaults
})

/**
 * Waits as a schedule says, for the reason given; answers false when the schedule says no more. It begins with the first
 * wait: what succeeds at once pays nothing for it.
 *
 * @category constructors
 * @since 0.1.0
 */
export const waiting = <Reason>(
  schedule: Schedule.Schedule<unknown, Reason>
): (reason: Reason) => Effect.Effect<boolean> => {
  let begun: ((reason: Reason) => Pull.Pull<unknown, never, unknown>) | undefined
  const begin = Effect.map(Schedule.toStepWithSleep(schedule), (step) => begun = step)
  return (reason) =>
    Effect.suspend(() => begun === undefined ? begin : Effect.succeed(begun)).pipe(
      Effect.flatMap((step) => step(reason)),
      Effect.as(true),
      Pull.catchDone(() => Effect.succeed(false))
    )
}
