/** What a paid request asks of its ledger, one payment after another. */
import { Effect } from "effect"
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

/** Tables that grow with what was paid. There are as many leases as there are processes at work. */
export const growing = ["purchase", "authorization", "session", "counter", "counter_older", "origin"]
