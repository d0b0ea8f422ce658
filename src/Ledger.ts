/**
 * The only stateful service: purchases, authorisations, holds and sessions.
 *
 * Every call is one atomic step. `authorize` is the one that matters: it checks the limits, takes the hold, writes the
 * complete unsigned plan and moves the session on, or does nothing at all. Only after it has returned is anything signed.
 *
 * Amounts named `usd` are micro-dollars; amounts named `units` are base units of the plan's asset.
 *
 * @since 0.1.0
 */
import * as Context from "effect/Context"
import * as Effect from "effect/Effect"
import * as Layer from "effect/Layer"
import type * as Option from "effect/Option"
import type { Asset } from "./Asset.ts"
import * as Budget from "./Budget.ts"
import type { Foreign, Known, Watermark } from "./ledger/Foreign.ts"
import * as Memory from "./ledger/Memory.ts"
import {
  type About,
  Authorization,
  type Broadcast,
  type Conduct,
  type Delivery,
  type Draft,
  type Judgement,
  type Purchase,
  type SessionRecord,
  type Standing
} from "./ledger/Model.ts"
import type * as Query from "./ledger/Query.ts"
import type { Close } from "./ledger/SessionTransition.ts"
import type { BudgetExceeded, LedgerUnavailable } from "./PaymentError.ts"
import { type Plan, spentUsd, type Verdict } from "./Rails.ts"

export type { Limit } from "./Budget.ts"
export * from "./ledger/Foreign.ts"
export * from "./ledger/Model.ts"
export type { Close } from "./ledger/SessionTransition.ts"

/**
 * The ledger.
 *
 * @category services
 * @since 0.1.0
 */
export class Ledger extends Context.Service<Ledger, {
  /** Whether what is written outlives the process. */
  readonly durable: boolean
  /** Which ledger it is. */
  readonly about: Effect.Effect<About, LedgerUnavailable>
  /**
   * One transaction: the limits are checked, the hold is taken, the plan is written, the session moves on. A draw is
   * checked against its session (scope `session`), which holds its money already; of its other limits only those of scope
   * `count` are asked. A purchase is counted once, however many authorisations it takes, and not at all if it is void.
   *
   * What can be taken for a purchase is never above its approved price. A caller that asks for more has lost count of its
   * own authorisations, and gets `LedgerUnavailable`. Another price is approved only if all that was authorised before is
   * released, or if the draft's purchase says `doubleSpend`.
   */
  readonly authorize: (draft: Draft) => Effect.Effect<void, BudgetExceeded | LedgerUnavailable>
  /**
   * Asked right before bytes leave: fails if this process has stood still for longer than its lease, so that another one may
   * go on with the authorisation. Nothing is sent then.
   */
  readonly holding: (id: string) => Effect.Effect<void, LedgerUnavailable>
  /** An authorisation is about to be sent again: `unknown` or `rejected` becomes `signed`. */
  readonly resent: (id: string) => Effect.Effect<void, LedgerUnavailable>
  /** How far a transaction came that its payer broadcasts: before it leaves, when it is mined, before it is presented. */
  readonly advanced: (id: string, broadcast: Broadcast) => Effect.Effect<void, LedgerUnavailable>
  /**
   * Writes down what became known. Only evidence that is `proven` or `attested` returns a hold, or any part of it; of what
   * was never sent, its owner's word does. A judgement that is weaker than what is known changes nothing, and one that
   * contradicts it fails.
   */
  readonly judged: (id: string, judgement: Judgement) => Effect.Effect<void, LedgerUnavailable>
  /** How far a purchase came. It is void only if all of its authorisations are released. */
  readonly delivered: (purchase: string, delivery: Delivery) => Effect.Effect<void, LedgerUnavailable>
  /** Claims the purchase of this key whose owner ended without content; at most one claimant gets it. */
  readonly claim: (key: string, owner: string) => Effect.Effect<
    Option.Option<{ readonly purchase: Purchase; readonly authorization: Authorization }>,
    LedgerUnavailable
  >
  /**
   * Takes up what processes have left behind that are no more: what they signed becomes `unknown`, their purchases have
   * ended without content, and their sessions are to be closed. What living ones work on is not touched.
   */
  readonly orphans: Effect.Effect<void, LedgerUnavailable>
  /** The session came to life, or is not drawn on any more. A closed one stays as it is. */
  readonly updateSession: (
    id: string,
    change: Partial<Pick<SessionRecord, "handle" | "state" | "expiresAt" | "limitUsd">>
  ) => Effect.Effect<void, LedgerUnavailable>
  /**
   * The session's final figure is known: `spentUsd` of its hold is spent, the rest is returned. Draws of unknown outcome
   * are resolved by it.
   */
  readonly closeSession: (
    id: string,
    close: Close
  ) => Effect.Effect<void, LedgerUnavailable>
  readonly session: (id: string) => Effect.Effect<Option.Option<SessionRecord>, LedgerUnavailable>
  readonly sessions: (query: Query.Sessions) => Effect.Effect<ReadonlyArray<SessionRecord>, LedgerUnavailable>
  readonly authorization: (id: string) => Effect.Effect<Option.Option<Authorization>, LedgerUnavailable>
  /**
   * Authorisations whose outcome is open and which no living owner works on: what the reconciler goes through. A minute
   * after a charge that is still `signed` could be spent, or after a session expired, an owner does not count any more.
   */
  readonly unsettled: Effect.Effect<ReadonlyArray<Authorization>, LedgerUnavailable>
  /**
   * A page of the charges that are counted as spent on a merchant's word, or on time alone: a chain can still say what is
   * true.
   */
  readonly unproven: (page: Query.Page) => Effect.Effect<ReadonlyArray<Authorization>, LedgerUnavailable>
  readonly purchases: (query: Query.Purchases) => Effect.Effect<ReadonlyArray<Query.Paid>, LedgerUnavailable>
  /** Notes money that the wallet has moved and this ledger does not know: it counts as spent. False if it was noted before. */
  readonly foreign: (entry: Foreign) => Effect.Effect<boolean, LedgerUnavailable>
  /** What was noted of such money, the newest first: all of it, or what may have been forgotten here and was not recalled. */
  readonly foreigns: (query: Query.Foreigns) => Effect.Effect<ReadonlyArray<Foreign>, LedgerUnavailable>
  /** The next purchase that equals it was stopped: no other one will be. False if one was before. */
  readonly recalled: (reference: string) => Effect.Effect<boolean, LedgerUnavailable>
  /** Authorisations of these marks that can have moved money. */
  readonly marked: (marks: ReadonlyArray<string>) => Effect.Effect<ReadonlyArray<Known>, LedgerUnavailable>
  /** How far an account was compared with this ledger. */
  readonly watermark: (account: string) => Effect.Effect<Option.Option<Watermark>, LedgerUnavailable>
  /** An account was compared further. */
  readonly compared: (account: string, watermark: Watermark) => Effect.Effect<void, LedgerUnavailable>
  /** Spending counts in windows of at least sixty buckets, each until all of it has left; what is exposed always counts. */
  readonly standing: (counter: string, windowMillis: number) => Effect.Effect<Standing, LedgerUnavailable>
  readonly conduct: (origin: string, windowMillis: number) => Effect.Effect<Conduct, LedgerUnavailable>
}>()("effect-mpp/Ledger") {}

