/**
 * Carries one authorisation out: write, sign, send, judge, until its outcome is as certain as it can be made.
 *
 * From the ledger's write to the verdict nothing can be interrupted but the waiting: for an answer, or for the time to ask
 * again. An interruption there is not a cancellation: the authorisation becomes `unknown`.
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
import type { Answered, Exchange } from "./Exchange.ts"
import * as Ledger from "./Ledger.ts"
import * as Outcome from "./Outcome.ts"
import * as PaymentError from "./PaymentError.ts"
import * as Rails from "./Rails.ts"
import type { End } from "./ResponseBody.ts"
import { RetryPolicy, waiting } from "./RetryPolicy.ts"
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

/** A server may settle in the last moment, and needs a while to say so. */
const answerMarginMillis = 10_000

/** Whoever else answered for the merchant says nothing of the money. */
const fromElsewhere = { status: 399, headers: {}, body: undefined }

type Restore = <A, E, R>(effect: Effect.Effect<A, E, R>) => Effect.Effect<A, E, R>

/** An attempt that is under way: where it may be interrupted, and since when. */
interface UnderWay<A, E, R> extends Attempt<A, E, R> {
  readonly restore: Restore
  readonly since: bigint
  /** It was settled before, and is asked for once more: it stays settled, whatever the merchant says now. */
  readonly settled: boolean
}

/** Whether an authorisation took the money, cannot take it, or nobody knows. */
type Finding = "void" | "settled" | "open"

/**
 * Makes the runner of attempts; it needs the ledger and the sessions, and a scope for what goes on in the background.
 *
 * @category constructors
 * @since 0.1.0
 */
