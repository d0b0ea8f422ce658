/**
 * Whether this machine's clock can be believed: windows of the budget and the ends of authorisations are counted by it.
 *
 * A clock that has jumped against the time that really went by, or that differs from the server's, is in doubt, and then a
 * witness decides: the server's `Date` after a jump (a laptop slept), else the latest block of a chain. Without a witness
 * nothing new is authorised (rule `clock`); what was begun goes on.
 *
 * @since 0.1.0
 */
import * as Clock from "effect/Clock"
import * as Duration from "effect/Duration"
import * as Effect from "effect/Effect"
import * as Option from "effect/Option"
import * as Ref from "effect/Ref"
import { Chain, type Node } from "./Chain.ts"
import type { Answer } from "./Demand.ts"
import { PolicyDenied } from "./PaymentError.ts"

/**
 * By how much the clock may move against the time that really goes by.
 *
 * @category constants
 * @since 0.1.0
 */
export const maxJump: Duration.Duration = Duration.minutes(5)

/**
 * By how much the clock may differ from that of a witness.
 *
 * @category constants
 * @since 0.1.0
 */
export const maxSkew: Duration.Duration = Duration.minutes(2)

/** Nobody waits longer for a chain. */
const answersWithin = Duration.seconds(3)

/** What a chain has confirmed need not be asked for again so soon; servers whose clock is wrong are ordinary. */
const confirmedFor = Duration.minutes(10)

const httpDate = /^[A-Z][a-z]{2}, \d{2} [A-Z][a-z]{2} \d{4} \d{2}:\d{2}:\d{2} GMT$/

/**
 * The time that an answer was made at, and that has passed since, as its server tells it: milliseconds since the epoch.
 *
 * **Example** (An answer that a cache has kept for a minute)
 *
 * ```ts
 * import * as ClockGuard from "effect-mpp/ClockGuard"
 * import * as Option from "effect/Option"
 *
 * const headers = { date: "Thu, 01 Jan 1970 00:01:00 GMT", age: "60" }
 * Option.getOrThrow(ClockGuard.timeOf({ headers })) // => 120_000
 * ```
 *
 * @category getters
 * @since 0.1.0
 */
export const timeOf = ({ headers }: Pick<Answer, "headers">): Option.Option<number> => {
  const { age = "0", date = "" } = headers
  const millis = httpDate.test(date) ? Date.parse(date) : NaN
  return Number.isNaN(millis) || !/^\d{1,9}$/.test(age) ? Option.none() : Option.some(millis + Number(age) * 1_000)
}

interface Trusted {
  /** What the clock is ahead of the time that has really gone by, in milliseconds. */
  readonly offset: number
  /** When a chain has confirmed it, by the time that really goes by. */
  readonly confirmedAt: number
}

const differs = (one: number, other: number, tolerated: Duration.Duration): boolean =>
  Math.abs(one - other) > Duration.toMillis(tolerated)

const apart = (millis: number): string => {
  const seconds = Duration.seconds(Math.round(Math.abs(millis) / 1_000))
  return `${Duration.format(seconds)} ${millis > 0 ? "ahead of" : "behind"}`
}

/**
 * Makes the guard. The clock as it is now is trusted until something contradicts it.
 *
 * @category constructors
 * @since 0.1.0
 */
export const make = Effect.gen(function*() {
  const chain = yield* Chain
  const clocks = Effect.zipWith(
    Clock.currentTimeMillis,
    Clock.monotonicTimeNanos,
    (wall, nanos) => ({ wall, elapsed: Number(nanos / 1_000_000n) })
  )
  const start = yield* clocks
  const trusted = yield* Ref.make<Trusted>({ offset: start.wall - start.elapsed, confirmedAt: -Infinity })

  const agrees = (node: Node) =>
    Effect.zipWith(
      node.block("latest"),
      Clock.currentTimeMillis,
      ({ timestamp }, now) => !differs(Number(timestamp) * 1_000, now, maxSkew)
    ).pipe(
      Effect.timeoutOrElse({ duration: answersWithin, orElse: () => Effect.succeed(false) }),
      Effect.orElseSucceed(() => false)
    )

  /** Whether a chain confirms what the clock says. */
  const isConfirmed = Effect.suspend(() =>
    Effect.map(
      Effect.forEach(chain.networks.flatMap((network) => chain.nodes(network)), agrees, { concurrency: "unbounded" }),
      (all) => all.includes(true)
    )
  )

  const hasJumped = Effect.zipWith(
    clocks,
    Ref.get(trusted),
    ({ elapsed, wall }, { offset }) => differs(wall - elapsed, offset, maxJump)
  )

  /**
   * Fails if the clock is in doubt and no witness agrees with it; the server's answer, where there is one, is the first of
   * them.
   */
  const check = Effect.fnUntraced(function*(
    answer: Pick<Answer, "headers"> | undefined
  ): Effect.fn.Return<void, PolicyDenied> {
    const { elapsed, wall } = yield* clocks
    const { confirmedAt, offset: before } = yield* Ref.get(trusted)
    const offset = wall - elapsed
    const server = answer === undefined ? Option.none() : timeOf(answer)
    const isOff = Option.exists(server, (time) => differs(time, wall, maxSkew))
    if (!isOff) {
      if (!differs(offset, before, maxJump)) return
      if (Option.isSome(server)) return yield* Ref.set(trusted, { offset, confirmedAt })
    }
    const isRecent = elapsed - confirmedAt < Duration.toMillis(confirmedFor)
    if (isRecent && !differs(offset, before, maxSkew)) return
    if (yield* isConfirmed) return yield* Ref.set(trusted, { offset, confirmedAt: elapsed })
    const witness = chain.networks.length === 0
      ? "no chain is configured that could tell who is right (MPP_RPC_<chainId>)"
      : "no chain confirms it"
    const clock = Option.match(Option.filter(server, () => isOff), {
      onNone: () => `is ${apart(offset - before)} where it should be by the time that went by`,
      onSome: (time) => `is ${apart(wall - time)} the server's`
    })
    return yield* new PolicyDenied({
      rule: "clock",
      detail: `the clock of this machine ${clock}, and ${witness}. Nothing new is signed until it is right again${
        isOff ? "" : ", or the program is started anew by a clock that is"
      }`
    })
  })

  return {
    /** Whether the clock has moved against the time that went by, and no witness has agreed with it since. */
    hasJumped,
    check
  }
})
