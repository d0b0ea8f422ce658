/**
 * Which payments are being served, so that one payment buys one answer.
 *
 * A payment is named by what its chain takes once: network, asset, payer and nonce. Whoever takes the claim of a payment
 * serves it, and nobody else does meanwhile. A payment whose money moved, or may have moved, and that was not answered is
 * owed: the same payment can be presented again, and is answered without being taken twice.
 *
 * @since 0.1.0
 */
import * as Clock from "effect/Clock"
import * as Effect from "effect/Effect"

/**
 * What became of a claim: nothing was taken, content is owed for it, or it was answered.
 *
 * @category models
 * @since 0.1.0
 */
export type Left = "free" | "owed" | "sold"

/**
 * Each step is atomic. Merchants of several processes need one that they share.
 *
 * @category models
 * @since 0.1.0
 */
export interface Claims {
  /**
   * Claims a payment. `fresh` was never seen, or was free; for `owed` money may have moved before; `taken` is being served,
   * or was answered. `until`, in milliseconds since the epoch, is when the payment becomes void and may be forgotten.
   */
  readonly take: (payment: string, until: number) => Effect.Effect<"fresh" | "owed" | "taken">
  /** Ends a claim. */
  readonly leave: (payment: string, left: Left) => Effect.Effect<void>
}

interface Entry {
  state: "serving" | "owed" | "sold"
  readonly until: number
}

/**
 * Claims in the memory of this process.
 *
 * @category constructors
 * @since 0.1.0
 */
export const memory: Effect.Effect<Claims> = Effect.sync(() => {
  const entries = new Map<string, Entry>()
  let crowded = 1024

  /** Looks at all entries each time that their number has doubled: a constant number of looks for each. */
  const forget = (now: number) => {
    if (entries.size < crowded) return
    for (const [payment, { state, until }] of entries) {
      if (state !== "serving" && until < now) entries.delete(payment)
    }
    crowded = Math.max(1024, entries.size * 2)
  }

  return {
    take: (payment, until) =>
      Effect.map(Clock.currentTimeMillis, (now) => {
        forget(now)
        const entry = entries.get(payment)
        if (entry === undefined) {
          entries.set(payment, { state: "serving", until })
          return "fresh"
        }
        if (entry.state !== "owed") return "taken"
        entry.state = "serving"
        return "owed"
      }),
    leave: (payment, left) =>
      Effect.sync(() => {
        const entry = entries.get(payment)
        if (left === "free") entries.delete(payment)
        else if (entry !== undefined) entry.state = left
      })
  }
})
