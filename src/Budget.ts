/**
 * How much may be spent: plans and scopes, as limits. A budget holds no state; what was spent and what is held stands in
 * the ledger, which checks the limits in the same step in which it takes a hold.
 *
 * All amounts are micro-dollars unless they are written as decimal US dollars.
 *
 * @since 0.1.0
 */
import * as Config from "effect/Config"
import * as Context from "effect/Context"
import * as Duration from "effect/Duration"
import * as Layer from "effect/Layer"
import * as Option from "effect/Option"
import * as Schema from "effect/Schema"
import * as Amount from "./Amount.ts"
import type { BudgetScope } from "./PaymentError.ts"

// ---------------------------------------------------------------------------------------------------------------------
// Models
// ---------------------------------------------------------------------------------------------------------------------

/**
 * What an agent may spend, and for how long that lasts.
 *
 * @category models
 * @since 0.1.0
 */
export interface Plan {
  /** Micro-dollars within one window. */
  readonly limit: bigint
  readonly window: Duration.Duration
  /** The most that one request may cost; never above the limit. */
  readonly maxPrice: bigint
  /** The most that one session may be authorised for. */
  readonly maxDeposit: bigint
  /** The most that the wallet may spend in 24 hours, whatever its agents are called. */
  readonly perDay: bigint
  /** The most for one origin within one window, where there is such a limit. */
  readonly perOrigin: Option.Option<bigint>
  /** The most paid requests within one window, where there is such a limit. */
  readonly maxRequests: Option.Option<number>
}

/**
 * A limit to be checked while a hold is taken: what is spent in the counter's window, exposed in it, and now requested
 * must not be more.
 *
 * @category models
 * @since 0.1.0
 */
export interface Limit {
  readonly scope: typeof BudgetScope.Type
  readonly counter: string
  /** Micro-dollars; for the scope `count` a number of purchases. */
  readonly limit: bigint
  readonly windowMillis: number
}

/**
 * Who pays whom.
 *
 * @category models
 * @since 0.1.0
 */
export interface Who {
  readonly agent: string
  /** Scheme, host and port of the merchant. */
  readonly origin: string
  /** The wallet's address, or the session endpoint's account. */
  readonly payer: string
}

/**
 * What a new session is sized by.
 *
 * @category models
 * @since 0.1.0
 */
export interface SessionNeed {
  /** The price of one request. */
  readonly price: bigint
  /** How many requests the program expects to make. */
  readonly expected: number
  /** What remains of the budget. */
  readonly remaining: bigint
}

// ---------------------------------------------------------------------------------------------------------------------
// Service
// ---------------------------------------------------------------------------------------------------------------------

/**
 * The budget in force.
 *
 * @category services
 * @since 0.1.0
 */
export class Budget extends Context.Service<Budget, {
  readonly plan: Plan
  /** The most that one request may cost, in micro-dollars. */
  readonly ceiling: bigint
  /** The limits that a hold must fit into; all of them. */
  readonly limits: (who: Who) => ReadonlyArray<Limit>
  /** The counters that an authorisation counts in, whether they are limited today or not. */
  readonly counters: (who: Who) => ReadonlyArray<string>
  /**
   * The limit to authorise for a new session: the least of the deposit ceiling, twice what the expected requests cost, and
   * half of what remains; but at least one price. None where that one price is too much.
   */
  readonly sessionLimit: (need: SessionNeed) => Option.Option<bigint>
}>()("effect-mpp/Budget") {}

// ---------------------------------------------------------------------------------------------------------------------
// Plans
// ---------------------------------------------------------------------------------------------------------------------

/**
 * The ceiling for one request unless a plan or `MPP_MAX_PRICE` says otherwise: $0.05.
 *
 * @category constants
 * @since 0.1.0
 */
export const defaultMaxPrice = 50_000n

/**
 * An amount of money in a plan: micro-dollars as a bigint, or US dollars as a decimal. Text that is no amount counts as
 * nothing, so that a mistake forbids payments and never allows them.
 *
 * @category models
 * @since 0.1.0
 */
export type Usd = bigint | string

const toUsd = (amount: Usd): bigint => {
  const usd = typeof amount === "bigint" ? amount : Option.getOrElse(Amount.parseUsd(amount), () => 0n)
  return usd < 0n ? 0n : usd
}

const least = (first: bigint, ...others: ReadonlyArray<bigint>): bigint =>
  others.reduce((least, one) => one < least ? one : least, first)

