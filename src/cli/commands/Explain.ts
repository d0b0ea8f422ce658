/**
 * `mpp explain`: which offer would be paid and why, why not the others, and which limits apply.
 *
 * @since 0.1.0
 */
import * as Command from "effect/cli/Command"
import * as Effect from "effect/Effect"
import * as Option from "effect/Option"
import type { Agents } from "../Agents.ts"
import * as Asked from "../Asked.ts"
import * as Output from "../Output.ts"
import * as Quoted from "../Quoted.ts"
import * as Report from "../Report.ts"
import * as Standing from "../Standing.ts"
import * as Table from "../Table.ts"

const isPayable = ({ candidate }: Quoted.Quotation) => Option.isSome(candidate)

const chosenText = (chosen: Quoted.Quotation): string =>
  "Would be paid:\n" + Table.indent(Table.list([
    ["offer", `${Quoted.what(chosen)}${chosen.offer.network === "" ? "" : ` on ${chosen.offer.network}`}`],
    ["price", `${Quoted.price(chosen)} (${chosen.offer.units} units)`],
    ...(chosen.offer.alsoPays === undefined ? [["payee", chosen.offer.payee || "not named"] as const] : []),
    ...Quoted.shares(chosen).map(([payee, amount], at) =>
      [at === 0 ? "payee" : "a part to", `${payee}: ${amount}`] as const
    ),
    ["over", Option.match(chosen.candidate, { onNone: () => "", onSome: ({ rail }) => rail.name })],
    ["because", chosen.why]
  ]))

const section = (title: string, table: string) => `${title}\n${Table.indent(table)}`

const run = Effect.fnUntraced(function*(input: Asked.Asked) {
  const quoted = yield* Quoted.ask(input)
  const limits = yield* Standing.read(input.url.origin)
  const payable = Option.isNone(quoted.failure) ? quoted.offers.filter(isPayable) : []
  const others = quoted.offers.filter((quotation) => !payable.includes(quotation))
  const [chosen, ...next] = payable
  if (yield* Output.Json) {
    return yield* Output.printJson({
      method: quoted.method,
      url: quoted.url,
      status: quoted.status,
      free: quoted.free,
      chosen: chosen === undefined ? null : Quoted.offerJson(chosen),
      next: next.map(Quoted.offerJson),
      refused: [
        ...others.map(Quoted.offerJson),
        ...quoted.unread.map(({ what, why }) => ({ what: Table.clean(what), why: Table.clean(why) }))
      ],
      reason: Quoted.failureJson(quoted),
      warnings: quoted.warnings,
      limits: limits.map(Standing.toJsonScoped),
      budget: Standing.toJson(yield* Standing.readAgent)
    })
  }
  const because = (rows: ReadonlyArray<Quoted.Quotation>) =>
    Table.list(rows.map((row) => [`${Quoted.what(row)} ${row.offer.network} ${Quoted.price(row)}`, row.why]))
  yield* Output.print([
    Quoted.headline(quoted),
    ...(chosen === undefined ? [] : [chosenText(chosen)]),
    ...(next.length === 0 ? [] : [section("Next, if that is proven to have taken nothing:", because(next))]),
    ...(others.length + quoted.unread.length === 0 ? [] : [
      section(
        "Not to be paid:",
        [because(others), Table.list(quoted.unread.map(({ what, why }) => [what, why]))].filter((it) => it !== "").join(
          "\n"
        )
      )
    ]),
    ...(quoted.warnings.length === 0 ? [] : [Quoted.warningLines(quoted)]),
    ...Option.toArray(Option.map(quoted.failure, ({ message }) => message)),
    section("Limits:", Standing.toTable(limits))
  ].join("\n\n"))
})

/**
 * The command, with the agents that it asks.
 *
 * @category commands
 * @since 0.1.0
 */
export const command = (agents: Agents) =>
  Command.make("explain", Asked.flags, (input) => Report.withAgent(run(input), agents({ asks: true }))).pipe(
    Command.withDescription("Ask once without paying, and explain which offer would be paid, and why"),
    Command.withExamples([
      { command: "mpp explain https://api.example.com/data --expect 25", description: "Would a session be opened" }
    ])
  )
