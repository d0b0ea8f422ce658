/**
 * What the budget allows, and how much of it is left.
 *
 * @since 0.1.0
 */
import * as Duration from "effect/Duration"
import * as Effect from "effect/Effect"
import * as Amount from "../Amount.ts"
import * as Budget from "../Budget.ts"
import * as Ledger from "../Ledger.ts"
import * as Rails from "../Rails.ts"
import * as Environment from "./Environment.ts"
import type { JsonObject } from "./Output.ts"
import * as Table from "./Table.ts"

/**
 * One limit, and what stands against it. Amounts are micro-dollars, under the scope `count` numbers of requests.
 *
 * @category models
 * @since 0.1.0
 */
export interface Row {
  readonly scope: Budget.Limit["scope"]
  /** Whose limit it is: an agent's name, a wallet's address, an origin. */
  readonly of: string
  readonly limit: bigint
  /** Absent where the limit holds for each request or session by itself. */
  readonly windowMillis: number | undefined
  readonly spent: bigint
  readonly exposed: bigint
}

/**
 * What may still be spent under a limit.
 *
 * @category getters
 * @since 0.1.0
 */
export const remaining = (row: Pick<Row, "limit" | "spent" | "exposed">): bigint => {
  const left = row.limit - row.spent - row.exposed
  return left < 0n ? 0n : left
}

const nobody = "none"

/**
 * Every limit of the budget for one origin, or for none in particular: the agent's window first.
 *
 * @category constructors
 * @since 0.1.0
 */
export const read = Effect.fnUntraced(function*(origin?: string) {
  const agent = yield* Environment.agentId
  const budget = yield* Budget.Budget
  const ledger = yield* Ledger.Ledger
  const rails = yield* Rails.Rails
  const payers = new Set((yield* rails.all).map(({ payer }) => payer))
  const rows = new Map<string, Row>()
  for (const payer of payers.size === 0 ? [nobody] : payers) {
    for (const limit of budget.limits({ agent, origin: origin ?? "", payer })) {
      if (limit.scope === "origin" && origin === undefined) continue
      if (limit.scope === "wallet" && payer === nobody) continue
      const { count, exposed, spent } = yield* ledger.standing(limit.counter, limit.windowMillis)
      rows.set(`${limit.scope} ${limit.counter}`, {
        scope: limit.scope,
        of: limit.scope === "wallet" ? payer : limit.scope === "origin" ? origin ?? "" : agent,
        limit: limit.limit,
        windowMillis: limit.windowMillis,
        spent: limit.scope === "count" ? BigInt(count) : spent,
        exposed: limit.scope === "count" ? 0n : exposed
      })
    }
  }
  const each = (scope: "request" | "session", limit: bigint): Row => ({
    scope,
    of: `each ${scope}`,
    limit,
    windowMillis: undefined,
    spent: 0n,
    exposed: 0n
  })
  return [...rows.values(), each("request", budget.ceiling), each("session", budget.plan.maxDeposit)]
})

/**
 * The agent's window alone: what is printed beside every result.
 *
 * @category constructors
 * @since 0.1.0
 */
export const readAgent = Effect.map(read(), (rows) => rows.find(({ scope }) => scope === "agent")!)

const amount = (scope: Row["scope"], figure: bigint) => scope === "count" ? figure.toString() : Amount.formatUsd(figure)

/**
 * The figures of a limit, as decimal US dollars.
 *
 * @category formatting
 * @since 0.1.0
 */
export const toJson = (row: Row): JsonObject => ({
  limit: amount(row.scope, row.limit),
  spent: amount(row.scope, row.spent),
  exposed: amount(row.scope, row.exposed),
  remaining: amount(row.scope, remaining(row))
})

const windowOf = ({ windowMillis }: Row): string =>
  windowMillis === undefined ? "" : Duration.format(Duration.millis(windowMillis))

/**
 * A limit with its figures, its scope and its window.
 *
 * @category formatting
 * @since 0.1.0
 */
export const toJsonScoped = (row: Row): JsonObject => ({
  scope: row.scope,
  of: row.of,
  windowSeconds: row.windowMillis === undefined ? null : row.windowMillis / 1000,
  ...toJson(row)
})

const barWidth = 24

/**
 * A limit as a bar: `#` is spent, `=` is held, `.` is left. What is more than nothing has a sign of its own, however little
 * it is; of a limit that is exceeded the bar is full.
 *
 * @category formatting
 * @since 0.1.0
 */
export const toBar = (row: Pick<Row, "limit" | "spent" | "exposed">): string => {
  const signs = (figure: bigint) =>
    figure <= 0n ? 0 : row.limit <= 0n ? barWidth : Math.max(1, Number((figure * BigInt(barWidth)) / row.limit))
  const left = remaining(row) > 0n ? 1 : 0
  const spent = Math.min(signs(row.spent), barWidth - left - (row.exposed > 0n ? 1 : 0))
  const exposed = Math.min(signs(row.exposed), barWidth - left - spent)
  return `[${"#".repeat(spent)}${"=".repeat(exposed)}${".".repeat(barWidth - spent - exposed)}]`
}

/**
 * The limits as a table, with a bar for each of them if that is wished.
 *
 * @category formatting
 * @since 0.1.0
 */
export const toTable = (rows: ReadonlyArray<Row>, options: { readonly bars?: boolean } = {}): string => {
  const dollars = (row: Row, figure: bigint) =>
    row.scope === "count" ? figure.toString() : `$${Amount.formatUsd(figure)}`
  return Table.render(
    [
      "scope",
      "of",
      "window",
      { title: "limit", align: "right" },
      { title: "spent", align: "right" },
      { title: "exposed", align: "right" },
      { title: "remaining", align: "right" },
      ...(options.bars === true ? ["# spent, = held, . left"] : [])
    ],
    rows.map((row) => [
      row.scope,
      row.of,
      windowOf(row),
      dollars(row, row.limit),
      ...(row.windowMillis === undefined
        ? ["", "", ""]
        : [dollars(row, row.spent), dollars(row, row.exposed), dollars(row, remaining(row))]),
      ...(options.bars === true && row.windowMillis !== undefined ? [toBar(row)] : [])
    ])
  )
}
