/**
 * What became of what was signed.
 *
 * A payment whose outcome is open is found out by asking: the chain for an authorisation, the session endpoint for a draw
 * or a session's limit. Evidence has ranks; only proof returns a hold. What can no longer become spent and has no evidence
 * for long enough is presumed spent, so that no hold lives for ever; evidence that comes later corrects it.
 *
 * @since 0.1.0
 */
import * as Clock from "effect/Clock"
import * as Context from "effect/Context"
import * as Duration from "effect/Duration"
import * as Effect from "effect/Effect"
import * as Fiber from "effect/Fiber"
import * as Layer from "effect/Layer"
import * as Option from "effect/Option"
import * as Ref from "effect/Ref"
import * as Schedule from "effect/Schedule"
import * as Amount from "./Amount.ts"
import * as Asset from "./Asset.ts"
import { Foreign } from "./Foreign.ts"
import * as Ledger from "./Ledger.ts"
import { isOverdue } from "./ledger/Transition.ts"
import type { LedgerUnavailable } from "./PaymentError.ts"
import * as Rails from "./Rails.ts"
import * as Session from "./Session.ts"
import { finalFigure } from "./session/Establish.ts"

/**
 * How long an authorisation that can no longer become spent waits for evidence before it is presumed spent.
 *
 * @category constants
 * @since 0.1.0
 */
export const presumeAfter: Duration.Duration = Duration.hours(1)

/** As many claims of merchants are held against the chain in one pass. */
const claimsPerPass = 100

/** What takes longer than this is gone into again in the next pass. */
const patience = Duration.seconds(30)

/** Who has not answered by then does not answer in this pass: time is left to draw conclusions from that. */
const answersWithin = Duration.seconds(25)

const concurrency = 4

/**
 * What one pass found.
 *
 * @category models
 * @since 0.1.0
 */
export interface Report {
  readonly settled: number
  readonly released: number
  readonly presumed: number
  /** Still open: no evidence yet. */
  readonly open: number
}

/**
 * Finds out what became of what was signed.
 *
 * @category services
 * @since 0.1.0
 */
export class Reconciler extends Context.Service<Reconciler, {
  /** Asks about one authorisation; answers its state afterwards. */
  readonly reconcile: (id: string) => Effect.Effect<Option.Option<Ledger.State>, LedgerUnavailable>
  /** Asks about everything that is open. */
  readonly sweep: Effect.Effect<Report, LedgerUnavailable>
  /** The same, and tells of every authorisation that it has asked about, as it was before. */
  readonly sweepWith: <R>(
    asked: (before: Ledger.Authorization) => Effect.Effect<void, never, R>
  ) => Effect.Effect<Report, LedgerUnavailable, R>
}>()("effect-mpp/Reconciler") {}

/**
 * Whether a payment that counts as settled is not: the chain proves that it never can be, or the block in which it was
 * seen is gone.
 */
const isContradiction = ({ evidence, state }: Ledger.Authorization, verdict: Rails.Verdict): boolean =>
  state === "settled" && (verdict._tag === "Void" ||
    (verdict._tag === "Unknown" && verdict.evidence.rank === "observed" && evidence.at(-1)?.rank === "observed"))

