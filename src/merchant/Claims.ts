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
 * How a payment is found: `fresh` was never seen, or was free; for `owed` money may have moved before; `taken` is being
 * served, or was answered.
 *
 * @category models
 * @since 0.1.0
 */
export type Found = "fresh" | "owed" | "taken"

/**
 * Each step is atomic. Merchants of several processes need claims that they share, and a merchant that is to remember
 * across a restart what it sold, and what it owes, needs claims that outlive it.
 *
 * @category models
 * @since 0.1.0
 */
export interface Claims {
  /** How {@link take} would find a payment at this moment; claims nothing. */
  readonly look: (payment: string) => Effect.Effect<Found>
  /**
   * Claims a payment, unless it is `taken`. `until`, in milliseconds since the epoch, is when the payment becomes void and
   * may be forgotten.
   */
  readonly take: (payment: string, until: number) => Effect.Effect<Found>
  /** Ends a claim. */
  readonly leave: (payment: string, left: Left) => Effect.Effect<void>
}

interface Entry {
  state: "serving" | "owed" | "sold"
  readonly until: number
}

/**
 * Claims in the memory of this process: a restart forgets what was sold, and what is owed.
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

  const found = (entry: Entry | undefined): Found =>
    entry === undefined ? "fresh" : entry.state === "owed" ? "owed" : "taken"

  return {
    look: (payment) => Effect.sync(() => found(entries.get(payment))),
    take: (payment, until) =>
      Effect.map(Clock.currentTimeMillis, (now) => {
        forget(now)
        const entry = entries.get(payment)
        const before = found(entry)
        if (entry === undefined) entries.set(payment, { state: "serving", until })
        else if (before === "owed") entry.state = "serving"
        return before
      }),
    leave: (payment, left) =>
      Effect.sync(() => {
        const entry = entries.get(payment)
        if (left === "free") entries.delete(payment)
        else if (entry !== undefined) entry.state = left
      })
  }
})
