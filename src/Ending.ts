/**
 * How an attempt ends: what is written down of it, what is found out about it, and what its caller is told.
 *
 * @since 0.1.0
 */
import * as Cause from "effect/Cause"
import * as Clock from "effect/Clock"
import * as Effect from "effect/Effect"
import * as Exit from "effect/Exit"
import * as Option from "effect/Option"
import * as Amount from "./Amount.ts"
import type { Asset } from "./Asset.ts"
import type { Exchange } from "./Exchange.ts"
import * as Ledger from "./Ledger.ts"
import * as Outcome from "./Outcome.ts"
import type * as PaymentError from "./PaymentError.ts"
import * as Rails from "./Rails.ts"
import type { End } from "./ResponseBody.ts"
import * as Session from "./Session.ts"
import * as Telemetry from "./Telemetry.ts"

/**
 * One authorisation to carry out for an exchange.
 *
 * @category models
 * @since 0.1.0
 */
export interface Attempt<A, E, R> {
  readonly exchange: Exchange<A, E, R>
  readonly rail: Rails.Rail
  readonly asset: Asset
  readonly purchase: string
  readonly authorization: Ledger.Authorization
  /** The session that a draw spends from. */
  readonly live: Option.Option<Session.Live>
}
/**
 * Makes an effect interruptible again.
 *
 * @category models
 * @since 0.1.0
 */
export type Restore = <A, E, R>(effect: Effect.Effect<A, E, R>) => Effect.Effect<A, E, R>

/**
 * An attempt that is under way: where it may be interrupted, and since when.
 *
 * @category models
 * @since 0.1.0
 */
export interface UnderWay<A, E, R> extends Attempt<A, E, R> {
  readonly restore: Restore
  readonly since: bigint
  /** It was settled before, and is asked for once more: it stays settled, whatever the merchant says now. */
  readonly settled: boolean
}

/** Whether an authorisation took the money, cannot take it, or nobody knows. */
type Finding = "void" | "settled" | "open"

const countedLater = new Rails.Evidence({ rank: "claimed", what: "counted by a later receipt" })
const notSigned = new Rails.Evidence({ rank: "proven", what: "nothing more was signed" })

/**
 * Makes the endings; they need the ledger and the sessions.
 *
 * @category constructors
 * @since 0.1.0
 */
