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
import * as Schema from "effect/Schema"
import * as Amount from "./Amount.ts"
import type { Asset } from "./Asset.ts"
import * as Demand from "./Demand.ts"
import type { Exchange } from "./Exchange.ts"
import * as Ledger from "./Ledger.ts"
import * as PaymentError from "./PaymentError.ts"
import * as Rails from "./Rails.ts"
import type { End } from "./ResponseBody.ts"
import { RetryPolicy, waiting } from "./RetryPolicy.ts"
import * as Session from "./Session.ts"
import * as Telemetry from "./Telemetry.ts"

/**
 * What came of an authorisation.
 *
 * - `Content`: the answer is what was bought.
 * - `Void`: proven that it takes no money; another one may be made, for the reason given.
 * - `Again`: a draw that is proven unspent may be repeated, after waiting as the reason says.
 * - `Expired`: the session's token ran out, and the draw is proven unspent.
 * - `Stop`: nothing more may be signed for this purchase.
 *
 * @category models
 * @since 0.1.0
 */
export type Outcome<A> =
  | { readonly _tag: "Content"; readonly value: A }
  | { readonly _tag: "Void"; readonly reason: PaymentError.Reason; readonly answer: Option.Option<A> }
  | { readonly _tag: "Again"; readonly reason: PaymentError.RateLimited | PaymentError.Unavailable }
  | { readonly _tag: "Expired"; readonly reason: PaymentError.TokenExpired }
  | { readonly _tag: "Stop"; readonly reason: PaymentError.Reason; readonly money: PaymentError.Money }

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

type Restore = <A, E, R>(effect: Effect.Effect<A, E, R>) => Effect.Effect<A, E, R>

/** What the rest of this module knows of the last answer. */
interface Seen {
  readonly status: number | undefined
  readonly merchantText: string | undefined
  readonly evidence: Rails.Evidence
}

const encodeEvidence = Schema.encodeSync(Schema.toCodecJson(Schema.Array(Rails.Evidence)))

/**
 * Evidence as it stands in errors and in the command line's output.
 *
 * @category formatting
 * @since 0.1.0
 */
