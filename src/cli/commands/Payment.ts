/**
 * `mpp payments show` and `mpp payments abandon`: one payment.
 *
 * @since 0.1.0
 */
import * as Argument from "effect/cli/Argument"
import * as Command from "effect/cli/Command"
import * as Flag from "effect/cli/Flag"
import * as Prompt from "effect/cli/Prompt"
import * as TerminalCapabilities from "effect/cli/TerminalCapabilities"
import * as Effect from "effect/Effect"
import * as Amount from "../../Amount.ts"
import * as Ledger from "../../Ledger.ts"
import type * as Query from "../../ledger/Query.ts"
import type { Evidence } from "../../Rails.ts"
import type { Agents } from "../Agents.ts"
import { Refused, Usage } from "../Exit.ts"
import * as Moment from "../Moment.ts"
import * as Output from "../Output.ts"
import * as Records from "../Records.ts"
import * as Report from "../Report.ts"
import * as Table from "../Table.ts"

const id = Argument.String("id").pipe(Argument.withDescription("The payment, as `mpp payments` lists it"))

const find = Effect.fnUntraced(function*(id: string) {
  const ledger = yield* Ledger.Ledger
  const [found] = yield* ledger.purchases({ id })
  return found ?? (yield* new Usage({ message: "There is no payment of this id in the ledger" }))
})

const dollars = (usd: bigint): string => `$${Amount.formatUsd(usd)}`

// ---------------------------------------------------------------------------------------------------------------------
// Show
// ---------------------------------------------------------------------------------------------------------------------

const evidenceLine = ({ detail, mismatch, rank, reference, what }: Evidence) =>
  [
    rank,
    [
      what,
      ...(reference === undefined ? [] : [reference]),
      ...(mismatch === true ? ["(does not fit what was signed)"] : []),
      ...(detail === undefined ? [] : [JSON.stringify(detail)])
    ].join(" ")
  ] as const

const authorizationText = (one: Ledger.Authorization): string => {
  const { plan } = one
  const evidence = one.evidence.length === 0 ? "none yet" : ""
  return `Authorisation ${one.id}\n` + Table.indent([
    Table.list([
      ["over", `${plan.rail}${plan.network === "" ? "" : ` on ${plan.network}`}`],
      ["to", plan.payee],
      ["from", plan.payer],
      ["at most", `${plan.units} units of ${plan.asset}`],
      ["state", `${one.state}, since ${Moment.format(one.updatedAt)}`],
      ["spent", dollars(one.spentUsd)],
      ["held", dollars(one.exposedUsd)],
      ...(one.session === undefined ? [] : [["session", one.session] as const]),
      ...(one.broadcast === undefined
        ? []
        : [["broadcast", `${one.broadcast.step} ${one.broadcast.transaction}`] as const]),
      ...(plan.spendableUntil === undefined ? [] : [["ends", Moment.format(plan.spendableUntil)] as const]),
      ["evidence", evidence]
    ]),
    ...(evidence === "" ? [Table.indent(Table.list(one.evidence.map(evidenceLine)))] : [])
  ].join("\n"))
}

const text = ({ authorizations, purchase }: Query.Paid): string =>
  [
    `Payment ${purchase.id}\n` + Table.indent(Table.list([
      ["for", `${purchase.method} ${purchase.origin}${purchase.path}`],
      ["agent", purchase.agent],
      ["begun", `${Moment.format(purchase.createdAt)} UTC`],
      ["approved", `${dollars(purchase.approvedUsd)}${purchase.doubleSpend ? ", a double spend included" : ""}`],
      ["chosen", purchase.choice],
      ["delivery", purchase.delivery],
      ["resumed", purchase.resumes === 1 ? "once" : `${purchase.resumes} times`]
    ])),
    ...authorizations.map(authorizationText)
  ].join("\n\n")

const showNow = Effect.fnUntraced(function*(input: { readonly id: string }) {
  const found = yield* find(input.id)
  if (yield* Output.Json) return yield* Output.printJson({ payment: Records.purchase(found) })
  yield* Output.print(text(found))
})

/**
 * Shows a payment with all of its evidence.
 *
 * @category commands
 * @since 0.1.0
 */
export const show = (agents: Agents) =>
  Command.make("show", { id }, (input) => Report.withAgent(showNow(input), agents())).pipe(
    Command.withDescription("Show one payment with all that was authorised for it, and all evidence")
  )

// ---------------------------------------------------------------------------------------------------------------------
// Abandon
// ---------------------------------------------------------------------------------------------------------------------

/** What it means for the money. */
const consequence = (paid: Query.Paid): string => {
  const { held, spent } = Records.money(paid)
  return "The next equal request will be a new payment." +
    (spent > 0n ? ` ${dollars(spent)} were spent for this one.` : "") +
    (held > 0n ? ` ${dollars(held)} stay held until it is known what became of them: they may still be taken.` : "")
}

const confirmed = Effect.fnUntraced(function*(paid: Query.Paid) {
  const { canPrompt } = yield* TerminalCapabilities.TerminalCapabilities
  if (!canPrompt || (yield* Output.Json)) {
    return yield* new Usage({ message: `${consequence(paid)} Say --yes if that is what you want` })
  }
  yield* Output.note(consequence(paid))
  const sure = yield* Effect.orElseSucceed(
    Prompt.run(Prompt.Confirm({ message: `Abandon ${paid.purchase.id}?` })),
    () => false
  )
  if (!sure) return yield* new Refused({ message: "Nothing was abandoned" })
})

const abandonNow = Effect.fnUntraced(function*(input: { readonly id: string; readonly yes: boolean }) {
  const ledger = yield* Ledger.Ledger
  // What a process has left behind that is no more is nobody's work any longer.
  yield* ledger.orphans
  const found = yield* find(input.id)
  const { delivery } = found.purchase
  switch (delivery) {
    case "open":
    case "delivering":
      return yield* new Refused({ message: "Another process is at work on this payment, and it is not taken from it" })
    case "delivered":
    case "void":
    case "abandoned":
      return yield* new Refused({ message: `There is nothing to abandon: this payment is ${delivery}` })
    case "undelivered":
    case "broken":
  }
  if (!input.yes) yield* confirmed(found)
  yield* ledger.delivered(found.purchase.id, "abandoned")
  const after = yield* find(input.id)
  if (yield* Output.Json) return yield* Output.printJson({ payment: Records.purchase(after) })
  yield* Output.print(`Abandoned ${after.purchase.id}. ${consequence(after)}`)
})

/**
 * Gives up a payment that ended without content.
 *
 * @category commands
 * @since 0.1.0
 */
export const abandon = (agents: Agents) =>
  Command.make("abandon", {
    id,
    yes: Flag.Boolean("yes").pipe(
      Flag.withAlias("y"),
      Flag.withDescription("Do not ask; needed where there is no terminal"),
      Flag.withDefault(false)
    )
  }, (input) => Report.withAgent(abandonNow(input), agents())).pipe(
    Command.withDescription(
      "Give up a payment that ended without content, so that the next equal request is a new one. What is held stays held " +
        "until it is known what became of it"
    )
  )