export const make = Effect.gen(function*() {
  const ledger = yield* Ledger.Ledger
  const session = yield* Session.Session

  // -------------------------------------------------------------------------------------------------------------------
  // Written down
  // -------------------------------------------------------------------------------------------------------------------

  /** Money may have moved: a ledger that fails now is reported, and must not hide what the merchant answered. */
  const note = (write: Effect.Effect<void, PaymentError.LedgerUnavailable>) =>
    Effect.catch(write, (error) => Effect.logError("a payment's outcome could not be written", error.message))

  const judged = <A, E, R>(
    { authorization, settled }: UnderWay<A, E, R>,
    state: "rejected" | "unknown" | "released",
    evidence: Rails.Evidence
  ) => settled ? Effect.void : note(ledger.judged(authorization.id, { state, evidence }))

  /** It can never move, but fees may have been paid for it. */
  const voided = <A, E, R>(
    { asset, authorization: { id, plan }, settled }: UnderWay<A, E, R>,
    verdict: Extract<Rails.Verdict, { readonly _tag: "Void" }>
  ) => settled ? Effect.void : note(ledger.judged(id, Ledger.judgement(verdict, plan, asset)))

  const undelivered = ({ purchase }: { readonly purchase: string }) => note(ledger.delivered(purchase, "undelivered"))

  const counted = <A, E, R>({ rail, since }: UnderWay<A, E, R>, outcome: Telemetry.Outcome, spent = 0n) =>
    Effect.flatMap(Clock.monotonicTimeNanos, (now) => Telemetry.count(rail.name, outcome, spent, now - since))

  /** Runs what may be interrupted. If it is, the authorisation stays held and is reconciled later. */
  const interruptible = <B, E2, R2, A, E, R>(
    attempt: UnderWay<A, E, R>,
    effect: Effect.Effect<B, E2, R2>
  ): Effect.Effect<Exit.Exit<B, E2>, never, R2> =>
    Effect.flatMap(Effect.exit(attempt.restore(effect)), (exit) => {
      if (Exit.isSuccess(exit) || !(Cause.hasInterrupts(exit.cause) || Cause.hasDies(exit.cause))) {
        return Effect.succeed(exit)
      }
      const { evidence } = Outcome.nothingSeen("interrupted after sending")
      return judged(attempt, "unknown", evidence).pipe(
        Effect.andThen(undelivered(attempt)),
        Effect.andThen(Effect.failCause(exit.cause as Cause.Cause<never>))
      )
    })

  // -------------------------------------------------------------------------------------------------------------------
  // Endings
  // -------------------------------------------------------------------------------------------------------------------

  const content = <A, E, R>({ exchange, purchase }: UnderWay<A, E, R>, value: A) => {
    const ended = (end: End) => note(ledger.delivered(purchase, end === "complete" ? "delivered" : "broken"))
    return note(ledger.delivered(purchase, "delivering")).pipe(
      Effect.andThen(exchange.watch(value, ended)),
      Effect.map((value) => ({ _tag: "Content", value }) as const)
    )
  }

  const paidUndelivered = Effect.fnUntraced(function*<A, E, R>(attempt: UnderWay<A, E, R>, seen: Outcome.Seen) {
    const { asset, authorization: { plan }, rail } = attempt
    yield* undelivered(attempt)
    yield* counted(attempt, "undelivered", Amount.toUsd({ asset, units: plan.units }))
    return { _tag: "Stop", reason: Outcome.undelivered(rail.name, seen), money: "spent" } as const
  })

  const uncertain = Effect.fnUntraced(function*<A, E, R>(attempt: UnderWay<A, E, R>, seen: Outcome.Seen) {
    yield* undelivered(attempt)
    yield* counted(attempt, "uncertain")
    return { _tag: "Stop", reason: Outcome.uncertain(attempt.authorization.plan, seen), money: "unknown" } as const
  })

  const nothingSpent = <A, E, R>(
    attempt: UnderWay<A, E, R>,
    reason: PaymentError.Reason,
    answer: Option.Option<A> = Option.none()
  ) => Effect.as(counted(attempt, "void"), { _tag: "Void", reason, answer } as const)

  /**
   * This process stood still for so long that another one may go on with the payment, or its ledger is gone: nothing is sent
   * from here any more, and what was sent before is for the other to find out.
   */
  const notOurs = <A, E, R>(attempt: UnderWay<A, E, R>, reason: PaymentError.LedgerUnavailable) =>
    Effect.as(counted(attempt, "uncertain"), { _tag: "Stop", reason, money: "unknown" } as const)

  // -------------------------------------------------------------------------------------------------------------------
  // Found out
  // -------------------------------------------------------------------------------------------------------------------

  /** Asks chain or authority, and writes down what they say. */
  const reconcile = Effect.fnUntraced(function*<A, E, R>(attempt: Attempt<A, E, R>): Effect.fn.Return<Finding> {
    const { asset, authorization, live, rail } = attempt
    // The session's next figures, or its last one, tell: it is not closed for one draw that can be sent again.
    if (authorization.plan.cumulative !== undefined) {
      if (Option.isSome(live)) live.value.unresolved.set(authorization.id, authorization.drawUsd)
      return "open"
    }
    if (Option.isSome(live)) {
      const resolution = yield* Effect.orElseSucceed(
        session.resolve(live.value, authorization),
        (): Session.Resolution => ({ _tag: "Open" })
      )
      return resolution._tag === "Unspent" ? "void" : resolution._tag === "Spent" ? "settled" : "open"
    }
    const verdict = yield* Effect.option(rail.reconcile(authorization.plan))
    if (Option.isNone(verdict) || verdict.value._tag === "Unknown" || verdict.value._tag === "Rejected") return "open"
    yield* note(ledger.judged(authorization.id, Ledger.judgement(verdict.value, authorization.plan, asset)))
    return verdict.value._tag === "Void" ? "void" : "settled"
  })

  /**
   * What a settled draw tells of those before it: all of them were taken if the server counts as much, and none of them can be
   * any more if it counts nothing beyond the settled ones, and nothing beyond that was ever signed.
   */
  const explained = Effect.fnUntraced(function*<A, E, R>(
    { authorization, live }: UnderWay<A, E, R>,
    { session: figure }: Extract<Rails.Verdict, { readonly _tag: "Settled" }>
  ) {
    if (Option.isNone(live)) return
    const { id, unresolved } = live.value
    unresolved.delete(authorization.id)
    if (figure === undefined || unresolved.size === 0) return
    const { signed, total } = figure
    const record = yield* ledger.session(id)
    if (Option.isNone(record)) return
    const beyond = total - record.value.spentUsd
    const sum = [...unresolved.values()].reduce((all, usd) => all + usd, 0n)
    // Of what another process drew before, this one knows no more than that it is reserved.
    if (record.value.reservedUsd !== sum) return
    if (beyond !== sum && !(beyond === 0n && signed <= total)) return
    for (const [draw, spentUsd] of unresolved) {
      yield* ledger.judged(
        draw,
        beyond === sum
          ? { state: "settled", spentUsd, evidence: countedLater }
          : { state: "released", evidence: notSigned }
      )
      unresolved.delete(draw)
    }
  })

  const finding = <A, E, R>(attempt: UnderWay<A, E, R>) =>
    Effect.map(interruptible(attempt, reconcile(attempt)), (exit) => Exit.isSuccess(exit) ? exit.value : "open")

  /** What the payer lacks: that may be why the server took nothing. */
  const shortage = <A, E, R>(attempt: UnderWay<A, E, R>) => {
    const { asset, authorization: { plan }, rail } = attempt
    return Effect.map(
      interruptible(attempt, Rails.shortage(rail, plan, asset)),
      (exit) => Exit.isSuccess(exit) ? exit.value : Option.none()
    )
  }

  /** The answer says nothing of the money: it is unknown until somebody who knows was asked. */
  const findOut = Effect.fnUntraced(function*<A, E, R>(
    attempt: UnderWay<A, E, R>,
    seen: Outcome.Seen,
    reason: PaymentError.Reason,
    answer?: Option.Option<A>
  ): Effect.fn.Return<Outcome.Outcome<A>> {
    yield* judged(attempt, "unknown", seen.evidence)
    if (attempt.settled) return yield* paidUndelivered(attempt, seen)
    switch (yield* finding(attempt)) {
      case "void":
        return yield* nothingSpent(attempt, reason, answer)
      case "settled":
        return yield* paidUndelivered(attempt, seen)
      case "open": {
        // A server that cannot settle for want of the payer's money may say so by a failure of its own.
        const lacks = (seen.status ?? 0) >= 500 ? yield* shortage(attempt) : Option.none()
        const outcome = yield* uncertain(attempt, seen)
        return Option.isSome(lacks) ? { ...outcome, reason: lacks.value } : outcome
      }
    }
  })

  const refused = Effect.fnUntraced(function*<A, E, R>(
    attempt: UnderWay<A, E, R>,
    { refusal, seen }: ReturnType<typeof Outcome.words>,
    answer: Option.Option<A>
  ): Effect.fn.Return<Outcome.Outcome<A>> {
    if (attempt.settled) return yield* paidUndelivered(attempt, seen)
    yield* judged(attempt, "rejected", seen.evidence)
    switch (yield* finding(attempt)) {
      case "void":
        return yield* nothingSpent(attempt, refusal, answer)
      case "settled":
        return yield* paidUndelivered(attempt, seen)
      case "open": {
        const lacks = yield* shortage(attempt)
        yield* undelivered(attempt)
        yield* counted(attempt, "rejected")
        return { _tag: "Stop", reason: Option.getOrElse(lacks, () => refusal), money: "held" }
      }
    }
  })

  return {
    content,
    counted,
    explained,
    findOut,
    interruptible,
    judged,
    notOurs,
    note,
    nothingSpent,
    paidUndelivered,
    reconcile,
    refused,
    voided
  }
})