export const evidenceJson = (evidence: ReadonlyArray<Rails.Evidence>): Schema.Json => encodeEvidence(evidence)

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

  /** Money may have moved: a ledger that fails now is reported, and must not hide what the merchant answered. */
  const note = (write: Effect.Effect<void, PaymentError.LedgerUnavailable>) =>
    Effect.catch(write, (error) => Effect.logError("a payment's outcome could not be written", error.message))

  /**
   * Asks chain or authority, and writes down what they say. `Unknown` stands for no answer.
   */
  const reconcile = Effect.fnUntraced(function*<A, E, R>(attempt: Attempt<A, E, R>) {
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

  const carry = Effect.fnUntraced(
    function*<A, E, R>(
      attempt: Attempt<A, E, R>,
      restore: Restore,
      sentBefore: boolean
    ): Effect.fn.Return<Outcome<A>, never, R> {
      const { asset, authorization, exchange, live, purchase, rail } = attempt
      const { id, plan } = authorization
      const usd = Amount.toUsd({ asset, units: plan.units })
      const policy = yield* RetryPolicy
      const wait = { RateLimited: waiting(policy.RateLimited), Unavailable: waiting(policy.Unavailable) }
      // What is settled and asked for once more stays settled, whatever the merchant says now.
      const known = authorization.state === "settled"
      const judged = (state: "rejected" | "unknown" | "released", evidence: Rails.Evidence) =>
        known ? Effect.void : note(ledger.judged(id, { state, evidence }))
      const undelivered = note(ledger.delivered(purchase, "undelivered"))

      /** Runs what may be interrupted. If it is, the authorisation stays held and is reconciled later. */
      const interruptible = <B, E2, R2>(effect: Effect.Effect<B, E2, R2>) =>
        Effect.flatMap(
          Effect.exit(restore(effect)),
          (exit) =>
            Exit.isFailure(exit) && (Cause.hasInterrupts(exit.cause) || Cause.hasDies(exit.cause))
              ? judged("unknown", new Rails.Evidence({ rank: "presumed", what: "interrupted after sending" })).pipe(
                Effect.andThen(undelivered),
                Effect.andThen(Effect.failCause(exit.cause as Cause.Cause<never>))
              )
              : Effect.succeed(exit as Exit.Exit<B, E2>)
        )

      const since = yield* Clock.monotonicTimeNanos
      const done = (outcome: Telemetry.Outcome, spent = 0n) =>
        Effect.flatMap(Clock.monotonicTimeNanos, (now) => Telemetry.count(rail.name, outcome, spent, now - since))

      const paidUndelivered = (seen: Seen) =>
        Effect.gen(function*() {
          yield* undelivered
          yield* done("undelivered", usd)
          const reason = new PaymentError.PaidUndelivered({
            rail: rail.name,
            evidence: evidenceJson([seen.evidence]),
            ...optional(seen)
          })
          return { _tag: "Stop", reason, money: "spent" } as const
        })

      const uncertain = (seen: Seen) =>
        Effect.gen(function*() {
          yield* undelivered
          yield* done("uncertain")
          const reason = new PaymentError.PaymentUncertain({
            rail: rail.name,
            evidence: evidenceJson([seen.evidence]),
            ...(plan.spendableUntil === undefined ? {} : { spendableUntil: plan.spendableUntil }),
            ...optional(seen)
          })
          return { _tag: "Stop", reason, money: "unknown" } as const
        })

      const nothingSpent = (reason: PaymentError.Reason, answer: Option.Option<A>) =>
        Effect.as(done("void"), { _tag: "Void", reason, answer } as const)

      const find = (seen: Seen, reason: PaymentError.Reason, answer: Option.Option<A>) =>
        Effect.gen(function*() {
          yield* judged("unknown", seen.evidence)
          if (known) return yield* paidUndelivered(seen)
          const found = yield* interruptible(reconcile(attempt))
          const state = Exit.isSuccess(found) ? found.value : "open"
          return state === "void"
            ? yield* nothingSpent(reason, answer)
            : state === "settled"
            ? yield* paidUndelivered(seen)
            : yield* uncertain(seen)
        })

      /** Waits as the schedule of the reason says; false when it says no more. */
      const waited = (reason: PaymentError.RateLimited | PaymentError.Unavailable) =>
        Effect.map(
          interruptible(reason._tag === "RateLimited" ? wait.RateLimited(reason) : wait.Unavailable(reason)),
          (exit) => Exit.isSuccess(exit) && exit.value
        )

      const slept = (millis: number) => Effect.map(interruptible(Effect.sleep(millis)), Exit.isSuccess)

      const expired = (seen: Seen, keeper: Session.Live) =>
        Effect.gen(function*() {
          yield* judged("unknown", seen.evidence)
          const found = yield* interruptible(reconcile(attempt))
          const state = Exit.isSuccess(found) ? found.value : "open"
          if (state === "settled") return yield* paidUndelivered(seen)
          if (state === "open") return yield* uncertain(seen)
          const reason = new PaymentError.TokenExpired({ session: keeper.id, expiredAt: keeper.handle.expiresAt })
          return { _tag: "Expired", reason } as const
        })

      const signed = yield* Effect.result(Effect.withSpan(rail.sign(plan), "Rail.sign", {
        attributes: { "mpp.rail": rail.name, "mpp.payment.id": purchase },
        captureStackTrace: false
      }))
      if (signed._tag === "Failure") {
        // The first copy of what cannot be signed again may be on its way all the same.
        if (sentBefore) {
          const evidence = new Rails.Evidence({ rank: "presumed", what: "could not be signed again" })
          return yield* find({ status: undefined, merchantText: undefined, evidence }, signed.failure, Option.none())
        }
        yield* judged("released", new Rails.Evidence({ rank: "proven", what: "not sent" }))
        return yield* nothingSpent(signed.failure, Option.none())
      }
      const { envelopes } = signed.success

      let envelope = 0
      let left = sentBefore
      while (true) {
        const sent = yield* interruptible(
          inTime(plan, Effect.flatMap(exchange.send(envelopes[envelope]), exchange.answer))
        )
        if (Exit.isFailure(sent) || Option.isNone(sent.value)) {
          const failure = Exit.isFailure(sent) ? Exit.findErrorOption(sent) : Option.none()
          const notSent = !left && Option.exists(failure, exchange.isNotSent)
          const reason = new PaymentError.Unavailable({ service: "merchant", notSent })
          if (!notSent) left = true
          // What did not leave can be sent again whatever the method; what may have left, only if it can be repeated
          // without a second charge.
          const mayRepeat = notSent || (Exit.isFailure(sent) && exchange.repeatable && plan.kind !== "draw")
          if (mayRepeat && (yield* waited(reason))) continue
          const evidence = new Rails.Evidence({ rank: "presumed", what: notSent ? "not sent" : "no answer" })
          if (notSent) {
            yield* judged("released", evidence)
            return yield* nothingSpent(reason, Option.none())
          }
          const unanswered: Seen = { status: undefined, merchantText: undefined, evidence }
          return again(reason, yield* find(unanswered, reason, Option.none()))
        }
        left = true
        const { elsewhere, value } = sent.value.value
        // Whoever else answered for the merchant says nothing of the money.
        const answer = Option.isSome(elsewhere)
          ? { status: 399, headers: {}, body: undefined }
          : sent.value.value.answer
        const now = yield* Clock.currentTimeMillis
        const verdict = rail.judge(plan, answer, now)
        const said = () => words(attempt, answer, verdict, now)

        switch (verdict._tag) {
          case "Settled": {
            const spentUsd = Amount.toUsd({ asset, units: verdict.units })
            if (!known) yield* note(ledger.judged(id, { state: "settled", spentUsd, evidence: verdict.evidence }))
            if (Option.isSome(live) && verdict.evidence.mismatch === true) {
              yield* Effect.forkIn(note(session.suspect(live.value)), scope)
            }
            if (!verdict.content) return yield* paidUndelivered(said().seen)
            yield* done("paid", spentUsd)
            return yield* content(value)
          }
          case "Void": {
            yield* judged("released", verdict.evidence)
            return yield* nothingSpent(said().refusal, Option.some(value))
          }
          case "Rejected": {
            const { refusal, seen } = said()
            if (known) return yield* paidUndelivered(seen)
            yield* judged("rejected", verdict.evidence)
            const found = yield* interruptible(reconcile(attempt))
            const state = Exit.isSuccess(found) ? found.value : "open"
            if (state === "void") return yield* nothingSpent(refusal, Option.some(value))
            if (state === "settled") return yield* paidUndelivered(seen)
            const lacks = yield* interruptible(Rails.shortage(rail, plan, asset))
            yield* undelivered
            yield* done("rejected")
            const reason = Exit.isSuccess(lacks) ? Option.getOrElse(lacks.value, () => refusal) : refusal
            return { _tag: "Stop", reason, money: "held" } as const
          }
          case "Unknown": {
            if (verdict.content) {
              yield* judged("unknown", verdict.evidence)
              // A draw is found out about when its session is closed: there is no need to close it for this.
              if (Option.isNone(live)) yield* Effect.forkIn(reconcile(attempt), scope)
              yield* done("paid")
              return yield* content(value)
            }
            const { outage, refusal, seen } = said()
            switch (verdict.next._tag) {
              case "envelope": {
                envelope++
                if (envelope < envelopes.length) continue
                return yield* find(seen, refusal, Option.some(value))
              }
              case "renew":
                return Option.isSome(live)
                  ? yield* expired(seen, live.value)
                  : yield* find(seen, refusal, Option.some(value))
              case "resend": {
                const { after } = verdict.next
                // A settlement under way is asked after until the rail says that time is up; an outage, as scheduled.
                const pause = answer.status === 402 && after !== undefined ? slept(after) : waited(outage)
                if (plan.kind !== "draw" && exchange.repeatable && (yield* pause)) continue
                return again(outage, yield* find(seen, outage, Option.some(value)))
              }
              case "reconcile":
                return yield* find(seen, refusal, Option.some(value))
            }
          }
        }
      }

      /** A second draw is a second debit; it may follow the first only because that one is proven unspent. */
      function again(reason: PaymentError.RateLimited | PaymentError.Unavailable, outcome: Outcome<A>): Outcome<A> {
        return outcome._tag === "Void" && plan.kind === "draw" && exchange.repeatable
          ? { _tag: "Again", reason }
          : outcome
      }

      function content(value: A) {
        const ended = (end: End) => note(ledger.delivered(purchase, end === "complete" ? "delivered" : "broken"))
        return note(ledger.delivered(purchase, "delivering")).pipe(
          Effect.andThen(exchange.watch(value, ended)),
          Effect.map((value) => ({ _tag: "Content", value }) as const)
        )
      }
    }
  )

  /** Writes the draft, and only then signs and sends. */
  const run = <A, E, R>(attempt: Attempt<A, E, R>, draft: Ledger.Draft) =>
    Effect.uninterruptibleMask((restore) => {
      const carried = Effect.andThen(ledger.authorize(draft), carry(attempt, restore, false))
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
        carry(attempt, restore, true)
      )
    )

  return { run, resend, reconcile }
})

