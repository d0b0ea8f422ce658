/**
 * Whether a new purchase may begin: the origin has behaved, the clock can be believed, and the ledger has not forgotten what
 * was paid. What was begun goes on without asking here.
 *
 * @since 0.1.0
 */
import * as DateTime from "effect/DateTime"
import * as Duration from "effect/Duration"
import * as Effect from "effect/Effect"
import * as Option from "effect/Option"
import * as Budget from "./Budget.ts"
import type { Candidate } from "./Choice.ts"
import * as ClockGuard from "./ClockGuard.ts"
import type { Answer } from "./Demand.ts"
import { Foreign } from "./Foreign.ts"
import { Ledger } from "./Ledger.ts"
import { type LedgerUnavailable, PolicyDenied } from "./PaymentError.ts"
import * as Policy from "./Policy.ts"

/**
 * @category constructors
 * @since 0.1.0
 */
export const make = Effect.gen(function*() {
  const ledger = yield* Ledger
  const { plan } = yield* Budget.Budget
  const clock = yield* ClockGuard.make
  const foreign = yield* Foreign

  const behaves = Effect.fnUntraced(function*(origin: string) {
    const { abandoned } = yield* ledger.conduct(origin, Duration.toMillis(Policy.undelivered.window))
    const { hangingUsd, refused } = yield* ledger.conduct(origin, Duration.toMillis(Policy.refusals.window))
    const objection = Policy.conduct({ abandoned, refused, hangingUsd }, plan, origin)
    if (Option.isSome(objection)) return yield* objection.value
  })

  return {
    /** Whether the clock is in doubt until a server or a chain has told the time. */
    isClockInDoubt: clock.hasJumped,
    /**
     * Begins by reading the clocks, as near to the server's answer as can be; what it answers fails if nothing new may begin
     * at the origin.
     */
    ask: (
      origin: string,
      answer: Answer | undefined
    ): Effect.Effect<Effect.Effect<void, LedgerUnavailable | PolicyDenied>> =>
      Effect.map(
        Effect.result(clock.check(answer)),
        (sure) => Effect.andThen(Effect.fromResult(sure), behaves(origin))
      ),
    /** Why nothing may be signed for an account. */
    objections: foreign.objections,
    /**
     * Fails, once, if a payment that this ledger does not know was for the same: it may have been for this very purchase, by a
     * ledger that knew more. No other failure would do: whoever meets those asks again by himself.
     */
    recall: Effect.fnUntraced(function*(
      candidates: ReadonlyArray<Candidate>
    ): Effect.fn.Return<void, PolicyDenied> {
      const purchases = candidates.filter(({ offer }) => offer.intent === "charge")
        .map(({ asset, offer: { payee, units }, rail: { payer } }) => ({ asset, payer, payee, units }))
      const found = yield* foreign.recall(purchases)
      if (Option.isNone(found)) return
      const { at, network, transaction } = found.value
      const when = DateTime.formatIso(DateTime.makeUnsafe(at))
      return yield* new PolicyDenied({
        rule: "maybe-paid",
        detail:
          `the same was paid on ${network} at ${when} (${transaction}), and this ledger, which was copied or put back, does ` +
          "not know what for. If it was for this, look for its content elsewhere; asked once more, it is paid for"
      })
    })
  }
})
