/**
 * Another rail without proof that the first took nothing, where the program accepts that both may be charged.
 *
 * @since 0.1.0
 */
import * as Effect from "effect/Effect"
import * as Option from "effect/Option"
import * as Ref from "effect/Ref"
import * as Amount from "./Amount.ts"
import { RetryPolicy } from "./RetryPolicy.ts"

const hourMillis = 60 * 60_000

/**
 * Makes the account of what may be lost. It answers whether a further `usd`, its fee included, may be, of a purchase that may
 * have lost `lostUsd` already; what it allows it counts.
 *
 * @category constructors
 * @since 0.1.0
 */
export const make = Effect.map(
  Ref.make<ReadonlyArray<{ readonly at: number; readonly usd: bigint }>>([]),
  (doubleSpends) =>
    Effect.fnUntraced(function*(usd: bigint, lostUsd: bigint, now: number) {
      const { fallback } = yield* RetryPolicy
      if (fallback === "proof") return false
      const once = Option.getOrElse(Amount.parseUsd(fallback.maxDoubleSpend), () => 0n)
      const hourly = Option.getOrElse(Amount.parseUsd(fallback.perHour), () => 0n)
      return yield* Ref.modify(doubleSpends, (known) => {
        const recent = known.filter(({ at }) => now - at < hourMillis)
        const sum = recent.reduce((total, one) => total + one.usd, 0n)
        return lostUsd + usd <= once && sum + usd <= hourly ? [true, [...recent, { at: now, usd }]] : [false, recent]
      })
    })
)
