/**
 * The same purchase again. A request may end without content: the process was interrupted, the connection broke, the
 * merchant failed. When an equal request comes, it is first found out what became of the money, and the same authorisation
 * is sent again where that is safe. So a retry written anywhere cannot pay twice, and no URL is poisoned for ever.
 *
 * @since 0.1.0
 */
import * as Cause from "effect/Cause"
import * as Clock from "effect/Clock"
import * as Effect from "effect/Effect"
import * as Fiber from "effect/Fiber"
import { identity } from "effect/Function"
import * as Option from "effect/Option"
import * as Asset from "./Asset.ts"
import type * as Attempt from "./Attempt.ts"
import * as Ledger from "./Ledger.ts"
import * as Outcome from "./Outcome.ts"
import * as PaymentError from "./PaymentError.ts"
import { fail, type Work } from "./Purchase.ts"
import * as Rails from "./Rails.ts"
import * as Session from "./Session.ts"

/** A credential is not sent again when it could expire before it is settled. */
const resendMarginMillis = 6_000

interface Claimed {
  readonly purchase: Ledger.Purchase
  readonly authorization: Ledger.Authorization
}

/**
 * Makes the resumption of purchases. It answers the content, or `None` where this request is a new purchase.
 *
 * @category constructors
 * @since 0.1.0
 */
