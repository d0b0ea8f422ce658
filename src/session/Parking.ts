/**
 * Sessions that outlive their process: those that need no secret but the wallet. Where the ledger is durable they are parked
 * when a program ends, and the next one, or another, goes on with them.
 *
 * @since 0.1.0
 */
import * as Clock from "effect/Clock"
import * as Effect from "effect/Effect"
import * as Option from "effect/Option"
import * as Ledger from "../Ledger.ts"
import type { LedgerUnavailable } from "../PaymentError.ts"
import { drawnOf, type Live, liveOf, type Need, usd } from "./Establish.ts"

/** A session is not gone on with in its last moments. */
const marginMillis = 10_000

/**
 * Makes the parking of sessions, and the going on with them.
 *
 * @category constructors
 * @since 0.1.0
 */
export const make = Effect.gen(function*() {
  const ledger = yield* Ledger.Ledger

  return {
    /** Leaves a session to whoever comes next; false if it cannot be left. */
    park: ({ handle, id }: Live): Effect.Effect<boolean> =>
      ledger.durable && handle.resumable === true
        ? Effect.isSuccess(ledger.updateSession(id, { state: "parked" }))
        : Effect.succeed(false),
    /** A parked session for this need, which is this process's from now on. */
    adopt: Effect.fnUntraced(function*(
      { asset, offer, ops, origin, rail }: Need,
      key: string
    ): Effect.fn.Return<Option.Option<Live>, LedgerUnavailable> {
      if (!ops.inOrder) return Option.none()
      yield* ledger.orphans
      const price = usd(offer.units)
      const until = (yield* Clock.currentTimeMillis) + marginMillis
      for (const record of yield* ledger.sessions({ state: ["parked"], origin })) {
        const { expiresAt, handle, id, limitUsd, reservedUsd, spentUsd } = record
        const isFit = record.key === key && record.rail === rail.name && until < expiresAt &&
          spentUsd + reservedUsd + price <= limitUsd && ops.isWorn?.(drawnOf(record), price) !== true
        if (!isFit || handle === undefined) continue
        // Somebody else may be faster.
        const taken = yield* Effect.isSuccess(ledger.updateSession(id, { state: "live" }))
        if (taken) return Option.some(liveOf({ rail, ops, id, key, handle, asset }))
      }
      return Option.none()
    })
  }
})
