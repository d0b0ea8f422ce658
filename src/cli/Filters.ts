/**
 * Which payments a command is about, as its flags say.
 *
 * @since 0.1.0
 */
import * as CliError from "effect/cli/CliError"
import * as Flag from "effect/cli/Flag"
import * as Effect from "effect/Effect"
import * as Option from "effect/Option"
import * as Ledger from "../Ledger.ts"
import type * as Query from "../ledger/Query.ts"
import * as Moment from "./Moment.ts"

/**
 * A flag that names an origin; of a longer URL its origin counts.
 *
 * @category flags
 * @since 0.1.0
 */
export const origin = Flag.String("origin").pipe(
  Flag.withMetavar("URL"),
  Flag.withDescription("Only this merchant: scheme, host and port"),
  Flag.mapEffect((text) => {
    const url = URL.parse(text)
    return url === null
      ? Effect.fail(
        new CliError.InvalidValue({
          kind: "flag",
          option: "origin",
          value: text.slice(0, 80),
          expected: "Expected an origin, such as https://api.example.com"
        })
      )
      : Effect.succeed(url.origin === "null" ? text : url.origin)
  }),
  Flag.optional
)

/**
 * The flags that choose payments.
 *
 * @category flags
 * @since 0.1.0
 */
export const flags = {
  origin,
  state: Flag.Literals("state", Ledger.State.literals).pipe(
    Flag.withDescription("Only with an authorisation in this state; may be repeated"),
    Flag.atLeast(0)
  ),
  rail: Flag.String("rail").pipe(
    Flag.withMetavar("NAME"),
    Flag.withDescription("Only on this rail, such as x402/exact"),
    Flag.optional
  ),
  agent: Flag.String("agent").pipe(
    Flag.withMetavar("NAME"),
    Flag.withDescription("Only of this agent"),
    Flag.optional
  ),
  delivery: Flag.Literals("delivery", Ledger.Delivery.literals).pipe(
    Flag.withDescription("Only those that came this far; may be repeated"),
    Flag.atLeast(0)
  ),
  since: Moment.flag("since", "Only those begun then or later"),
  until: Moment.flag("until", "Only those begun before"),
  limit: Flag.Int("limit").pipe(
    Flag.withMetavar("N"),
    Flag.withDescription("At most so many (default 50, with --csv all)"),
    Flag.filter((count) => count >= 1, () => "Expected a number, at least 1"),
    Flag.optional
  ),
  after: Flag.String("after").pipe(
    Flag.withMetavar("ID"),
    Flag.withDescription("Only those begun before this payment: the next page"),
    Flag.optional
  )
}

/**
 * What the flags say.
 *
 * @category models
 * @since 0.1.0
 */
export interface Filters {
  readonly origin: Option.Option<string>
  readonly state: ReadonlyArray<Ledger.State>
  readonly rail: Option.Option<string>
  readonly agent: Option.Option<string>
  readonly delivery: ReadonlyArray<Ledger.Delivery>
  readonly since: Option.Option<number>
  readonly until: Option.Option<number>
  readonly limit: Option.Option<number>
  readonly after: Option.Option<string>
}

const list = <A>(all: ReadonlyArray<A>): ReadonlyArray<A> | undefined => all.length === 0 ? undefined : all

/**
 * The question that the flags put to the ledger, but for the limit.
 *
 * @category constructors
 * @since 0.1.0
 */
export const query = (filters: Filters): Query.Purchases => ({
  origin: Option.getOrUndefined(filters.origin),
  state: list(filters.state),
  rail: Option.getOrUndefined(filters.rail),
  agent: Option.getOrUndefined(filters.agent),
  delivery: list(filters.delivery),
  since: Option.getOrUndefined(filters.since),
  until: Option.getOrUndefined(filters.until),
  after: Option.getOrUndefined(filters.after)
})

/**
 * Whether what left the wallet without this ledger belongs to what the flags ask for: nobody knows of what agent it was, for
 * what merchant, or what was got for it.
 *
 * @category predicates
 * @since 0.1.0
 */
export const isOfAll = (filters: Filters): boolean => {
  const { since: _, until: __, ...others } = query(filters)
  return Object.values(others).every((wanted) => wanted === undefined)
}

/**
 * Whether something happened in the time that the flags ask for.
 *
 * @category predicates
 * @since 0.1.0
 */
export const isInTime = ({ since, until }: Filters, at: number): boolean =>
  at >= Option.getOrElse(since, () => 0) && at < Option.getOrElse(until, () => Infinity)

/**
 * Whether the flags leave anything out.
 *
 * @category predicates
 * @since 0.1.0
 */
export const isNarrow = (filters: Filters): boolean =>
  Object.values(query(filters)).some((wanted) => wanted !== undefined)
