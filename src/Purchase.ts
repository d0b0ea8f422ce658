/**
 * Carries one purchase through its candidates: the next one only if the last took nothing, or nothing was signed for it.
 *
 * @since 0.1.0
 */
import * as Clock from "effect/Clock"
import * as SecureRandom from "effect/crypto/SecureRandom"
import * as Effect from "effect/Effect"
import * as Option from "effect/Option"
import * as Amount from "./Amount.ts"
import type * as Asset from "./Asset.ts"
import type * as Attempt from "./Attempt.ts"
import * as BoundedLoss from "./BoundedLoss.ts"
import * as Budget from "./Budget.ts"
import type * as Challenges from "./Challenges.ts"
import type * as Choice from "./Choice.ts"
import type { Exchange } from "./Exchange.ts"
import * as Ledger from "./Ledger.ts"
import type { Offer } from "./Offer.ts"
import * as PaymentError from "./PaymentError.ts"
import * as Rails from "./Rails.ts"
import { RetryPolicy, waiting } from "./RetryPolicy.ts"
import * as Session from "./Session.ts"
import * as Telemetry from "./Telemetry.ts"
import * as Challenge from "./wire/mpp/Challenge.ts"

/**
 * An agent, its request, and the purchase that it is.
 *
 * @category models
 * @since 0.1.0
 */
export interface Work<A, E, R> {
  readonly exchange: Exchange<A, E, R>
  readonly agent: string
  /** Names the purchase: equal requests have equal keys. */
  readonly key: string
  readonly id: string
  /** How many paid requests are expected at the origin. */
  readonly expected: number
}

/**
 * The route of a request, as sessions know it.
 *
 * @category constructors
 * @since 0.1.0
 */
export const routeOf = (
  { method, origin, path }: { readonly method: string; readonly origin: string; readonly path: string },
  agent: string
): Session.Route => ({ agent, origin, method, path })

/**
 * The resource of a request, without its query.
 *
 * @category constructors
 * @since 0.1.0
 */
export const resourceOf = (
  { method, origin, path }: { readonly method: string; readonly origin: string; readonly path: string }
): Session.Need["resource"] => ({ method, url: `${origin}${path}` })

/**
 * A failure of this purchase, with what it means for the money.
 *
 * @category errors
 * @since 0.1.0
 */
export const fail = <A, E, R>(
  work: Pick<Work<A, E, R>, "exchange" | "id">,
  reason: PaymentError.Reason,
  money: PaymentError.Money
): Effect.Effect<never, PaymentError.PaymentError> =>
  Effect.fail(new PaymentError.PaymentError({ reason, money, origin: work.exchange.origin, paymentId: work.id }))

/**
 * What an attempt that needs no demand has left behind.
 *
 * @category models
 * @since 0.1.0
 */
export interface Tried {
  readonly reason: PaymentError.Reason | undefined
  readonly money: PaymentError.Money
  /** The rails that are no use for this request. */
  readonly unusable: ReadonlySet<string>
}

/**
 * Nothing was tried.
 *
 * @category constants
 * @since 0.1.0
 */
export const nothing: Tried = { reason: undefined, money: "unspent", unusable: new Set() }

/**
 * What a failure without a signature means for the money: a session's limit may be held all the same.
 *
 * @category errors
 * @since 0.1.0
 */
export const meaningOf = <Reason extends PaymentError.Reason>(
  failure: Reason | Session.SessionFailure
): { readonly reason: Reason | Session.SessionFailure["reason"]; readonly money: PaymentError.Money } =>
  failure._tag === "SessionFailure" ? failure : { reason: failure, money: "unspent" }

/** Where it is asked for by nobody, or the session is gone and its draw will be refused. */
const unknownDrawn: Rails.Drawn = { limit: 0n, spent: 0n, reserved: 0n }

const answered = (offer: Offer) =>
  new PaymentError.PolicyDenied({
    rule: "challenge-answered",
    detail: "another request of this agent answers the same challenge",
    offer
  })

/**
 * Makes the walk through candidates, and the drawing on a session that attaching first needs alone.
 *
 * @category constructors
 * @since 0.1.0
 */