/** An answer that is not what was bought, in words: what was seen, and the errors that it may be reported as. */
const words = <A, E, R>(
  { authorization: { plan }, rail }: Attempt<A, E, R>,
  answer: Demand.Answer,
  verdict: Rails.Verdict,
  now: number
) => {
  const { problem, retryAfter } = Demand.read(answer, now)
  const seen: Seen = {
    status: answer.status,
    merchantText: Option.getOrUndefined(Option.flatMapNullishOr(problem, (it) => it.merchantText)),
    evidence: verdict.evidence
  }
  const after = Option.isNone(retryAfter) ? {} : { retryAfter: retryAfter.value }
  return {
    seen,
    outage: answer.status === 429 || answer.status === 402
      ? new PaymentError.RateLimited({ ...after, ...text(seen) })
      : new PaymentError.Unavailable({
        service: "merchant",
        status: answer.status,
        notSent: false,
        ...after,
        ...text(seen)
      }),
    refusal: new PaymentError.PaymentRejected({
      rail: rail.name,
      status: answer.status,
      problem: verdict._tag === "Rejected" ? verdict.problem : "void",
      ...(plan.spendableUntil === undefined ? {} : { spendableUntil: plan.spendableUntil }),
      ...text(seen)
    })
  }
}

/** An answer is not waited for when the authorisation can no longer be taken: none then, and its hold is found out about. */
const inTime = <A, E, R>(plan: Rails.Plan, answer: Effect.Effect<A, E, R>): Effect.Effect<Option.Option<A>, E, R> =>
  plan.spendableUntil === undefined
    ? Effect.map(answer, Option.some)
    : Effect.flatMap(
      Clock.currentTimeMillis,
      (now) => Effect.timeoutOption(answer, Math.max(0, plan.spendableUntil! - now) + answerMarginMillis)
    )

const text = (seen: Seen) => seen.merchantText === undefined ? {} : { merchantText: seen.merchantText }

const optional = (seen: Seen) => ({ ...(seen.status === undefined ? {} : { status: seen.status }), ...text(seen) })