/**
 * Makes a plan.
 *
 * **Details**
 *
 * What is left out has a default, because none of these ceilings is ever absent: $0.05 for one request, half of the limit
 * for one session, five times the limit for a wallet and a day. `perOrigin` and `maxRequests` are absent by default.
 *
 * **Example** (Ten dollars a day, ten cents at most for one request)
 *
 * ```ts
 * import * as Budget from "effect-mpp/Budget"
 *
 * const plan = Budget.make({ limit: "10", window: "24 hours", maxPrice: "0.10", perOrigin: "2.50" })
 * plan.maxDeposit // => 5_000_000n
 * plan.maxPrice // => 100_000n
 * ```
 *
 * @category constructors
 * @since 0.1.0
 */
export const make = (options: {
  readonly limit: Usd
  readonly window: Duration.Input
  readonly maxPrice?: Usd | undefined
  readonly maxDeposit?: Usd | undefined
  readonly perDay?: Usd | undefined
  readonly perOrigin?: Usd | undefined
  readonly maxRequests?: number | undefined
}): Plan => {
  const limit = toUsd(options.limit)
  return {
    limit,
    window: Duration.fromInputUnsafe(options.window),
    maxPrice: least(limit, toUsd(options.maxPrice ?? defaultMaxPrice)),
    maxDeposit: toUsd(options.maxDeposit ?? limit / 2n),
    perDay: toUsd(options.perDay ?? 5n * limit),
    perOrigin: Option.map(Option.fromUndefinedOr(options.perOrigin), toUsd),
    maxRequests: Option.fromUndefinedOr(options.maxRequests)
  }
}

/**
 * $0.05 in 5 minutes: one fetch.
 *
 * @category plans
 * @since 0.1.0
 */
export const singleFetch: Plan = make({ limit: "0.05", window: "5 minutes" })

/**
 * $0.25 in 15 minutes: 5 to 25 fetches.
 *
 * @category plans
 * @since 0.1.0
 */
export const shortTask: Plan = make({ limit: "0.25", window: "15 minutes" })

/**
 * $1.00 in an hour: up to a few hundred fetches.
 *
 * @category plans
 * @since 0.1.0
 */
export const research: Plan = make({ limit: "1.00", window: "1 hour" })

/**
 * $5.00 in 8 hours: a thousand queries and more.
 *
 * @category plans
 * @since 0.1.0
 */
export const longRunning: Plan = make({ limit: "5.00", window: "8 hours" })

const named = new Map(
  Object.entries({ singleFetch, shortTask, research, longRunning }).map(([name, plan]) => [name.toLowerCase(), plan])
)

const units = new Map([["s", 1_000], ["m", 60_000], ["h", 3_600_000], ["d", 86_400_000]])

const dayMillis = 86_400_000

/**
 * Reads a plan's name, or US dollars with an optional window in `s`, `m`, `h` or `d`; the window is 24 hours if none is
 * given.
 *
 * **Example** (What `MPP_BUDGET` may hold)
 *
 * ```ts
 * import * as Budget from "effect-mpp/Budget"
 * import * as Duration from "effect/Duration"
 * import * as Option from "effect/Option"
 *
 * const plan = Option.getOrThrow(Budget.parse("2.50/30m"))
 * plan.limit // => 2_500_000n
 * Duration.toMinutes(plan.window) // => 30
 * Option.getOrThrow(Budget.parse("research")).limit // => 1_000_000n
 * Budget.parse("a lot")._tag // => "None"
 * ```
 *
 * @category parsing
 * @since 0.1.0
 */
export const parse = (text: string): Option.Option<Plan> => {
  const plan = named.get(text.trim().toLowerCase())
  if (plan !== undefined) return Option.some(plan)
  const match = /^(?<limit>\$?\d{1,12}(?:\.\d{1,6})?)(?:\/(?<count>[1-9]\d{0,5})(?<unit>[smhd]))?$/.exec(text.trim())
  if (match?.groups === undefined) return Option.none()
  const { count, limit, unit } = match.groups
  const windowMillis = unit === undefined ? dayMillis : Number(count) * (units.get(unit) ?? dayMillis)
  return Option.some(make({ limit: limit ?? "", window: windowMillis }))
}

// ---------------------------------------------------------------------------------------------------------------------
// Constructors and layers
// ---------------------------------------------------------------------------------------------------------------------