export const make = Effect.fnUntraced(function*(
  attempts: Effect.Success<typeof Attempt.make>,
  challenges: Effect.Success<typeof Challenges.make>
) {
  const ledger = yield* Ledger.Ledger
  const budget = yield* Budget.Budget
  const session = yield* Session.Session
  const random = yield* SecureRandom.SecureRandom
  const boundedLoss = yield* BoundedLoss.make

  const purchaseOf = <A, E, R>(work: Work<A, E, R>, usd: bigint, lostUsd: bigint, choice: string, now: number) =>
    new Ledger.Purchase({
      id: work.id,
      key: work.key,
      agent: work.agent,
      origin: work.exchange.origin,
      method: work.exchange.method,
      path: work.exchange.path,
      approvedUsd: usd + lostUsd,
      doubleSpend: lostUsd > 0n,
      delivery: "open",
      resumes: 0,
      owner: work.id,
      choice,
      createdAt: now
    })

  /** Writes down and carries out one authorisation for a purchase. */
  const attempt = Effect.fnUntraced(function*<A, E, R>(work: Work<A, E, R>, options: {
    readonly rail: Rails.Rail
    readonly asset: Asset.Asset
    readonly plan: Rails.Plan
    readonly offer: Offer
    readonly usd: bigint
    readonly live: Option.Option<Session.Live>
    readonly choice: string
    readonly lostUsd?: bigint | undefined
  }) {
    const { asset, choice, live, lostUsd = 0n, offer, plan, rail, usd } = options
    const feeUsd = plan.feeUsd ?? 0n
    const { exchange } = work
    // It is echoed as it came whatever becomes of the connection that it came over.
    const native = Option.getOrUndefined(Challenge.nativeOf(offer))
    const now = yield* Clock.currentTimeMillis
    const who = { agent: work.agent, origin: exchange.origin, payer: rail.payer }
    const draw = Option.isSome(live)
    const authorization = Ledger.newAuthorization({
      id: `aut_${yield* random.uuidV7()}`,
      purchase: work.id,
      ...(draw ? { session: live.value.id } : {}),
      plan: plan.rail === rail.name && native === undefined
        ? plan
        : new Rails.Plan({ ...plan, rail: rail.name, ...(native === undefined ? {} : { native }) }),
      holdUsd: draw ? 0n : usd + feeUsd,
      drawUsd: draw ? usd : 0n,
      counters: budget.counters(who),
      origin: exchange.origin,
      now
    })
    yield* Effect.annotateCurrentSpan(
      Telemetry.attributes({ rail: rail.name, origin: exchange.origin, usd, id: work.id, choice })
    )
    return yield* attempts.run({
      exchange,
      rail,
      asset,
      purchase: work.id,
      authorization,
      live
    }, {
      purchase: Option.some(purchaseOf(work, usd + feeUsd, lostUsd, choice, now)),
      authorization,
      limits: budget.limits(who),
      session: Option.none()
    })
  })

  /** Whether others have drawn what was left of a session, or have replaced it: there is another by now, or there can be. */
  const isUsedUp = (live: Session.Live, error: PaymentError.BudgetExceeded | PaymentError.LedgerUnavailable) =>
    error._tag === "BudgetExceeded"
      ? Effect.succeed(error.scope === "session")
      : Effect.orElseSucceed(
        Effect.map(ledger.session(live.id), Option.exists(({ state }) => state !== "live")),
        () => false
      )

  /** One draw, when it is its turn: what was drawn before it is known then. */
  const drawOnce = <A, E, R>(
    work: Work<A, E, R>,
    live: Session.Live,
    offer: Offer,
    choice: string,
    lostUsd: bigint
  ) => {
    const { asset, handle, ops, rail } = live
    const drawn = ops.inOrder
      ? Effect.map(ledger.session(live.id), Option.match({ onNone: () => unknownDrawn, onSome: Session.drawnOf }))
      : Effect.succeed(unknownDrawn)
    return live.inTurn(Effect.flatMap(drawn, (drawn) =>
      attempt(work, {
        rail,
        asset,
        plan: ops.planDraw(handle, offer, drawn),
        offer,
        usd: Amount.toUsd({ asset, units: offer.units }),
        live: Option.some(live),
        choice,
        lostUsd
      })))
  }

  /** Draws on a session as often as its schedules allow; every draw after the first follows the proof that the last one is unspent. */
  const draw = Effect.fnUntraced(function*<A, E, R>(
    work: Work<A, E, R>,
    first: Session.Live,
    offer: Offer,
    choice: string,
    renewed: Effect.Effect<Session.Live, Session.SessionFailure>,
    lostUsd = 0n
  ) {
    const retries = yield* RetryPolicy
    const waits = {
      RateLimited: waiting(retries.RateLimited),
      Unavailable: waiting(retries.Unavailable),
      TokenExpired: waiting(retries.TokenExpired)
    }
    let live = first
    while (true) {
      const attempted = yield* Effect.result(drawOnce(work, live, offer, choice, lostUsd))
      if (attempted._tag === "Failure") {
        if (!(yield* isUsedUp(live, attempted.failure))) return yield* Effect.fail(attempted.failure)
        live = yield* renewed
        continue
      }
      const outcome = attempted.success
      switch (outcome._tag) {
        case "Content": {
          yield* session.learn(routeOf(work.exchange, work.agent), { live, offer })
          return outcome
        }
        case "Again": {
          const { reason } = outcome
          if (!(yield* reason._tag === "RateLimited" ? waits.RateLimited(reason) : waits.Unavailable(reason))) {
            return { _tag: "Void", reason, answer: Option.none<A>() } as const
          }
          // The proof that the last draw is unspent was the end of its session.
          live = yield* renewed
          continue
        }
        case "Expired": {
          if (!(yield* waits.TokenExpired(outcome.reason))) {
            return { _tag: "Stop", reason: outcome.reason, money: "unspent" } as const
          }
          live = yield* renewed
          continue
        }
        default:
          return outcome
      }
    }
  })

  /** One candidate, to its outcome. */
  const tryCandidate = Effect.fnUntraced(function*<A, E, R>(
    work: Work<A, E, R>,
    candidate: Choice.Candidate,
    lostUsd: bigint
  ) {
    const { asset, offer, rail, usd } = candidate
    const { origin } = work.exchange
    const context = { origin, purchase: work.id, agent: work.agent }
    if (Option.isNone(candidate.session)) {
      if (!(yield* challenges.take(origin, offer, work.id))) return yield* answered(offer)
      const free = challenges.free(origin, offer, work.id)
      const planned = Effect.onInterrupt(rail.plan(offer, context), () => free)
      const paid = Effect.flatMap(planned, (plan) =>
        Effect.map(
          attempt(work, { rail, asset, plan, offer, usd, live: Option.none(), choice: candidate.why, lostUsd }),
          (outcome) => ({ outcome, heldUsd: usd + (plan.feeUsd ?? 0n) })
        ))
      return yield* paid.pipe(
        Effect.tapError(() => free),
        Effect.tap(({ outcome }) => outcome._tag === "Void" ? free : Effect.void)
      )
    }
    const acquire = session.acquire({
      rail,
      ops: candidate.session.value,
      offer,
      asset,
      origin: work.exchange.origin,
      agent: work.agent,
      resource: resourceOf(work.exchange),
      expected: work.expected
    })
    const outcome = yield* draw(work, yield* acquire, offer, candidate.why, acquire, lostUsd)
    return { outcome, heldUsd: usd }
  })

  /**
   * The caller gets no content: the purchase is void if all that was signed for it is, and else left to the next equal
   * request, also when its content came and never reached the caller.
   */
  const giveUp = <A, E, R>(work: Work<A, E, R>) =>
    ledger.delivered(work.id, "void").pipe(
      Effect.catch(() => ledger.delivered(work.id, "undelivered")),
      Effect.catch(() => ledger.delivered(work.id, "broken")),
      Effect.ignore
    )

  /** Tries the candidates in their order: the next one only if the last took nothing, or nothing was signed for it. */
  const walk = Effect.fnUntraced(function*<A, E, R>(
    work: Work<A, E, R>,
    choice: Choice.Answer,
    before: Tried
  ) {
    let failure: PaymentError.Reason | undefined
    let money: PaymentError.Money = "unspent"
    let lostUsd = 0n
    let tried = false
    /** What is worst for the money is reported, and of what is equally bad the latest news. */
    const note = (reason: PaymentError.Reason, means: PaymentError.Money, isNews: boolean) => {
      const worse = PaymentError.worse(money, means)
      if (worse !== money || (isNews && means === money)) failure = reason
      money = worse
    }
    if (before.reason !== undefined) note(before.reason, before.money, false)
    for (const [place, candidate] of choice.candidates.entries()) {
      const result = yield* Effect.result(tryCandidate(work, candidate, lostUsd))
      if (result._tag === "Failure") {
        const { money: means, reason } = meaningOf(result.failure)
        // Nothing was signed. What cannot be written is not worked around by another rail.
        if (reason._tag === "LedgerUnavailable") return yield* fail(work, reason, PaymentError.worse(money, means))
        note(reason, means, !tried)
        continue
      }
      const { heldUsd, outcome } = result.success
      switch (outcome._tag) {
        case "Content":
          return outcome.value
        case "Void": {
          tried = true
          note(outcome.reason, "unspent", true)
          // Resending an unsafe request by other means repeats its side effects, even if it costs nothing.
          if (!work.exchange.repeatable && outcome.reason._tag === "Unavailable" && !outcome.reason.notSent) {
            return yield* fail(work, outcome.reason, money)
          }
          continue
        }
        case "Stop": {
          const now = yield* Clock.currentTimeMillis
          const { reason } = outcome
          tried = true
          note(reason, outcome.money, true)
          const open = outcome.money === "held" || outcome.money === "unknown"
          const mayGoOn = open && work.exchange.repeatable && place + 1 < choice.candidates.length
          if (mayGoOn && (yield* boundedLoss(heldUsd, lostUsd, now))) {
            lostUsd += heldUsd
            continue
          }
          return yield* fail(work, failure ?? choice.failure, money)
        }
      }
    }
    return yield* fail(work, failure ?? choice.failure, money)
  }, (effect, work) => Effect.onError(effect, () => giveUp(work)))

  return { draw, giveUp, walk }
})