export const make = Effect.fnUntraced(function*(attempts: Effect.Success<typeof Attempt.make>) {
  const ledger = yield* Ledger.Ledger
  const rails = yield* Rails.Rails
  const session = yield* Session.Session
  const table = yield* Asset.Table
  const scope = yield* Effect.scope
  /** Purchases that are given up as soon as their callers have heard it, with their keys. */
  const ending = new Map<string, { readonly key: string; readonly fiber: Fiber.Fiber<void> }>()

  /**
   * Gives a purchase up, after the failure has reached its caller. If the process dies in between, the next equal request is
   * told the same; were it the other way round, it would be a new purchase for a caller who has heard nothing of the first.
   */
  const giveUp = (id: string, key: string, end: Effect.Effect<void>) =>
    Effect.andThen(Effect.yieldNow, end).pipe(
      Effect.ensuring(Effect.sync(() => ending.delete(id))),
      Effect.uninterruptible,
      Effect.forkIn(scope, { startImmediately: true }),
      Effect.map((fiber) => {
        ending.set(id, { key, fiber })
      })
    )

  /** An equal request that follows at once is a new purchase. */
  const givenUp = (key: string) =>
    Effect.suspend(() =>
      ending.size === 0
        ? Effect.void
        : Fiber.awaitAll(Array.from(ending.values()).flatMap((one) => one.key === key ? [one.fiber] : []))
    )

  const goOn = Effect.fnUntraced(function*<A, E, R>(
    work: Work<A, E, R>,
    { authorization, purchase }: Claimed,
    isOver: () => void
  ) {
    const same: Work<A, E, R> = { ...work, id: purchase.id }
    const rail = (yield* rails.all).find((one) => one.name === authorization.plan.rail)
    const asset = table.find(authorization.plan.network, authorization.plan.asset)
    const live = authorization.session === undefined
      ? Option.none<Session.Live>()
      : yield* session.find(authorization.session)

    const uncertain = Effect.fnUntraced(function*() {
      return yield* fail(
        same,
        new PaymentError.PaymentUncertain({
          rail: authorization.plan.rail,
          evidence: Outcome.evidenceJson(authorization.evidence),
          ...(authorization.plan.spendableUntil === undefined
            ? {}
            : { spendableUntil: authorization.plan.spendableUntil })
        }),
        "unknown"
      )
    })
    /** A new purchase may begin only if no other authorisation of this one can take the money. */
    const voided = Effect.fnUntraced(function*() {
      const isVoid = yield* Effect.isSuccess(ledger.delivered(purchase.id, "void"))
      return isVoid ? Option.none<A>() : yield* uncertain()
    })
    const undelivered = Effect.fnUntraced(function*() {
      isOver()
      return yield* fail(
        same,
        new PaymentError.PaidUndelivered({
          rail: authorization.plan.rail,
          evidence: Outcome.evidenceJson(authorization.evidence)
        }),
        "spent"
      )
    })

    const resend = Effect.fnUntraced(function*(
      rail: Rails.Rail,
      asset: Asset.Asset,
      authorization: Ledger.Authorization
    ) {
      const outcome = yield* attempts.resend({
        exchange: work.exchange,
        rail,
        asset,
        purchase: purchase.id,
        authorization,
        live
      }).pipe(Option.match(live, { onNone: () => identity, onSome: ({ inTurn }) => inTurn }))
      switch (outcome._tag) {
        case "Content":
          return Option.some(outcome.value)
        case "Void":
          return yield* voided()
        case "Stop": {
          // Only an answer uses up the one resumption: a network that is down says nothing of the merchant.
          if (outcome.reason._tag === "PaidUndelivered" && outcome.reason.status !== undefined) isOver()
          return yield* fail(same, outcome.reason, outcome.money)
        }
        default:
          return yield* uncertain()
      }
    })

    if (authorization.state === "released") return yield* voided()
    if (rail === undefined || Option.isNone(asset)) return yield* uncertain()
    // Nothing will ever tell what became of a draw whose session is closed: it counts as spent.
    const lost = authorization.state === "presumed" && authorization.plan.kind === "draw"
    const found = authorization.state === "settled" || lost
      ? "settled"
      : yield* attempts.reconcile({
        exchange: work.exchange,
        rail,
        asset: asset.value,
        purchase: purchase.id,
        authorization,
        live
      })
    if (found === "void") return yield* voided()
    // It can no longer become spent and counts as spent: nothing is gained by waiting for evidence any longer.
    if (found === "open" && authorization.state === "presumed") return yield* undelivered()
    const now = yield* Clock.currentTimeMillis
    // What the merchant has never seen is no repetition, and what was broadcast needs no further signature.
    const { broadcast } = authorization
    const isUnseen = broadcast !== undefined && broadcast.step !== "presented"
    const { cumulative, kind } = authorization.plan
    const again = (kind !== "draw" || cumulative !== undefined) && (rail.repeats || broadcast !== undefined) &&
      (work.exchange.repeatable || isUnseen)
    if (found === "settled") {
      const settled = new Ledger.Authorization({ ...authorization, state: "settled" })
      return again && !Rails.isExpired(authorization.plan, now)
        ? yield* resend(rail, asset.value, settled)
        : yield* undelivered()
    }
    const spendable = authorization.plan.spendableUntil === undefined ||
      now < authorization.plan.spendableUntil - resendMarginMillis
    return again && spendable ? yield* resend(rail, asset.value, authorization) : yield* uncertain()
  })

  // Whoever claims a purchase and ends without content, by an interruption too, leaves it to the next.
  const resumed = <A, E, R>(work: Work<A, E, R>, isOver: (id: string) => void) =>
    Effect.uninterruptibleMask((restore) =>
      Effect.flatMap(ledger.claim(work.key, work.id), (claimed) => {
        if (Option.isNone(claimed)) return Effect.succeedNone
        const { id } = claimed.value.purchase
        const end = (delivery: Ledger.Delivery) => Effect.ignore(ledger.delivered(id, delivery))
        const unwritten = (error: PaymentError.LedgerUnavailable) => fail({ ...work, id }, error, "unknown")
        return restore(goOn(work, claimed.value, () => isOver(id))).pipe(
          Effect.catchTag("LedgerUnavailable", unwritten),
          // Its content may have come, and not reached whoever asked.
          Effect.onError(() => Effect.andThen(end("undelivered"), end("broken")))
        )
      })
    )

  // Whoever was interrupted in the last moment has heard nothing: he is told when he asks again.
  const resume = <A, E, R>(work: Work<A, E, R>) =>
    Effect.suspend(() => {
      let over: string | undefined
      return Effect.onError(
        resumed(work, (id) => {
          over = id
        }),
        (cause) =>
          over === undefined || Cause.hasInterrupts(cause)
            ? Effect.void
            : giveUp(over, work.key, Effect.ignore(ledger.delivered(over, "abandoned")))
      )
    })

  return <A, E, R>(work: Work<A, E, R>) => Effect.andThen(givenUp(work.key), resume(work))
})
