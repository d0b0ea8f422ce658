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
import * as Context from "effect/Context"
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

/**
 * Where the ways of a paywall keep their claims unless they are told otherwise. A paywall gives all of its ways the same
 * ones, so that nothing that its chain takes once is sold by two of them.
 *
 * @category references
 * @since 0.1.0
 */
export const Default: Context.Reference<Effect.Effect<Claims>> = Context.Reference<Effect.Effect<Claims>>(
  "effect-mpp/merchant/Claims/Default",
  { defaultValue: () => memory }
)

/**
 * A payment with several names, all of which must be found alike: a challenge and what answers it, say. Whoever takes it
 * has all of them; where one is taken, or belongs to another payment, none of them is.
 *
 * @category combinators
 * @since 0.1.0
 */
export const together = (
  claims: Claims,
  names: ReadonlyArray<string>
): {
  readonly take: (until: number) => Effect.Effect<Found>
  readonly leave: (left: Left) => Effect.Effect<void>
} => {
  const giveBack = (taken: ReadonlyArray<string>, found: Found) =>
    Effect.forEach(taken, (name) => claims.leave(name, found === "owed" ? "owed" : "free"), { discard: true })
  return {
    take: Effect.fnUntraced(function*(until) {
      let all: Found | undefined
      for (const [at, name] of names.entries()) {
        const found = yield* claims.take(name, until)
        all ??= found
        if (found !== all || found === "taken") {
          if (found !== "taken") yield* giveBack([name], found)
          yield* giveBack(names.slice(0, at), all)
          return "taken"
        }
      }
      return all ?? "fresh"
    }),
    leave: (left) => Effect.forEach(names, (name) => claims.leave(name, left), { discard: true })
  }
}
