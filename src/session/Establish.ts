/**
 * Opens one session: its limit is held and written down before its endpoint is asked, and what the endpoint did is written
 * down whatever it was.
 *
 * @since 0.1.0
 */
import * as Clock from "effect/Clock"
import * as SecureRandom from "effect/crypto/SecureRandom"
import * as Duration from "effect/Duration"
import * as Effect from "effect/Effect"
import * as Exit from "effect/Exit"
import * as Option from "effect/Option"
import * as Amount from "../Amount.ts"
import { sessionUsdc } from "../Asset.ts"
import * as Budget from "../Budget.ts"
import * as Ledger from "../Ledger.ts"
import type { Offer } from "../Offer.ts"
import * as PaymentError from "../PaymentError.ts"
import * as Rails from "../Rails.ts"

/**
 * A live session together with the rail that keeps it.
 *
 * @category models
 * @since 0.1.0
 */
export interface Live {
  readonly rail: Rails.Rail
  readonly ops: Rails.SessionOps
  readonly id: string
  readonly key: string
  readonly handle: Rails.SessionHandle
}

/**
 * Why a session could not be had.
 *
 * @category errors
 * @since 0.1.0
 */
export type SessionFailure =
  | PaymentError.BudgetExceeded
  | PaymentError.LedgerUnavailable
  | PaymentError.PolicyDenied
  | PaymentError.PaymentRejected
  | PaymentError.ProtocolError
  | PaymentError.RateLimited
  | PaymentError.Unavailable

/**
 * What a session is needed for.
 *
 * @category models
 * @since 0.1.0
 */
export interface Need {
  readonly rail: Rails.Rail
  readonly ops: Rails.SessionOps
  readonly offer: Offer
  readonly origin: string
  readonly agent: string
  /** How many paid requests the program expects to make. */
  readonly expected: number
}

/** How long a session is asked for at most. */
const maxValidity = Duration.hours(1)

/**
 * Micro-dollars of a session's base units.
 *
 * @category conversions
 * @since 0.1.0
 */
export const usd = (units: bigint): bigint => Amount.toUsd({ asset: sessionUsdc, units })

/**
 * Lets an effect be interrupted within a region that must not be.
 *
 * @category models
 * @since 0.1.0
 */
export type Restore = <A, E, R>(effect: Effect.Effect<A, E, R>) => Effect.Effect<A, E, R>

/** Proof that no session was opened: the endpoint said so, or nothing left this process. */
const isRefusal = (error: SessionFailure): error is PaymentError.PaymentRejected | PaymentError.Unavailable =>
  error._tag === "PaymentRejected" || (error._tag === "Unavailable" && error.notSent)

/**
 * Makes the opening of sessions. It is not to be interrupted but where it restores: while the endpoint is asked.
 *
 * @category constructors
 * @since 0.1.0
 */
export const make = Effect.gen(function*() {
  const ledger = yield* Ledger.Ledger
  const budget = yield* Budget.Budget
  const random = yield* SecureRandom.SecureRandom

  const remaining = (limits: ReadonlyArray<Budget.Limit>) =>
    Effect.map(
      Effect.forEach(limits, (limit) =>
        Effect.map(ledger.standing(limit.counter, limit.windowMillis), (standing) => ({ limit, ...standing }))),
      Budget.remaining
    )

  return Effect.fn("Session.establish")(function*(
    need: Need,
    key: string,
    restore: Restore
  ): Effect.fn.Return<Live, SessionFailure> {
    const { agent, offer, ops, origin, rail } = need
    yield* Effect.annotateCurrentSpan({ "mpp.rail": rail.name, "mpp.origin": origin })
    const who = { agent, origin, payer: rail.payer }
    const limits = budget.limits(who)
    const price = usd(offer.units)
    const left = yield* remaining(limits)
    const limitUsd = budget.sessionLimit({ price, expected: need.expected, remaining: left })
    if (Option.isNone(limitUsd)) {
      return yield* new PaymentError.BudgetExceeded({
        scope: "session",
        limit: left,
        spent: 0n,
        exposed: 0n,
        requested: price
      })
    }
    const id = `ses_${yield* random.uuidV7()}`
    const authorization = `aut_${yield* random.uuidV7()}`
    const now = yield* Clock.currentTimeMillis
    const plan = yield* ops.planOpen(offer, {
      origin,
      agent,
      purchase: id,
      limit: limitUsd.value,
      validityMillis: Math.min(Duration.toMillis(maxValidity), Duration.toMillis(budget.plan.window)),
      idempotencyKey: authorization
    })
    yield* ledger.authorize({
      purchase: Option.none(),
      authorization: Ledger.newAuthorization({
        id: authorization,
        session: id,
        plan: new Rails.Plan({ ...plan, rail: rail.name }),
        holdUsd: limitUsd.value,
        drawUsd: 0n,
        counters: budget.counters(who),
        origin,
        now
      }),
      limits,
      session: Option.some(
        new Ledger.SessionRecord({
          id,
          rail: rail.name,
          origin,
          key,
          authorization,
          limitUsd: limitUsd.value,
          spentUsd: 0n,
          reservedUsd: 0n,
          state: "establishing",
          expiresAt: plan.spendableUntil ?? now + Duration.toMillis(maxValidity)
        })
      )
    })
    const established = yield* Effect.exit(restore(ops.establish(plan)))
    if (Exit.isSuccess(established)) {
      const handle = established.value
      yield* ledger.updateSession(id, {
        handle,
        state: "live",
        expiresAt: handle.expiresAt,
        limitUsd: usd(handle.limit)
      }).pipe(
        // What could not be written is not drawn on.
        Effect.tapError(() => Effect.ignore(ops.close(handle)))
      )
      return { rail, ops, id, key, handle }
    }
    const refused = Exit.findErrorOption(established).pipe(Option.filter(isRefusal))
    yield* ledger.judged(authorization, {
      state: Option.isSome(refused) ? "released" : "unknown",
      evidence: Option.isSome(refused)
        ? new Rails.Evidence({
          rank: "attested",
          what: refused.value._tag === "Unavailable" ? "not sent" : "refused by the session endpoint"
        })
        : new Rails.Evidence({ rank: "presumed", what: "no answer from the session endpoint" })
    })
    yield* ledger.updateSession(id, { state: Option.isSome(refused) ? "closed" : "closing" })
    return yield* Effect.failCause(established.cause)
  })
})
