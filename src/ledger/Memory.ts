/**
 * A ledger in memory.
 *
 * @since 0.1.0
 */
import * as Clock from "effect/Clock"
import * as Effect from "effect/Effect"
import * as Result from "effect/Result"
import { type BudgetExceeded, LedgerUnavailable } from "../PaymentError.ts"
import type { Broadcast, Delivery, Draft, Judgement } from "./Model.ts"
import type { Close } from "./SessionTransition.ts"
import { Store } from "./Store.ts"

/**
 * An empty ledger.
 *
 * @category constructors
 * @since 0.1.0
 */
export const make = Effect.sync(() => {
  const store = new Store()

  const step = <E>(
    operation: string,
    run: () => Result.Result<void, string | E>
  ): Effect.Effect<void, E | LedgerUnavailable> =>
    Effect.flatMap(Clock.currentTimeMillis, (now) => {
      store.tick(Math.floor(now))
      return Effect.fromResult(Result.mapError(run(), (error) =>
        typeof error === "string" ? new LedgerUnavailable({ operation, detail: error }) : error))
    })

  const read = <A>(run: () => A): Effect.Effect<A> =>
    Effect.map(Clock.currentTimeMillis, (now) => {
      store.tick(Math.floor(now))
      return run()
    })

  return {
    durable: false,
    authorize: (draft: Draft) => step<BudgetExceeded>("authorize", () => store.authorize(draft)),
    resent: (id: string) => step<never>("resent", () => store.resent(id)),
    advanced: (id: string, broadcast: Broadcast) => step<never>("advanced", () => store.advanced(id, broadcast)),
    judged: (id: string, judgement: Judgement) => step<never>("judged", () => store.judged(id, judgement)),
    delivered: (purchase: string, delivery: Delivery) =>
      step<never>("delivered", () => store.delivered(purchase, delivery)),
    claim: (key: string, owner: string) => read(() => store.claim(key, owner)),
    updateSession: (id: string, change: Parameters<Store["updateSession"]>[1]) =>
      step<never>("updateSession", () => store.updateSession(id, change)),
    closeSession: (id: string, close: Close) => step<never>("closeSession", () => store.closeSession(id, close)),
    session: (id: string) => read(() => store.session(id)),
    sessions: read(() => store.allSessions()),
    authorization: (id: string) => read(() => store.authorization(id)),
    unsettled: read(() => store.unsettled()),
    unproven: read(() => store.unproven()),
    purchases: read(() => store.allPurchases()),
    standing: (counter: string, windowMillis: number) => read(() => store.standing(counter, windowMillis)),
    conduct: (origin: string, windowMillis: number) => read(() => store.conduct(origin, windowMillis))
  }
})
