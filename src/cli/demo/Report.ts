/**
 * What the demo measured: times by the clock, money by the ledgers of the agents, by the chain and by the session
 * authority. Nothing in it is written by hand.
 *
 * @since 0.1.0
 */
import * as Schema from "effect/Schema"
import * as Amount from "../../Amount.ts"
import * as Table from "../Table.ts"

const Usd = Amount.UsdFromString
const Millis = Schema.Finite

/**
 * Money of one agent: what its own ledger says, beside what moved according to those who moved it.
 *
 * @category models
 * @since 0.1.0
 */
export class Money extends Schema.Class<Money>("effect-mpp/cli/demo/Report/Money")({
  /** The ledger's settled payments on the chain. */
  ledgerChainUsd: Usd,
  /** The ledger's settled draws on sessions. */
  ledgerSessionUsd: Usd,
  /** What the ledger still holds for payments of open outcome. */
  heldUsd: Usd,
  /** What the budget counts as spent. */
  budgetUsd: Usd,
  /** Transfers of the token to the merchant, from the chain's logs. */
  chainUsd: Usd,
  /** Debits in the books of the session authority. */
  authorityUsd: Usd,
  transactions: Schema.Int
}) {
  get ledgerUsd(): bigint {
    return this.ledgerChainUsd + this.ledgerSessionUsd
  }

  get movedUsd(): bigint {
    return this.chainUsd + this.authorityUsd
  }

  /** To the micro-dollar: ledger, chain, authority and budget say the same, and nothing is open. */
  get exact(): boolean {
    return this.ledgerChainUsd === this.chainUsd && this.ledgerSessionUsd === this.authorityUsd &&
      this.budgetUsd === this.movedUsd && this.heldUsd === 0n
  }
}

/**
 * The money of several agents together.
 *
 * @category constructors
 * @since 0.1.0
 */
export const sum = (all: ReadonlyArray<Money>): Money => {
  const total = (one: (money: Money) => bigint) => all.reduce((sum, money) => sum + one(money), 0n)
  return new Money({
    ledgerChainUsd: total((money) => money.ledgerChainUsd),
    ledgerSessionUsd: total((money) => money.ledgerSessionUsd),
    heldUsd: total((money) => money.heldUsd),
    budgetUsd: total((money) => money.budgetUsd),
    chainUsd: total((money) => money.chainUsd),
    authorityUsd: total((money) => money.authorityUsd),
    transactions: all.reduce((sum, money) => sum + money.transactions, 0)
  })
}

/**
 * What has to be done once before the first request can be paid for.
 *
 * @category models
 * @since 0.1.0
 */
export class SetUp extends Schema.Class<SetUp>("effect-mpp/cli/demo/Report/SetUp")({
  sessions: Schema.Int,
  /** Time spent at the session endpoint. */
  millis: Millis,
  /** What was authorised ahead, and is back where it was not spent. */
  authorizedUsd: Usd
}) {}

/**
 * The same requests, paid for in one way.
 *
 * @category models
 * @since 0.1.0
 */
export class Workload extends Schema.Class<Workload>("effect-mpp/cli/demo/Report/Workload")({
  name: Schema.String,
  rail: Schema.String,
  requests: Schema.Int,
  p50Millis: Millis,
  p95Millis: Millis,
  totalMillis: Millis,
  /** HTTP requests to the merchant, those included that were answered 402. */
  roundTrips: Schema.Int,
  setUp: SetUp,
  money: Money
}) {}

/**
 * Something that a scene claims, and whether it is so.
 *
 * @category models
 * @since 0.1.0
 */
export const Check = Schema.Struct({ what: Schema.String, holds: Schema.Boolean })

/**
 * One fault: what was injected, what the agent did, and what it cost.
 *
 * @category models
 * @since 0.1.0
 */
export class Scene extends Schema.Class<Scene>("effect-mpp/cli/demo/Report/Scene")({
  name: Schema.String,
  injected: Schema.String,
  did: Schema.String,
  /** Requests that brought content. */
  delivered: Schema.Int,
  millis: Millis,
  money: Money,
  checks: Schema.Array(Check)
}) {
  get failed(): ReadonlyArray<string> {
    return [
      ...this.checks.flatMap(({ holds, what }) => holds ? [] : [what]),
      ...(this.money.exact ? [] : ["ledger, chain and authority agree"])
    ]
  }
}

/**
 * The whole demo.
 *
 * @category models
 * @since 0.1.0
 */
export class Report extends Schema.Class<Report>("effect-mpp/cli/demo/Report/Report")({
  network: Schema.String,
  blockSeconds: Schema.Finite,
  priceUsd: Usd,
  workloads: Schema.Array(Workload),
  scenes: Schema.Array(Scene),
  total: Money,
  /** What the merchant has, on the chain and at the authority. */
  incomeUsd: Usd,
  seconds: Schema.Finite
}) {
  /** What is not as it should be; empty if the demo succeeded. */
  get objections(): ReadonlyArray<string> {
    return [
      ...this.workloads.flatMap(({ money, name, requests }) => [
        ...(money.exact ? [] : [`${name}: not so: ledger, chain and authority agree`]),
        ...(money.movedUsd === BigInt(requests) * this.priceUsd ? [] : [`${name}: not so: every request paid for once`])
      ]),
      ...this.scenes.flatMap(({ failed, name }) => failed.map((what) => `${name}: not so: ${what}`)),
      ...(this.incomeUsd === this.total.movedUsd ? [] : ["not so: the merchant has what the agents paid"])
    ]
  }
}

