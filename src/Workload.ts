/**
 * How many paid requests are expected at an origin: as many as the program says, or as many as were seen there lately. It
 * decides whether a session is worth opening, and how large.
 *
 * @since 0.1.0
 */
import * as Clock from "effect/Clock"
import * as Effect from "effect/Effect"
import * as Ref from "effect/Ref"

/** For how long requests at an origin count as one workload. */
const windowMillis = 10 * 60_000

/** More origins than this are not remembered; the oldest are forgotten first. */
const maxOrigins = 1024

interface Seen {
  readonly since: number
  readonly paid: number
}

/**
 * Makes the memory of workloads.
 *
 * @category constructors
 * @since 0.1.0
 */
export const make = Effect.gen(function*() {
  const origins = yield* Ref.make<ReadonlyMap<string, Seen>>(new Map())

  const recent = (seen: Seen | undefined, now: number): seen is Seen =>
    seen !== undefined && now - seen.since <= windowMillis

  return {
    /** Notes a paid request. */
    paid: Effect.fnUntraced(function*(origin: string) {
      const now = yield* Clock.currentTimeMillis
      yield* Ref.update(origins, (known) => {
        const before = known.get(origin)
        const next = new Map(known)
        if (before === undefined && next.size >= maxOrigins) next.delete(next.keys().next().value!)
        return next.set(origin, recent(before, now) ? { ...before, paid: before.paid + 1 } : { since: now, paid: 1 })
      })
    }),
    /** The next request included. */
    expected: Effect.fnUntraced(function*(origin: string, said: number | undefined) {
      if (said !== undefined) return Math.max(1, Math.floor(said))
      const seen = (yield* Ref.get(origins)).get(origin)
      return recent(seen, yield* Clock.currentTimeMillis) ? seen.paid + 1 : 1
    })
  }
})
