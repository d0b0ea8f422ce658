/**
 * Which challenges are being answered: each by one purchase. Servers are seen to hand the same challenge to requests that
 * come at the same moment, and what two purchases pay for it would be one payment, or two for one answer.
 *
 * @since 0.1.0
 */
import * as Clock from "effect/Clock"
import * as Effect from "effect/Effect"
import * as Option from "effect/Option"
import type { Offer } from "./Offer.ts"
import * as Challenge from "./wire/mpp/Challenge.ts"

/** A challenge is remembered for so long at most, in milliseconds: nothing that is signed for it can be taken any more. */
const memory = 3_600_000

/** So many are remembered at most, the oldest are forgotten first. */
const capacity = 10_000

interface Answered {
  readonly purchase: string
  readonly until: number
}

/** The challenge of a charge: a session's may be answered often. */
const keyOf = (origin: string, offer: Offer): Option.Option<string> =>
  offer.intent === "charge"
    ? Option.map(Challenge.fromOffer(offer), ({ id }) => `${origin}\n${id}`)
    : Option.none()

/**
 * Makes an empty memory of what is answered.
 *
 * @category constructors
 * @since 0.1.0
 */
export const make = Effect.sync(() => {
  const answered = new Map<string, Answered>()

  const makeRoom = (now: number) => {
    if (answered.size < capacity) return
    for (const [key, { until }] of answered) if (until <= now) answered.delete(key)
    for (const key of answered.keys()) {
      if (answered.size < capacity / 2) break
      answered.delete(key)
    }
  }

  return {
    /** Whether a purchase may answer the challenge of an offer: nobody else does from then on. */
    take: (origin: string, offer: Offer, purchase: string): Effect.Effect<boolean> =>
      Effect.map(Clock.currentTimeMillis, (now) => {
        const key = keyOf(origin, offer)
        if (Option.isNone(key)) return true
        const other = answered.get(key.value)
        if (other !== undefined && other.purchase !== purchase && other.until > now) return false
        makeRoom(now)
        answered.set(key.value, { purchase, until: Math.min(offer.expiresAt ?? Infinity, now + memory) })
        return true
      }),
    /** Nothing was signed for the challenge, or what was is void: somebody else may answer it. */
    free: (origin: string, offer: Offer, purchase: string): Effect.Effect<void> =>
      Effect.sync(() => {
        const key = keyOf(origin, offer)
        if (Option.isSome(key) && answered.get(key.value)?.purchase === purchase) answered.delete(key.value)
      })
  }
})
