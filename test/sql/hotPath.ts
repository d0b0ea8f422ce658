/** What a paid request asks of its ledger, one payment after another. */
import { Effect, Option } from "effect"
import * as Ledger from "../../src/Ledger.ts"
import { draft, settled } from "../bench/drafts.ts"

/** What every paid request does. */
export const request = Effect.gen(function*() {
  const ledger = yield* Ledger.Ledger
  const one = yield* draft
  const { id, purchase = "" } = one.authorization
  yield* ledger.authorize(one)
  yield* ledger.holding(id)
  yield* ledger.judged(id, settled)
  yield* ledger.delivered(purchase, "delivering")
  yield* ledger.delivered(purchase, "delivered")
})

/** What is asked between payments, and by whoever starts and sweeps. */
export const housekeeping = Effect.gen(function*() {
  const ledger = yield* Ledger.Ledger
  const { authorization, purchase } = yield* draft
  yield* ledger.claim(Option.match(purchase, { onNone: () => "", onSome: ({ key }) => key }), "another")
  yield* ledger.orphans
  yield* ledger.unsettled
  yield* ledger.unproven({ after: "", limit: 100 })
  yield* ledger.conduct(authorization.origin, 3_600_000)
  for (const counter of authorization.counters) yield* ledger.standing(counter, 3_600_000)
})

/** Tables that grow with what was paid. There are as many leases as there are processes at work. */
export const growing = ["purchase", "authorization", "session", "counter", "counter_older", "origin"]