/** Origins hold no spaces, so that no name of an agent can reach into another agent's counter. */
const countersOf = ({ agent, origin, payer }: Who) => ({
  agent: `agent:${agent}`,
  wallet: `wallet:${payer.toLowerCase()}`,
  origin: `origin:${origin} ${agent}`
})

/**
 * The budget of a plan.
 *
 * @category constructors
 * @since 0.1.0
 */
export const fromPlan = (plan: Plan): Budget["Service"] => {
  const windowMillis = Duration.toMillis(plan.window)
  return {
    plan,
    ceiling: plan.maxPrice,
    counters: (who) => Object.values(countersOf(who)),
    limits: (who) => {
      const { agent, origin, wallet } = countersOf(who)
      return [
        { scope: "agent", counter: agent, limit: plan.limit, windowMillis },
        { scope: "wallet", counter: wallet, limit: plan.perDay, windowMillis: dayMillis },
        ...Option.toArray(plan.perOrigin).map((limit): Limit => ({
          scope: "origin",
          counter: origin,
          limit,
          windowMillis
        })),
        ...Option.toArray(plan.maxRequests).map((count): Limit => ({
          scope: "count",
          counter: agent,
          limit: count >= 0 ? BigInt(Math.min(Number.MAX_SAFE_INTEGER, Math.floor(count))) : 0n,
          windowMillis
        }))
      ]
    },
    sessionLimit: ({ expected, price, remaining }) => {
      if (price > plan.maxDeposit || price > remaining) return Option.none()
      const requests = expected >= 1 ? BigInt(Math.min(Number.MAX_SAFE_INTEGER, Math.floor(expected))) : 1n
      const limit = least(plan.maxDeposit, 2n * price * requests, remaining / 2n)
      return Option.some(limit < price ? price : limit)
    }
  }
}

/**
 * A limit, and what stands against it.
 *
 * @category models
 * @since 0.1.0
 */
export interface Standing {
  readonly limit: Pick<Limit, "scope" | "limit">
  readonly spent: bigint
  readonly exposed: bigint
}

const leftBy = ({ exposed, limit, spent }: Standing): bigint => limit.limit - spent - exposed

/**
 * Of several limits the one that leaves least. Counts of requests say nothing of money and are passed over.
 *
 * @category getters
 * @since 0.1.0
 */
export const tightest = (standings: ReadonlyArray<Standing>): Option.Option<Standing> =>
  standings.filter(({ limit }) => limit.scope !== "count").reduce(
    (tightest, one) => Option.exists(tightest, (it) => leftBy(it) <= leftBy(one)) ? tightest : Option.some(one),
    Option.none<Standing>()
  )

/**
 * What remains under several limits: the least that any of them leaves, never below nothing.
 *
 * @category getters
 * @since 0.1.0
 */
export const remaining = (standings: ReadonlyArray<Standing>): bigint => {
  const left = Option.match(tightest(standings), { onNone: () => 0n, onSome: leftBy })
  return left < 0n ? 0n : left
}

/**
 * The plan of `MPP_BUDGET` (default {@link research}), with the ceiling for one request of `MPP_MAX_PRICE`.
 *
 * @category config
 * @since 0.1.0
 */
export const config: Config.Config<Plan> = Config.all({
  plan: Config.schema(
    Schema.String.check(
      Schema.makeFilter<string>((text) =>
        Option.isSome(parse(text)) || "Expected the name of a plan, or US dollars with an optional window: 2.50/24h"
      )
    ),
    "MPP_BUDGET"
  ).pipe(Config.map(parse), Config.withDefault(Option.some(research))),
  maxPrice: Config.option(Config.schema(Amount.UsdFromString, "MPP_MAX_PRICE"))
}).pipe(
  Config.map(({ maxPrice, plan: parsed }) => {
    const plan = Option.getOrElse(parsed, () => research)
    return Option.isNone(maxPrice) ? plan : { ...plan, maxPrice: least(plan.limit, maxPrice.value) }
  })
)

/**
 * @category layers
 * @since 0.1.0
 */
export const layer = (plan: Plan): Layer.Layer<Budget> => Layer.succeed(Budget, fromPlan(plan))

/**
 * The budget of `MPP_BUDGET` and `MPP_MAX_PRICE`.
 *
 * @category layers
 * @since 0.1.0
 */
export const layerConfig: Layer.Layer<Budget, Config.ConfigError> = Layer.effect(
  Budget,
  Config.map(config, fromPlan)
)
