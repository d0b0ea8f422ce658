/**
 * A ledger in memory. Every call is one synchronous step, so that no two fibers ever see half of one.
 *
 * @since 0.1.0
 */
import * as Clock from "effect/Clock"
import * as Effect from "effect/Effect"
import * as Option from "effect/Option"
import * as Result from "effect/Result"
import { type BudgetExceeded, LedgerUnavailable } from "../PaymentError.ts"
import type { Foreign, Watermark } from "./Foreign.ts"
import { MemoryRows } from "./MemoryRows.ts"
import type { Broadcast, Delivery, Draft, Judgement } from "./Model.ts"
import type * as Query from "./Query.ts"
import type { Close } from "./SessionTransition.ts"
import { Steps } from "./Steps.ts"

/**
 * An empty ledger.
 *
 * @category constructors
 * @since 0.1.0
 */
export const make = Effect.sync(() => {
  const rows = new MemoryRows()
  const { books } = rows
  const steps = new Steps(rows, books)
  const watermarks = new Map<string, Watermark>()

  const step = <E>(
    operation: string,
    run: () => Result.Result<void, string | E>
  ): Effect.Effect<void, E | LedgerUnavailable> =>
    Effect.flatMap(Clock.currentTimeMillis, (now) => {
      books.tick(Math.floor(now))
      return Effect.fromResult(Result.mapError(run(), (error) =>
        typeof error === "string" ? new LedgerUnavailable({ operation, detail: error }) : error))
    })

  const read = <A>(run: () => A): Effect.Effect<A> =>
    Effect.map(Clock.currentTimeMillis, (now) => {
      books.tick(Math.floor(now))
      return run()
    })

  const found = <A>(row: { readonly value: A } | undefined) =>
    row === undefined ? Option.none<A>() : Option.some(row.value)

  return {
    durable: false,
    about: Effect.sync(() => ({ id: "memory", generation: 1, durable: false, authorizedAt: books.last })),
    authorize: (draft: Draft) => step<BudgetExceeded>("authorize", () => steps.authorize(draft)),
    holding: () => Effect.void,
    resent: (id: string) => step<never>("resent", () => steps.resent(id)),
    advanced: (id: string, broadcast: Broadcast) => step<never>("advanced", () => steps.advanced(id, broadcast)),
    judged: (id: string, judgement: Judgement) => step<never>("judged", () => steps.judged(id, judgement)),
    delivered: (purchase: string, delivery: Delivery) =>
      step<never>("delivered", () => steps.delivered(purchase, delivery)),
    claim: (key: string, owner: string) => read(() => steps.claim(key, owner)),
    orphans: Effect.void,
    updateSession: (id: string, change: Parameters<Steps["updateSession"]>[1]) =>
      step<never>("updateSession", () => steps.updateSession(id, change)),
    closeSession: (id: string, close: Close) => step<never>("closeSession", () => steps.closeSession(id, close)),
    session: (id: string) => read(() => found(rows.session(id))),
    sessions: (query: Query.Sessions) => read(() => rows.querySessions(query)),
    authorization: (id: string) => read(() => found(rows.authorization(id))),
    unsettled: read(() => rows.unsettled()),
    unproven: (page: Query.Page) => read(() => rows.unproven(page)),
    purchases: (query: Query.Purchases) => read(() => rows.queryPurchases(query)),
    foreign: (entry: Foreign) =>
      read(() => {
        const isNew = rows.addForeign(entry)
        if (isNew) steps.foreign(entry)
        return isNew
      }),
    foreigns: (query: Query.Foreigns) => read(() => rows.queryForeigns(query)),
    recalled: (reference: string) => read(() => rows.recall(reference)),
    marked: (marks: ReadonlyArray<string>) => read(() => rows.marked(new Set(marks))),
    watermark: (account: string) => Effect.sync(() => Option.fromUndefinedOr(watermarks.get(account))),
    compared: (account: string, watermark: Watermark) => Effect.sync(() => void watermarks.set(account, watermark)),
    standing: (counter: string, windowMillis: number) => read(() => books.standing(counter, windowMillis)),
    conduct: (origin: string, windowMillis: number) => read(() => books.conduct(origin, windowMillis))
  }
})
