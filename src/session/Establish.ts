/**
 * Opens one session: its limit is held and written down before its endpoint is asked, and what the endpoint did is written
 * down whatever it was.
 *
 * @since 0.1.0
 */
import * as Clock from "effect/Clock"
import * as SecureRandom from "effect/crypto/SecureRandom"
import * as Data from "effect/Data"
import * as Duration from "effect/Duration"
import * as Effect from "effect/Effect"
import * as Exit from "effect/Exit"
import * as Option from "effect/Option"
import * as Semaphore from "effect/Semaphore"
import * as Amount from "../Amount.ts"
import { type Asset, sessionUsdc } from "../Asset.ts"
import * as Budget from "../Budget.ts"
import * as Ledger from "../Ledger.ts"
import type { Offer } from "../Offer.ts"
import * as PaymentError from "../PaymentError.ts"
import * as Policy from "../Policy.ts"
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
  readonly asset: Asset
  /** Draws of unknown outcome that its next figure may explain, and what each would take, in micro-dollars. */
  readonly unresolved: Map<string, bigint>
  /** Lets a draw wait for the one before it, where their order matters. */
  readonly inTurn: <A, E, R>(draw: Effect.Effect<A, E, R>) => Effect.Effect<A, E, R>
}

/**
 * A session that this process keeps from now on.
 *
 * @category constructors
 * @since 0.1.0
 */
export const liveOf = (session: Omit<Live, "inTurn" | "unresolved">): Live => {
  const turns = session.ops.inOrder ? Semaphore.makeUnsafe(1) : undefined
  return { ...session, unresolved: new Map(), inTurn: turns === undefined ? (draw) => draw : turns.withPermit }
}

/**
 * Why a session could not be had.
 *
 * @category errors
 * @since 0.1.0
 */
export type SessionReason =
  | PaymentError.BudgetExceeded
  | PaymentError.LedgerUnavailable
  | PaymentError.PolicyDenied
  | PaymentError.PaymentRejected
  | PaymentError.ProtocolError
  | PaymentError.RateLimited
  | PaymentError.Unavailable
  | PaymentError.ChainError
  | PaymentError.InsufficientFunds
  | PaymentError.WalletError

/**
 * A session could not be had. Its limit may be held all the same: until it is proven that it was not opened.
 *
 * @category errors
 * @since 0.1.0
 */
export class SessionFailure extends Data.TaggedError("SessionFailure")<{
  readonly reason: SessionReason
  readonly money: "unspent" | "held"
}> {}

/**
 * Puts the reason into a failure, with what it means for the money.
 *
 * @category errors
 * @since 0.1.0
 */
export const failing =
  (money: SessionFailure["money"]) =>
  <A, R>(effect: Effect.Effect<A, SessionReason, R>): Effect.Effect<A, SessionFailure, R> =>
    Effect.mapError(effect, (reason) => new SessionFailure({ reason, money }))

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
  readonly asset: Asset
  readonly origin: string
  readonly agent: string
  /** The request that is to be paid for first. */
  readonly resource: { readonly method: string; readonly url: string }
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
 * How a session's authority closes its books: what was taken, and what the transactions cost.
 *
 * @category conversions
 * @since 0.1.0
 */
export const finalFigure = ({ evidence, feeUsd, spent }: Rails.Figures): Ledger.Close => ({
  spentUsd: usd(spent),
  ...(feeUsd === undefined ? {} : { feeUsd }),
  state: "closed",
  evidence: evidence ?? new Rails.Evidence({ rank: "attested", what: "final figure of the session" })
})

/**
 * Lets an effect be interrupted within a region that must not be.
 *
 * @category models
 * @since 0.1.0
 */
export type Restore = <A, E, R>(effect: Effect.Effect<A, E, R>) => Effect.Effect<A, E, R>

type Refusal =
  | PaymentError.PaymentRejected
  | PaymentError.RateLimited
  | PaymentError.Unavailable
  | PaymentError.WalletError