// ---------------------------------------------------------------------------------------------------------------------
// Statistics
// ---------------------------------------------------------------------------------------------------------------------

/**
 * The smallest value that at least this share of all values does not exceed; nothing of nothing is 0.
 *
 * @category constructors
 * @since 0.1.0
 */
export const percentile = (values: ReadonlyArray<number>, share: number): number =>
  values.toSorted((a, b) => a - b)[Math.max(0, Math.ceil(share * values.length) - 1)] ?? 0

// ---------------------------------------------------------------------------------------------------------------------
// For people
// ---------------------------------------------------------------------------------------------------------------------

/**
 * @category formatting
 * @since 0.1.0
 */
export const dollars = (usd: bigint): string => `$${Amount.formatUsd(usd)}`

/**
 * @category formatting
 * @since 0.1.0
 */
export const duration = (millis: number): string =>
  millis >= 1000 ? `${(millis / 1000).toFixed(2)} s` : `${millis < 10 ? millis.toFixed(1) : Math.round(millis)} ms`

/**
 * @category formatting
 * @since 0.1.0
 */
export const plural = (count: number, noun: string): string => `${count} ${noun}${count === 1 ? "" : "s"}`

/**
 * @category formatting
 * @since 0.1.0
 */
export const times = (count: number): string => count === 1 ? "once" : `${count} times`

const moneyCells = (money: Money) => [
  String(money.transactions),
  dollars(money.ledgerUsd),
  dollars(money.chainUsd),
  dollars(money.authorityUsd)
]

const setUpCell = ({ authorizedUsd, millis, sessions }: SetUp) =>
  sessions === 0 ? "none" : `${plural(sessions, "session")} of ${dollars(authorizedUsd)}, ${duration(millis)}`

/** How the two ways compare, in one line. */
const comparison = ({ workloads }: Report): string => {
  const [perRequest, session] = workloads
  if (perRequest === undefined || session === undefined) return ""
  const ratio = (perRequest.totalMillis / session.totalMillis).toFixed(1)
  return `${plural(session.requests, "request")} took ${duration(perRequest.totalMillis)} one by one and ` +
    `${duration(session.totalMillis)} by session, set-up included and no network in between: ${ratio} times as fast, ` +
    `with ${plural(session.money.transactions, "transaction")} instead of ${perRequest.money.transactions}`
}

/**
 * The table at the end, and the line that compares.
 *
 * @category formatting
 * @since 0.1.0
 */
export const render = (report: Report): string => {
  const { scenes, total, workloads } = report
  const right = (title: string) => ({ title, align: "right" }) as const
  const rows = [
    ...workloads.map(({ money, name, p50Millis, p95Millis, requests, setUp }) => [
      name,
      String(requests),
      duration(p50Millis),
      duration(p95Millis),
      setUpCell(setUp),
      ...moneyCells(money)
    ]),
    ...scenes.map(({ delivered, money, name }) => [name, String(delivered), "", "", "", ...moneyCells(money)]),
    [
      "all together",
      String([...workloads.map(({ requests }) => requests), ...scenes.map(({ delivered }) => delivered)]
        .reduce((sum, one) => sum + one, 0)),
      "",
      "",
      "",
      ...moneyCells(total)
    ]
  ]
  const table = Table.render([
    `${dollars(report.priceUsd)} each`,
    right("requests"),
    right("p50"),
    right("p95"),
    "set-up",
    right("transactions"),
    right("ledger"),
    right("chain"),
    right("authority")
  ], rows)
  const sign = (same: boolean) => same ? "=" : "is not"
  return [
    table,
    "",
    comparison(report),
    `Spent according to the ledgers ${dollars(total.ledgerUsd)} ${sign(total.exact)} moved on the chain ` +
    `${dollars(total.chainUsd)} + moved by the authority ${dollars(total.authorityUsd)} ` +
    `${sign(report.incomeUsd === total.movedUsd)} what the merchant has, ${dollars(report.incomeUsd)}`
  ].join("\n")
}

/**
 * What a scene has to tell.
 *
 * @category formatting
 * @since 0.1.0
 */
export const sceneLines = ({ did, failed, injected, millis, money, name }: Scene): string =>
  [
    `${failed.length === 0 ? "ok" : "NOT OK"}  ${name} (${duration(millis)})`,
    `    injected: ${injected}`,
    `    the agent: ${did}`,
    `    it cost: ${dollars(money.ledgerUsd)}; ${dollars(money.chainUsd)} moved on the chain, ` +
    `${dollars(money.authorityUsd)} by the authority`,
    ...failed.map((what) => `    not so: ${what}`)
  ].join("\n")

const encode = Schema.encodeSync(Report)

/**
 * The document that `--json` prints.
 *
 * @category formatting
 * @since 0.1.0
 */
export const toJson = (report: Report) => ({
  ...encode(report),
  scenes: report.scenes.map((scene) => ({ ...encodeScene(scene), exact: scene.failed.length === 0 })),
  workloads: report.workloads.map((one) => ({ ...encodeWorkload(one), exact: one.money.exact })),
  exact: report.objections.length === 0
})

const encodeScene = Schema.encodeSync(Scene)
const encodeWorkload = Schema.encodeSync(Workload)