const make = Effect.gen(function*() {
  const ledger = yield* Ledger.Ledger
  const rails = yield* Rails.Rails
  const sessions = yield* Session.Session
  const table = yield* Asset.Table
  const foreign = yield* Effect.serviceOption(Foreign)
  const lastClaim = yield* Ref.make("")

  const stateOf = (id: string) =>
    Effect.map(ledger.authorization(id), Option.map((authorization) => authorization.state))

  const failed = ({ id }: Ledger.Authorization, why: string) =>
    Effect.as(Effect.logWarning("could not reconcile", id, why), Option.none<never>())

  /** What a rail finds out, if it does in time. Silence is no evidence. */
  const answer = <A, E>(authorization: Ledger.Authorization, question: Effect.Effect<A, E>) =>
    Effect.option(question).pipe(
      Effect.timeoutOrElse({ duration: answersWithin, orElse: () => failed(authorization, "no answer in time") })
    )

  const presumable = (authorization: Ledger.Authorization, now: number) =>
    authorization.plan.spendableUntil !== undefined &&
    now >= authorization.plan.spendableUntil + Duration.toMillis(presumeAfter)

  const presumed = new Rails.Evidence({ rank: "presumed", what: "no evidence in time" })

  /** What a rail can be asked of. One that is not set up here any more says nothing, and time goes by all the same. */
  const ask = (authorization: Ledger.Authorization, rail: Rails.Rail | undefined, drawn?: Rails.Drawn) =>
    rail === undefined ? Effect.succeedNone : answer(authorization, rail.reconcile(authorization.plan, drawn))

  const charge = Effect.fnUntraced(function*(
    authorization: Ledger.Authorization,
    rail: Rails.Rail | undefined,
    now: number
  ) {
    const { id, plan } = authorization
    const asset = table.find(plan.network, plan.asset)
    const verdict = yield* ask(authorization, rail)
    const known = Option.isSome(verdict) && (verdict.value._tag === "Settled" || verdict.value._tag === "Void")
    if (Option.exists(verdict, (it) => isContradiction(authorization, it))) {
      yield* ledger.judged(id, { state: "unknown", evidence: Option.getOrThrow(verdict).evidence })
    }
    if (known && Option.isSome(asset)) {
      yield* ledger.judged(id, Ledger.judgement(verdict.value, plan, asset.value))
    } else if (
      authorization.state !== "settled" && authorization.state !== "presumed" && presumable(authorization, now)
    ) {
      // Whoever signed it and hangs is not heard any more.
      if (authorization.state === "signed") yield* ledger.judged(id, { state: "unknown", evidence: presumed })
      yield* ledger.judged(id, { state: "presumed", spentUsd: authorization.holdUsd, evidence: presumed })
    }
  })

  const limit = Effect.fnUntraced(function*(
    authorization: Ledger.Authorization,
    rail: Rails.Rail | undefined,
    now: number
  ) {
    if (authorization.session === undefined) return
    const ops = Option.getOrUndefined(rail?.session ?? Option.none())
    const record = yield* ledger.session(authorization.session)
    if (Option.isNone(record)) return
    const { expiresAt, handle, id, limitUsd, spentUsd, state } = record.value
    if (state === "closed") return
    const running = state === "live" || state === "establishing"
    if ((running || state === "parked") && !isOverdue(expiresAt, now)) return
    // Whoever still draws on it, or closes it, is not overtaken.
    const kept = yield* sessions.find(id)
    if (Option.isSome(kept)) yield* sessions.expire(kept.value)
    else if (running || state === "parked") yield* ledger.updateSession(id, { state: "closing" })
    const after = yield* ledger.session(id)
    if (!Option.exists(after, (it) => it.state !== "closed")) return
    if (Option.isSome(kept)) {
      // It was asked just now, and did not answer.
    } else if (handle !== undefined) {
      const figures = ops === undefined
        ? Option.none()
        : yield* answer(authorization, ops.close(handle, Session.drawnOf(record.value)))
      if (Option.isSome(figures)) return yield* ledger.closeSession(id, finalFigure(figures.value))
    } else if (state !== "presumed") {
      // Its opening was never answered: the endpoint finds it by the key that it was asked with.
      const verdict = yield* ask(authorization, rail, Session.drawnOf(record.value))
      if (Option.isSome(verdict) && verdict.value._tag === "Void") {
        return yield* ledger.judged(authorization.id, { state: "released", evidence: verdict.value.evidence })
      }
      if (Option.isSome(verdict) && verdict.value._tag === "Settled") {
        const { evidence, feeUsd, units } = verdict.value
        const fees = feeUsd === undefined ? {} : { feeUsd }
        return yield* ledger.closeSession(
          id,
          finalFigure({ spent: units, remaining: 0n, open: false, evidence, ...fees })
        )
      }
    }
    if (state !== "presumed" && presumable(authorization, now)) {
      // Nobody says what was taken: the whole limit counts as spent.
      const all = limitUsd > spentUsd ? limitUsd : spentUsd
      yield* ledger.closeSession(id, { spentUsd: all, state: "presumed", evidence: presumed })
    }
  })

  const one = Effect.fn("Reconciler.reconcile")(function*(authorization: Ledger.Authorization) {
    const now = yield* Clock.currentTimeMillis
    const rail = (yield* rails.all).find((candidate) => candidate.name === authorization.plan.rail)
    switch (authorization.plan.kind) {
      case "charge":
        return yield* charge(authorization, rail, now)
      case "draw":
        // Its session's final figure says what became of it; a live session is not closed for that.
        return
      case "open":
        return yield* limit(authorization, rail, now)
    }
  })

  /** One that fails, or does not end, keeps none of the others waiting. */
  const patiently = (authorization: Ledger.Authorization) =>
    Effect.andThen(one(authorization), stateOf(authorization.id)).pipe(
      Effect.timeout(patience),
      Effect.catch((error) =>
        failed(authorization, error._tag === "TimeoutError" ? "it takes too long" : error.message)
      ),
      Effect.catchDefect(() => failed(authorization, "its rail is defective")),
      Effect.map(Option.getOrElse(() => authorization.state))
    )

  /** A session whose authority has debited more than was drawn took what nobody asked for, and is closed. */
  const audit = Effect.fnUntraced(function*({ id, state }: Ledger.SessionRecord) {
    const live = state === "live" ? yield* sessions.find(id) : Option.none<Session.Live>()
    if (Option.isNone(live)) return
    const { handle, ops } = live.value
    const figures = yield* Effect.option(ops.inspect(handle))
    // Our own count is read after the figure: what was debited by then had been reserved before.
    const record = yield* ledger.session(id)
    if (Option.isNone(figures) || Option.isNone(record)) return
    const { reservedUsd, spentUsd } = record.value
    const debited = Amount.toUsd({ asset: Asset.sessionUsdc, units: figures.value.spent })
    if (debited > spentUsd + reservedUsd) yield* sessions.suspect(live.value)
  }, (effect, { id }) =>
    Effect.timeout(effect, patience).pipe(
      Effect.ignore,
      Effect.catchDefect(() => Effect.logWarning("a session's figure could not be read", id))
    ))

  /** The next claims in turn: what can never be proven is not asked about again before all others were. */
  const nextClaims = Effect.gen(function*() {
    const after = yield* Ref.get(lastClaim)
    const later = yield* ledger.unproven({ after, limit: claimsPerPass })
    const first = later.length === claimsPerPass || after === ""
      ? []
      : (yield* ledger.unproven({ after: "", limit: claimsPerPass - later.length })).filter(({ id }) => id <= after)
    const claims = [...later, ...first]
    yield* Ref.set(lastClaim, claims.at(-1)?.id ?? "")
    return claims
  })

  const sweepWith = Effect.fn("Reconciler.sweep")(function*<R>(
    asked: (before: Ledger.Authorization) => Effect.Effect<void, never, R>
  ) {
    const all = (authorizations: ReadonlyArray<Ledger.Authorization>) =>
      Effect.forEach(authorizations, (one) => Effect.tap(patiently(one), asked(one)), { concurrency })
    const report = { settled: 0, released: 0, presumed: 0, open: 0 }
    const comparing = yield* Effect.forkChild(
      Option.match(foreign, { onNone: () => Effect.void, onSome: ({ compare }) => compare })
    )
    yield* ledger.orphans
    for (const state of yield* all(yield* ledger.unsettled)) {
      if (state === "settled" || state === "released" || state === "presumed") report[state]++
      else report.open++
    }
    yield* all(yield* nextClaims)
    yield* Effect.forEach(yield* ledger.sessions({ state: ["live"] }), audit, { concurrency, discard: true })
    yield* Fiber.join(comparing)
    return report
  })

  return Reconciler.of({
    reconcile: Effect.fnUntraced(function*(id) {
      const authorization = yield* ledger.authorization(id)
      if (Option.isNone(authorization)) return Option.none()
      yield* one(authorization.value)
      return yield* stateOf(id)
    }),
    sweep: sweepWith(() => Effect.void),
    sweepWith
  })
})

/**
 * The reconciler, asked by hand.
 *
 * @category layers
 * @since 0.1.0
 */
export const layer: Layer.Layer<Reconciler, never, Ledger.Ledger | Rails.Rails | Session.Session> = Layer.effect(
  Reconciler,
  make
)

/**
 * Sweeps at once and then by a schedule, for as long as the layer lives. A pass that fails is logged, and the next one
 * comes.
 *
 * @category layers
 * @since 0.1.0
 */
export const layerSweeping = (
  schedule: Schedule.Schedule<unknown> = Schedule.spaced("30 seconds")
): Layer.Layer<never, never, Reconciler> =>
  Layer.effectDiscard(
    Effect.gen(function*() {
      const reconciler = yield* Reconciler
      yield* reconciler.sweep.pipe(
        Effect.catch((error) => Effect.logWarning("could not reconcile", error.message)),
        Effect.repeat(schedule),
        Effect.forkScoped
      )
    })
  )