/**
 * A ledger in memory, for one process: a crash forgets what was signed, and a payment may then be made twice. Says so once,
 * as a warning, unless it is told to be `quiet`.
 *
 * @category layers
 * @since 0.1.0
 */
export const layerMemory = (options: { readonly quiet?: boolean | undefined } = {}): Layer.Layer<Ledger> =>
  Layer.effect(
    Ledger,
    Effect.gen(function*() {
      if (options.quiet !== true) {
        yield* Effect.logWarning(
          "The ledger is in memory: a crash forgets what was signed, and a payment may then be made twice. " +
            "Fund the wallet with what may be lost"
        )
      }
      return Ledger.of(yield* Memory.make)
    })
  )

/**
 * What remains under several limits, in micro-dollars.
 *
 * @category getters
 * @since 0.1.0
 */
export const remaining = Effect.fn("Ledger.remaining")(function*(limits: ReadonlyArray<Budget.Limit>) {
  const ledger = yield* Ledger
  const standings = yield* Effect.forEach(
    limits,
    (limit) => Effect.map(ledger.standing(limit.counter, limit.windowMillis), (standing) => ({ limit, ...standing }))
  )
  return Budget.remaining(standings)
})

/**
 * A new authorisation: signed for, with all of its hold exposed.
 *
 * @category constructors
 * @since 0.1.0
 */
export const newAuthorization = (draft: {
  readonly id: string
  readonly purchase?: string
  readonly session?: string
  readonly plan: Plan
  readonly holdUsd: bigint
  readonly drawUsd: bigint
  readonly counters: ReadonlyArray<string>
  readonly origin: string
  readonly now: number
}): Authorization =>
  new Authorization({
    id: draft.id,
    ...(draft.purchase === undefined ? {} : { purchase: draft.purchase }),
    ...(draft.session === undefined ? {} : { session: draft.session }),
    plan: draft.plan,
    state: "signed",
    holdUsd: draft.holdUsd,
    exposedUsd: draft.holdUsd,
    spentUsd: 0n,
    drawUsd: draft.drawUsd,
    counters: draft.counters,
    origin: draft.origin,
    evidence: [],
    createdAt: draft.now,
    updatedAt: draft.now
  })

/**
 * What a rail's verdict means for the authorisation of a plan in this asset.
 *
 * @category constructors
 * @since 0.1.0
 */
export const judgement = (verdict: Verdict, plan: Plan, asset: Asset): Judgement => {
  switch (verdict._tag) {
    case "Settled":
      return {
        state: "settled",
        spentUsd: spentUsd(plan, asset, verdict),
        evidence: verdict.evidence
      }
    case "Rejected":
      return { state: "rejected", evidence: verdict.evidence }
    case "Void":
      return {
        state: "released",
        ...(verdict.feeUsd === undefined ? {} : { spentUsd: verdict.feeUsd }),
        evidence: verdict.evidence
      }
    case "Unknown":
      return { state: "unknown", evidence: verdict.evidence }
  }
}
