/**
 * Carries one authorisation out: write, sign, send, judge, until its outcome is as certain as it can be made.
 *
 * From the ledger's write to the verdict nothing can be interrupted but the waiting: for an answer, or for the time to ask
 * again. An interruption there is not a cancellation: the authorisation becomes `unknown`.
 *
 * @since 0.1.0
 */
import * as Clock from "effect/Clock"
import * as Effect from "effect/Effect"
import * as Exit from "effect/Exit"
import * as Option from "effect/Option"
import * as Result from "effect/Result"
import * as Demand from "./Demand.ts"
import * as Ending from "./Ending.ts"
import type { Attempt, Restore, UnderWay } from "./Ending.ts"
import type { Answered } from "./Exchange.ts"
import * as Ledger from "./Ledger.ts"
import * as Outcome from "./Outcome.ts"
import * as PaymentError from "./PaymentError.ts"
import * as Rails from "./Rails.ts"
import { RetryPolicy, waiting } from "./RetryPolicy.ts"
import * as Session from "./Session.ts"

/** A server may settle in the last moment, and needs a while to say so. */
const answerMarginMillis = 10_000

/** Whoever else answered for the merchant says nothing of the money. */
const fromElsewhere = { status: 399, headers: {}, body: undefined }

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
  const {
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
  } = yield* Ending.make

  // -------------------------------------------------------------------------------------------------------------------
  // Sent and judged
  // -------------------------------------------------------------------------------------------------------------------

  const sign = Effect.fnUntraced(function*<A, E, R>(attempt: UnderWay<A, E, R>, sentBefore: boolean) {
    const { authorization: { broadcast, plan }, purchase, rail } = attempt
    const signing = Effect.withSpan(rail.sign(plan, broadcast?.transaction), "Rail.sign", {
      attributes: { "mpp.rail": rail.name, "mpp.payment.id": purchase },
      captureStackTrace: false
    })
    // A signer may be a person, who is not waited for when the caller has gone. What was never sent is void then.
    const unsent = judged(attempt, "released", new Rails.Evidence({ rank: "proven", what: "not sent" }))
    const waiting = rail.signingMayPay || sentBefore
      ? Effect.flatten(interruptible(attempt, signing))
      : Effect.onInterrupt(attempt.restore(signing), () => unsent)
    const signed = yield* Effect.result(waiting)
    if (signed._tag === "Success") return signed.success
    if (rail.signingMayPay) {
      return yield* findOut(attempt, Outcome.nothingSeen("could not be signed, and may be paid"), signed.failure)
    }
    // The first copy of what cannot be signed again may be on its way all the same.
    if (sentBefore) {
      return yield* findOut(attempt, Outcome.nothingSeen("could not be signed again"), signed.failure)
    }
    yield* unsent
    return yield* nothingSpent(attempt, signed.failure)
  })

  /**
   * The payer's own transaction goes to the chain before the merchant hears of it. Its hash is written down first; from then
   * on it may be mined, whatever happens here. None where it is mined.
   */
  const broadcast = Effect.fnUntraced(function*<A, E, R>(
    attempt: UnderWay<A, E, R>,
    { run, transaction }: Rails.Broadcast
  ): Effect.fn.Return<Option.Option<Outcome.Outcome<A>>> {
    const { asset, authorization: { broadcast: before, id, plan } } = attempt
    const advanced = (step: Ledger.Broadcast["step"]) => ledger.advanced(id, { transaction, step })
    const written = yield* Effect.result(advanced("broadcast"))
    if (Result.isFailure(written)) {
      if (before !== undefined) {
        return Option.some(yield* findOut(attempt, Outcome.nothingSeen("broadcast before"), written.failure))
      }
      yield* judged(attempt, "released", new Rails.Evidence({ rank: "proven", what: "not sent" }))
      return Option.some(yield* nothingSpent(attempt, written.failure))
    }
    const lost = yield* Effect.result(ledger.holding(id))
    if (Result.isFailure(lost)) return Option.some(yield* notOurs(attempt, lost.failure))
    const exit = yield* interruptible(attempt, run)
    const verdict = Exit.isSuccess(exit) ? exit.value : undefined
    switch (verdict?._tag) {
      case "Settled": {
        if (!attempt.settled) yield* note(ledger.judged(id, Ledger.judgement(verdict, plan, asset)))
        yield* note(advanced("mined"))
        return Option.none()
      }
      case "Void": {
        if (attempt.settled) {
          return Option.some(
            yield* paidUndelivered(attempt, { ...Outcome.nothingSeen(""), evidence: verdict.evidence })
          )
        }
        yield* voided(attempt, verdict)
        const reason = new PaymentError.ChainError({
          network: plan.network,
          operation: "pay",
          detail: "the transaction was not carried out"
        })
        return Option.some(yield* nothingSpent(attempt, reason))
      }
      default: {
        const seen = Outcome.nothingSeen("broadcast")
        const reason = new PaymentError.ChainError({
          network: plan.network,
          operation: "pay",
          detail: "whether the transaction was mined is not known"
        })
        const evidence = verdict?.evidence ?? seen.evidence
        return Option.some(yield* findOut(attempt, { ...seen, evidence }, reason))
      }
    }
  })

  /**
   * An answer is not waited for when the authorisation can no longer be taken: none then, and its hold is found out about.
   * What has been taken, also while its answer is still being made, and what holds nothing of its own, is waited for as long
   * as the caller likes.
   */
  const inTime = <B, E2, R2, A, E, R>(attempt: UnderWay<A, E, R>, answer: Effect.Effect<B, E2, R2>) => {
    const { authorization: { plan: { kind, spendableUntil } }, settled } = attempt
    if (spendableUntil === undefined || kind === "draw" || settled) return Effect.map(answer, Option.some)
    const tooLate = Effect.flatMap(
      Clock.currentTimeMillis,
      (now) => Effect.sleep(Math.max(0, spendableUntil - now) + answerMarginMillis)
    ).pipe(
      Effect.andThen(reconcile(attempt)),
      Effect.flatMap((found) => found === "settled" ? Effect.never : Effect.succeedNone)
    )
    return Effect.raceFirst(Effect.map(answer, Option.some), tooLate)
  }

  /** The same authorisation, as the answer to the challenge that the server makes now; undefined where it makes no such one. */
  const anew = Effect.fnUntraced(function*<A, E, R>(
    attempt: UnderWay<A, E, R>
  ): Effect.fn.Return<Rails.Credential["envelopes"] | undefined, never, R> {
    const { authorization: { plan }, exchange, rail } = attempt
    if (rail.represent === undefined || !exchange.repeatable) return undefined
    const asked = yield* interruptible(attempt, Effect.flatMap(exchange.send(undefined), exchange.answer))
    if (Exit.isFailure(asked) || asked.value.answer.status !== 402 || Option.isSome(asked.value.elsewhere)) {
      return undefined
    }
    const { offers } = Demand.read(asked.value.answer, yield* Clock.currentTimeMillis)
    const again = Option.firstSomeOf(offers.map((offer) => rail.represent!(plan, offer)))
    if (Option.isNone(again)) return undefined
    const signed = yield* interruptible(attempt, rail.sign(again.value))
    return Exit.isSuccess(signed) ? signed.value.envelopes : undefined
  })

  const carry = Effect.fnUntraced(
    function*<A, E, R>(begun: UnderWay<A, E, R>, sentBefore: boolean): Effect.fn.Return<Outcome.Outcome<A>, never, R> {
      let attempt = begun
      const { asset, authorization: { id, plan }, exchange, live, purchase, rail } = attempt
      const policy = yield* RetryPolicy
      const schedules = { RateLimited: waiting(policy.RateLimited), Unavailable: waiting(policy.Unavailable) }
      // A second one is a second debit, unless both say the same figure.
      const isDraw = plan.kind === "draw" && plan.cumulative === undefined

      const signed = yield* sign(attempt, sentBefore)
      if ("_tag" in signed) return signed
      let { envelopes } = signed
      if (signed.broadcast !== undefined) {
        const ended = yield* broadcast(attempt, signed.broadcast)
        if (Option.isSome(ended)) return ended.value
        attempt = { ...attempt, settled: true }
      }

      /** Whether money may have moved before anything is sent. */
      const mayBePaid = () => attempt.settled || rail.signingMayPay === true

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
      let presented = false
      let challenged = false
      let unanswered = sentBefore
      while (true) {
        if (Rails.isExpired(plan, yield* Clock.currentTimeMillis)) {
          const seen = Outcome.nothingSeen("the challenge had expired")
          if (left || mayBePaid()) return yield* findOut(attempt, seen, expired)
          yield* judged(attempt, "released", new Rails.Evidence({ rank: "proven", what: "not sent" }))
          return yield* nothingSpent(attempt, expired)
        }
        const lost = yield* Effect.result(ledger.holding(id))
        if (Result.isFailure(lost)) {
          // The ledger believes that only if nobody has taken it up.
          if (!left && !mayBePaid()) {
            yield* judged(attempt, "released", new Rails.Evidence({ rank: "proven", what: "not sent" }))
          }
          return yield* notOurs(attempt, lost.failure)
        }
        if (signed.broadcast !== undefined && !presented) {
          yield* note(ledger.advanced(id, { transaction: signed.broadcast.transaction, step: "presented" }))
          presented = true
        }
        const sent = yield* interruptible(
          attempt,
          inTime(attempt, Effect.flatMap(exchange.send(envelopes[envelope], purchase, plan.native), exchange.answer))
        )
        if (Exit.isFailure(sent) || Option.isNone(sent.value)) {
          const failure = Exit.isFailure(sent) ? Exit.findErrorOption(sent) : Option.none()
          const notSent = !left && Option.exists(failure, exchange.isNotSent)
          const reason = new PaymentError.Unavailable({ service: "merchant", notSent })
          if (!notSent) {
            left = true
            unanswered = true
          }
          // What did not leave can be sent again whatever the method; what may have left, only if it can be repeated without
          // a second charge.
          const mayRepeat = notSent || (Exit.isFailure(sent) && exchange.repeatable && !isDraw)
          if (mayRepeat && (yield* waited(reason))) continue
          const seen = Outcome.nothingSeen(notSent ? "not sent" : "no answer")
          if (notSent && signed.broadcast !== undefined) {
            yield* note(ledger.advanced(id, { transaction: signed.broadcast.transaction, step: "mined" }))
          }
          if (!notSent || mayBePaid()) return orAgain(reason, yield* findOut(attempt, seen, reason))
          yield* judged(attempt, "released", seen.evidence)
          return yield* nothingSpent(attempt, reason)
        }
        left = true
        const { value } = sent.value.value
        const answer = answerOf(sent.value.value)
        const now = yield* Clock.currentTimeMillis
        const verdict = rail.judge(plan, answer, now)
        if (verdict._tag === "Settled" && verdict.content) {
          const spentUsd = Rails.spentUsd(plan, asset, verdict)
          if (!attempt.settled) yield* settle(attempt, spentUsd, verdict.evidence)
          yield* note(explained(attempt, verdict))
          yield* counted(attempt, "paid", spentUsd)
          return yield* content(attempt, value)
        }
        if (verdict._tag === "Unknown" && verdict.content) {
          yield* judged(attempt, "unknown", verdict.evidence)
          // A draw is found out about when its session is closed: there is no need to close it for this.
          if (Option.isNone(live) || plan.cumulative !== undefined) yield* Effect.forkIn(reconcile(attempt), scope)
          yield* counted(attempt, "paid")
          return yield* content(attempt, value)
        }
        const words = Outcome.words(plan, answer, verdict, now)
        const { outage, refusal, seen } = words
        switch (verdict._tag) {
          case "Settled": {
            if (!attempt.settled) {
              yield* settle(attempt, Rails.spentUsd(plan, asset, verdict), verdict.evidence)
            }
            return yield* paidUndelivered(attempt, seen)
          }
          case "Void": {
            if (attempt.settled) return yield* paidUndelivered(attempt, seen)
            yield* voided(attempt, verdict)
            return yield* nothingSpent(attempt, refusal, Option.some(value))
          }
          case "Rejected": {
            // A session that its server does not know, or does not believe in, is not drawn on again.
            if (verdict.evidence.mismatch === true && Option.isSome(live)) {
              yield* Effect.forkIn(note(session.suspect(live.value)), scope)
            }
            return yield* refused(attempt, words, Option.some(value))
          }
          case "Unknown": {
            // Where the first draw may have been debited, a higher one would be a second.
            const mayRaise = plan.cumulative === undefined || !unanswered
            if (verdict.next._tag === "envelope" && mayRaise && ++envelope < envelopes.length) continue
            if (verdict.next._tag === "challenge" && !challenged) {
              challenged = true
              const again = yield* anew(attempt)
              if (again !== undefined) {
                envelopes = again
                continue
              }
            }
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
    }
  )

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

const expired = new PaymentError.PolicyDenied({
  rule: "expired",
  detail: "the challenge expired before its payment could be presented; ask the merchant again"
})

const answerOf = <A>({ answer, elsewhere }: Answered<A>) => Option.isSome(elsewhere) ? fromElsewhere : answer