/** Proof that no session was opened: its authority said so, or nothing left this process. */
const isRefusal = ({ attests }: Rails.SessionOps) => (error: SessionReason): error is Refusal =>
  error._tag === "WalletError" || (error._tag === "Unavailable" && error.notSent) ||
  (attests && (error._tag === "PaymentRejected" || error._tag === "RateLimited"))

/**
 * What the ledger has of a session, as rails want it.
 *
 * @category conversions
 * @since 0.1.0
 */
export const drawnOf = ({ limitUsd, reservedUsd, spentUsd }: Ledger.SessionRecord): Rails.Drawn => ({
  limit: limitUsd,
  spent: spentUsd,
  reserved: reservedUsd
})

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

  const standings = (limits: ReadonlyArray<Budget.Limit>) =>
    Effect.forEach(
      limits,
      (limit) => Effect.map(ledger.standing(limit.counter, limit.windowMillis), (standing) => ({ limit, ...standing }))
    )

  /** The limit that leaves least for a session, its own ceiling among them. */
  const exceeded = (standings: ReadonlyArray<Budget.Standing>, requested: bigint) => {
    const cap: Budget.Standing = {
      limit: { scope: "session", limit: budget.plan.maxDeposit },
      spent: 0n,
      exposed: 0n
    }
    const { exposed, limit: { limit, scope }, spent } = Option.getOrElse(
      Budget.tightest([...standings, cap]),
      () => cap
    )
    return new PaymentError.BudgetExceeded({ scope, limit, spent, exposed, requested })
  }

  /** What hangs in openings of this agent that their endpoint did not answer: more of them would lock the budget away. */
  const hanging = Effect.fnUntraced(function*(
    { origin, rail }: Need,
    limits: ReadonlyArray<Budget.Limit>
  ) {
    const counter = limits.find(({ scope }) => scope === "agent")?.counter ?? ""
    const openings = (yield* ledger.unsettled).filter(({ counters, plan, state }) =>
      plan.kind === "open" && state === "unknown" && plan.rail === rail.name && counters.includes(counter)
    )
    return {
      usd: openings.reduce((total, { exposedUsd }) => total + exposedUsd, 0n),
      here: openings.some((opening) => opening.origin === origin)
    }
  })

  /** Writes the plan and takes the hold; nothing has left the process yet. */
  const prepare = Effect.fnUntraced(function*(need: Need, key: string): Effect.fn.Return<Prepared, SessionReason> {
    const { agent, offer, ops, origin, rail, resource } = need
    const who = { agent, origin, payer: rail.payer }
    const limits = budget.limits(who)
    if (ops.needsDurableLedger === true && !ledger.durable) {
      return yield* new PaymentError.PolicyDenied({
        rule: "ephemeral-ledger",
        detail:
          "a channel is opened only where the ledger outlives the process, which would forget the deposit otherwise",
        offer
      })
    }
    const hangs = yield* hanging(need, limits)
    if (Policy.hangsTooMuch(hangs.usd, budget.plan) || (!ops.attests && hangs.here)) {
      return yield* new PaymentError.Unavailable({ service: "session endpoint", notSent: true })
    }
    const price = usd(offer.units)
    const known = yield* standings(limits)
    const limitUsd = budget.sessionLimit({ price, expected: need.expected, remaining: Budget.remaining(known) })
    if (Option.isNone(limitUsd)) return yield* exceeded(known, price)
    const id = `ses_${yield* random.uuidV7()}`
    const authorization = `aut_${yield* random.uuidV7()}`
    const now = yield* Clock.currentTimeMillis
    const plan = yield* ops.planOpen(offer, {
      origin,
      agent,
      purchase: id,
      limit: limitUsd.value,
      validityMillis: Math.min(Duration.toMillis(maxValidity), Duration.toMillis(budget.plan.window)),
      idempotencyKey: authorization,
      resource
    })
    const held = usd(plan.units)
    yield* ledger.authorize({
      purchase: Option.none(),
      authorization: Ledger.newAuthorization({
        id: authorization,
        session: id,
        plan: new Rails.Plan({ ...plan, rail: rail.name }),
        holdUsd: held + (plan.feeUsd ?? 0n),
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
          limitUsd: held,
          spentUsd: 0n,
          reservedUsd: 0n,
          state: "establishing",
          expiresAt: plan.spendableUntil ?? now + Duration.toMillis(maxValidity)
        })
      )
    })
    return { id, authorization, plan }
  })

  /** A session that cannot pay for one request is closed again. */
  const tooSmall = Effect.fnUntraced(function*(
    { ops }: Need,
    id: string,
    handle: Rails.SessionHandle
  ): Effect.fn.Return<never, SessionFailure> {
    const detail = "the session endpoint granted less than one request costs"
    const reason = new PaymentError.ProtocolError({ protocol: "mpp/1.0", detail })
    yield* failing("held")(ledger.updateSession(id, { handle, state: "closing" }))
    const figures = yield* Effect.result(ops.close(handle, { limit: handle.limit, spent: 0n, reserved: 0n }))
    if (figures._tag === "Failure") return yield* failing("held")(Effect.fail(reason))
    yield* failing("held")(ledger.closeSession(id, finalFigure(figures.success)))
    return yield* failing("unspent")(Effect.fail(reason))
  })

  /** Asks the endpoint for what is held already. */
  const open = Effect.fnUntraced(function*(
    { key, need, prepared, restore }: {
      readonly need: Need
      readonly key: string
      readonly prepared: Prepared
      readonly restore: Restore
    }
  ): Effect.fn.Return<Live, SessionFailure> {
    const { asset, ops, rail } = need
    const { authorization, id, plan } = prepared
    yield* failing("held")(ledger.holding(authorization))
    const established = yield* Effect.exit(restore(ops.establish(plan)))
    if (Exit.isSuccess(established)) {
      const handle = established.value
      if (usd(handle.limit) < usd(need.offer.units)) return yield* tooSmall(need, id, handle)
      yield* ledger.updateSession(id, {
        handle,
        state: "live",
        expiresAt: handle.expiresAt,
        limitUsd: usd(handle.limit)
      }).pipe(
        // What could not be written is not drawn on.
        Effect.tapError(() => Effect.ignore(ops.close(handle, { limit: handle.limit, spent: 0n, reserved: 0n }))),
        failing("held")
      )
      return liveOf({ rail, ops, id, key, handle, asset })
    }
    const refused = Exit.findErrorOption(established).pipe(Option.filter(isRefusal(ops)))
    yield* ledger.judged(authorization, {
      state: Option.isSome(refused) ? "released" : "unknown",
      evidence: Option.isSome(refused)
        ? new Rails.Evidence({
          rank: ops.attests ? "attested" : "proven",
          what: refused.value._tag === "Unavailable" || refused.value._tag === "WalletError"
            ? "not sent"
            : "refused by the session endpoint"
        })
        : new Rails.Evidence({ rank: "presumed", what: "no answer from the session endpoint" })
    }).pipe(failing("held"))
    const failed = failing(Option.isSome(refused) ? "unspent" : "held")
    yield* failed(ledger.updateSession(id, { state: Option.isSome(refused) ? "closed" : "closing" }))
    return yield* failed(Effect.failCause(established.cause))
  })

  return Effect.fn("Session.establish")(function*(
    need: Need,
    key: string,
    restore: Restore
  ): Effect.fn.Return<Live, SessionFailure> {
    yield* Effect.annotateCurrentSpan({ "mpp.rail": need.rail.name, "mpp.origin": need.origin })
    const prepared = yield* failing("unspent")(prepare(need, key))
    return yield* open({ need, key, prepared, restore })
  })
})

interface Prepared {
  readonly id: string
  readonly authorization: string
  readonly plan: Rails.Plan
}