export const make = Effect.gen(function*() {
  const ledger = yield* Ledger.Ledger
  const session = yield* Session.Session
  const scope = yield* Effect.scope

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

  // -------------------------------------------------------------------------------------------------------------------
  // Found out
  // -------------------------------------------------------------------------------------------------------------------

  /** Asks chain or authority, and writes down what they say. */
  const reconcile = Effect.fnUntraced(function*<A, E, R>(attempt: Attempt<A, E, R>): Effect.fn.Return<Finding> {
    const { asset, authorization, live, rail } = attempt
    if (Option.isSome(live)) {
      const resolution = yield* Effect.orElseSucceed(
        session.resolve(live.value, authorization),
        (): Session.Resolution => ({ _tag: "Open" })
      )
      return resolution._tag === "Unspent" ? "void" : resolution._tag === "Spent" ? "settled" : "open"
    }
    const verdict = yield* Effect.option(rail.reconcile(authorization.plan))
    if (Option.isNone(verdict) || verdict.value._tag === "Unknown" || verdict.value._tag === "Rejected") return "open"
    yield* note(ledger.judged(authorization.id, Ledger.judgement(verdict.value, asset)))
    return verdict.value._tag === "Void" ? "void" : "settled"
  })

  const finding = <A, E, R>(attempt: UnderWay<A, E, R>) =>
    Effect.map(interruptible(attempt, reconcile(attempt)), (exit) => Exit.isSuccess(exit) ? exit.value : "open")

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
      case "open":
        return yield* uncertain(attempt, seen)
    }
  })

  const refused = Effect.fnUntraced(function*<A, E, R>(
    attempt: UnderWay<A, E, R>,
    { refusal, seen }: ReturnType<typeof Outcome.words>,
    answer: Option.Option<A>
  ): Effect.fn.Return<Outcome.Outcome<A>> {
    const { asset, authorization: { plan }, rail } = attempt
    if (attempt.settled) return yield* paidUndelivered(attempt, seen)
    yield* judged(attempt, "rejected", seen.evidence)
    switch (yield* finding(attempt)) {
      case "void":
        return yield* nothingSpent(attempt, refusal, answer)
      case "settled":
        return yield* paidUndelivered(attempt, seen)
      case "open": {
        const lacks = yield* interruptible(attempt, Rails.shortage(rail, plan, asset))
        yield* undelivered(attempt)
        yield* counted(attempt, "rejected")
        const reason = Exit.isSuccess(lacks) ? Option.getOrElse(lacks.value, () => refusal) : refusal
        return { _tag: "Stop", reason, money: "held" }
      }
    }
  })

  // -------------------------------------------------------------------------------------------------------------------
  // Sent and judged
  // -------------------------------------------------------------------------------------------------------------------

  const sign = Effect.fnUntraced(function*<A, E, R>(attempt: UnderWay<A, E, R>, sentBefore: boolean) {
    const { authorization: { plan }, purchase, rail } = attempt
    const signed = yield* Effect.result(Effect.withSpan(rail.sign(plan), "Rail.sign", {
      attributes: { "mpp.rail": rail.name, "mpp.payment.id": purchase },
      captureStackTrace: false
    }))
    if (signed._tag === "Success") return signed.success
    // The first copy of what cannot be signed again may be on its way all the same.
    if (sentBefore) {
      return yield* findOut(attempt, Outcome.nothingSeen("could not be signed again"), signed.failure)
    }
    yield* judged(attempt, "released", new Rails.Evidence({ rank: "proven", what: "not sent" }))
    return yield* nothingSpent(attempt, signed.failure)
  })

  const carry = Effect.fnUntraced(function*<A, E, R>(
    attempt: UnderWay<A, E, R>,
    sentBefore: boolean
  ): Effect.fn.Return<Outcome.Outcome<A>, never, R> {
    const { asset, authorization: { id, plan }, exchange, live, rail } = attempt
    const policy = yield* RetryPolicy
    const schedules = { RateLimited: waiting(policy.RateLimited), Unavailable: waiting(policy.Unavailable) }
    const isDraw = plan.kind === "draw"

    const signed = yield* sign(attempt, sentBefore)
    if ("_tag" in signed) return signed
    const { envelopes } = signed

    /** Waits as the schedule of the reason says; false when it says no more. */
    const waited = (reason: Outcome.Outage) =>
      Effect.map(
        interruptible(
          attempt,
          reason._tag === "RateLimited" ? schedules.RateLimited(reason) : schedules.Unavailable(reason)
        ),
        (exit) => Exit.isSuccess(exit) && exit.value
      )

    /** A second draw is a second debit; it may follow the first only because that one is proven unspent. */
    const orAgain = (reason: Outcome.Outage, outcome: Outcome.Outcome<A>): Outcome.Outcome<A> =>
      outcome._tag === "Void" && isDraw && exchange.repeatable ? { _tag: "Again", reason } : outcome

    let envelope = 0
    let left = sentBefore
    while (true) {
      const sent = yield* interruptible(
        attempt,
        inTime(attempt, Effect.flatMap(exchange.send(envelopes[envelope]), exchange.answer))
      )
      if (Exit.isFailure(sent) || Option.isNone(sent.value)) {
        const failure = Exit.isFailure(sent) ? Exit.findErrorOption(sent) : Option.none()
        const notSent = !left && Option.exists(failure, exchange.isNotSent)
        const reason = new PaymentError.Unavailable({ service: "merchant", notSent })
        if (!notSent) left = true
        // What did not leave can be sent again whatever the method; what may have left, only if it can be repeated without
        // a second charge.
        const mayRepeat = notSent || (Exit.isFailure(sent) && exchange.repeatable && !isDraw)
        if (mayRepeat && (yield* waited(reason))) continue
        const seen = Outcome.nothingSeen(notSent ? "not sent" : "no answer")
        if (!notSent) return orAgain(reason, yield* findOut(attempt, seen, reason))
        yield* judged(attempt, "released", seen.evidence)
        return yield* nothingSpent(attempt, reason)
      }
      left = true
      const { value } = sent.value.value
      const answer = answerOf(sent.value.value)
      const now = yield* Clock.currentTimeMillis
      const verdict = rail.judge(plan, answer, now)
      if (verdict._tag === "Settled" && verdict.content) {
        const spentUsd = Amount.toUsd({ asset, units: verdict.units })
        if (!attempt.settled) yield* settle(attempt, spentUsd, verdict.evidence)
        yield* counted(attempt, "paid", spentUsd)
        return yield* content(attempt, value)
      }
      if (verdict._tag === "Unknown" && verdict.content) {
        yield* judged(attempt, "unknown", verdict.evidence)
        // A draw is found out about when its session is closed: there is no need to close it for this.
        if (Option.isNone(live)) yield* Effect.forkIn(reconcile(attempt), scope)
        yield* counted(attempt, "paid")
        return yield* content(attempt, value)
      }
      const words = Outcome.words(plan, answer, verdict, now)
      const { outage, refusal, seen } = words
      switch (verdict._tag) {
        case "Settled": {
          if (!attempt.settled) {
            yield* settle(attempt, Amount.toUsd({ asset, units: verdict.units }), verdict.evidence)
          }
          return yield* paidUndelivered(attempt, seen)
        }
        case "Void": {
          yield* judged(attempt, "released", verdict.evidence)
          return yield* nothingSpent(attempt, refusal, Option.some(value))
        }
        case "Rejected":
          return yield* refused(attempt, words, Option.some(value))
        case "Unknown": {
          if (verdict.next._tag === "envelope" && ++envelope < envelopes.length) continue
          if (verdict.next._tag === "resend") {
            const { after } = verdict.next
            // A settlement under way is asked after until the rail says that time is up; an outage, as scheduled.
            const pause = answer.status === 402 && after !== undefined
              ? Effect.map(interruptible(attempt, Effect.sleep(after)), Exit.isSuccess)
              : waited(outage)
            if (!isDraw && exchange.repeatable && (yield* pause)) continue
            return orAgain(outage, yield* findOut(attempt, seen, outage, Option.some(value)))
          }
          if (verdict.next._tag === "renew" && Option.isSome(live)) {
            const { handle, id } = live.value
            const reason = new PaymentError.TokenExpired({ session: id, expiredAt: handle.expiresAt })
            const outcome = yield* findOut(attempt, seen, reason)
            return outcome._tag === "Void" ? { _tag: "Expired", reason } : outcome
          }
          return yield* findOut(attempt, seen, refusal, Option.some(value))
        }
      }
    }

    function settle({ live }: UnderWay<A, E, R>, spentUsd: bigint, evidence: Rails.Evidence) {
      const written = note(ledger.judged(id, { state: "settled", spentUsd, evidence }))
      return Option.isSome(live) && evidence.mismatch === true
        ? Effect.andThen(written, Effect.forkIn(note(session.suspect(live.value)), scope))
        : written
    }
  })

  const start = <A, E, R>(attempt: Attempt<A, E, R>, restore: Restore, sentBefore: boolean) =>
    Effect.flatMap(
      Clock.monotonicTimeNanos,
      (since) => carry({ ...attempt, restore, since, settled: attempt.authorization.state === "settled" }, sentBefore)
    )

  /** Writes the draft, and only then signs and sends. */
  const run = <A, E, R>(attempt: Attempt<A, E, R>, draft: Ledger.Draft) =>
    Effect.uninterruptibleMask((restore) => {
      const carried = Effect.andThen(ledger.authorize(draft), start(attempt, restore, false))
      return Option.match(attempt.live, {
        onNone: () => carried,
        onSome: (live) => session.drawing(live, attempt.authorization.id, carried)
      })
    })

  /** Sends an authorisation of the ledger again: the same plan, so that it cannot be spent beside its first copy. */
  const resend = <A, E, R>(attempt: Attempt<A, E, R>) =>
    Effect.uninterruptibleMask((restore) =>
      Effect.andThen(
        attempt.authorization.state === "settled" ? Effect.void : ledger.resent(attempt.authorization.id),
        start(attempt, restore, true)
      )
    )

  return { run, resend, reconcile }
})

const answerOf = <A>({ answer, elsewhere }: Answered<A>) => Option.isSome(elsewhere) ? fromElsewhere : answer

/**
 * An answer is not waited for when the authorisation can no longer be taken: none then, and its hold is found out about.
 * What has been taken, and what holds nothing of its own, is waited for as long as the caller likes.
 */
const inTime = <B, E2, R2, A, E, R>(
  { authorization: { plan: { kind, spendableUntil } }, settled }: UnderWay<A, E, R>,
  answer: Effect.Effect<B, E2, R2>
) =>
  spendableUntil === undefined || kind === "draw" || settled
    ? Effect.map(answer, Option.some)
    : Effect.flatMap(
      Clock.currentTimeMillis,
      (now) => Effect.timeoutOption(answer, Math.max(0, spendableUntil - now) + answerMarginMillis)
    )
