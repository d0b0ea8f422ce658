/**
 * `mpp payments`: what was paid, what was got for it, and what is still open.
 *
 * @since 0.1.0
 */
import * as Command from "effect/cli/Command"
import * as Flag from "effect/cli/Flag"
import * as Effect from "effect/Effect"
import * as Option from "effect/Option"
import * as Stream from "effect/Stream"
import * as Amount from "../../Amount.ts"
import * as Asset from "../../Asset.ts"
import * as Ledger from "../../Ledger.ts"
import type * as Query from "../../ledger/Query.ts"
import type { Agents } from "../Agents.ts"
import * as Csv from "../Csv.ts"
import { Usage } from "../Exit.ts"
import * as Filters from "../Filters.ts"
import * as Moment from "../Moment.ts"
import * as Output from "../Output.ts"
import * as Pages from "../Pages.ts"
import * as Paid from "../Paid.ts"
import * as Records from "../Records.ts"
import * as Report from "../Report.ts"
import * as Table from "../Table.ts"
import * as Payment from "./Payment.ts"

const pageSize = 50

interface Input extends Filters.Filters {
  readonly csv: boolean
}

const row = (table: typeof Asset.Table.Service, one: Query.Paid): ReadonlyArray<string> => {
  const { purchase } = one
  const { held, spent } = Records.money(one)
  const paid = Option.getOrUndefined(Paid.of(table, one))
  return [
    Moment.format(purchase.createdAt),
    purchase.id,
    `${purchase.method} ${purchase.origin}${purchase.path}`,
    paid?.authorization.plan.rail ?? "",
    `$${Amount.formatUsd(spent)}`,
    `$${Amount.formatUsd(held)}`,
    paid?.authorization.state ?? "",
    purchase.delivery
  ]
}

/** What left the wallet without this ledger, in the time that is asked for. */
const foreigns = (input: Input) =>
  Filters.isOfAll(input)
    ? Stream.filter(Pages.foreigns, ({ at }) => Filters.isInTime(input, at))
    : Stream.empty

const foreignTable = (all: ReadonlyArray<Ledger.Foreign>): string =>
  [
    "Left the wallet without this ledger, by a copy of it or by another program, and counts as spent:",
    Table.render(
      [
        "paid (UTC)",
        "transaction",
        "network",
        "to",
        { title: "spent", align: "right" }
      ],
      all.map(({ at, network, payee, transaction, usd }) => [
        Moment.format(at),
        transaction,
        network,
        payee,
        `$${Amount.formatUsd(usd)}`
      ])
    )
  ].join("\n")

/** One object as a line of text: what is absent is empty. */
const csvLine = (summary: Output.JsonObject): string =>
  Csv.line(Records.columns.map((name) => {
    const value = summary[name]
    return value === undefined || value === null ? "" : String(value)
  }))

const nothing = (input: Input): string =>
  Filters.isNarrow(input)
    ? "No payment in this ledger is like that."
    : "Nothing was paid yet. What `mpp fetch` pays, and what programs pay that share this ledger, is listed here."

const list = Effect.fnUntraced(function*(input: Input) {
  const json = yield* Output.Json
  if (json && input.csv) return yield* new Usage({ message: "Choose --json or --csv: there is one document" })
  const table = yield* Asset.Table
  const ledger = yield* Ledger.Ledger
  const query = Filters.query(input)
  if (query.after !== undefined && (yield* ledger.purchases({ id: query.after })).length === 0) {
    return yield* new Usage({ message: "There is no payment of the id that --after names" })
  }
  if (input.csv) {
    const rows = Pages.purchases(query).pipe(
      Stream.map((one) => Records.summary(table, one)),
      Stream.concat(Stream.map(foreigns(input), (one) => Records.foreignSummary(table, one))),
      (all) => Option.match(input.limit, { onNone: () => all, onSome: (limit) => Stream.take(all, limit) })
    )
    return yield* Output.printLines(Stream.concat(Stream.make(Csv.line(Records.columns)), Stream.map(rows, csvLine)))
  }
  const limit = Option.getOrElse(input.limit, () => pageSize)
  const found = yield* ledger.purchases({ ...query, limit: limit + 1 })
  const page = found.slice(0, limit)
  const next = found.length > limit ? page.at(-1)?.purchase.id : undefined
  const others = yield* Stream.runCollect(Stream.take(foreigns(input), limit))
  if (json) {
    return yield* Output.printJson({
      payments: page.map((one) => Records.summary(table, one)),
      next: next ?? null,
      foreign: others.map(Records.foreign)
    })
  }
  if (page.length === 0 && others.length === 0) return yield* Output.print(nothing(input))
  const payments = Table.render(
    [
      "begun (UTC)",
      "payment",
      "for",
      "rail",
      { title: "spent", align: "right" },
      { title: "held", align: "right" },
      "state",
      "delivery"
    ],
    page.map((one) => row(table, one))
  )
  yield* Output.print([
    ...(page.length === 0 ? [] : [payments]),
    ...(others.length === 0 ? [] : [foreignTable(others)])
  ].join("\n\n"))
  if (next !== undefined) yield* Output.note(`there are older ones: --after ${next}`)
})

/**
 * The command, with the agents whose ledger it reads.
 *
 * @category commands
 * @since 0.1.0
 */
export const command = (agents: Agents) =>
  Command.make("payments", {
    ...Filters.flags,
    csv: Flag.Boolean("csv").pipe(
      Flag.withDescription("Print comma-separated values, for spreadsheets"),
      Flag.withDefault(false)
    )
  }, (input) => Report.withAgent(list(input), agents())).pipe(
    Command.withDescription(
      "List what was paid, the newest first, with what was got for it and what is still held, and what left the wallet " +
        "without this ledger"
    ),
    Command.withExamples([
      { command: "mpp payments --since 24h", description: "What was paid since yesterday" },
      { command: "mpp payments --state unknown --state rejected", description: "What may still be taken" },
      { command: "mpp payments --csv > payments.csv", description: "All of it, for a spreadsheet" }
    ]),
    Command.withSubcommands([Payment.show(agents), Payment.abandon(agents)])
  )
