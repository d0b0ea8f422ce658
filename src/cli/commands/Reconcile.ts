/**
 * `mpp reconcile`: finds out what became of what is open.
 *
 * @since 0.1.0
 */
import * as Command from "effect/cli/Command"
import * as Flag from "effect/cli/Flag"
import * as Clock from "effect/Clock"
import * as Effect from "effect/Effect"
import * as Option from "effect/Option"
import * as Ref from "effect/Ref"
import * as Schedule from "effect/Schedule"
import * as Amount from "../../Amount.ts"
import * as Ledger from "../../Ledger.ts"
import * as Rails from "../../Rails.ts"
import * as Reconciler from "../../Reconciler.ts"
import type { Agents } from "../Agents.ts"
import { Exited, Interrupted, status, Usage } from "../Exit.ts"
import * as Moment from "../Moment.ts"
import * as Output from "../Output.ts"
import * as Records from "../Records.ts"
import * as Report from "../Report.ts"
import * as Table from "../Table.ts"

const dollars = (usd: bigint): string => `$${Amount.formatUsd(usd)}`

const openStates: ReadonlySet<Ledger.State> = new Set(["signed", "unknown", "rejected"])

interface Asked {
  readonly before: Ledger.Authorization
  readonly after: Ledger.Authorization
}

/** What one pass has found. */
interface Found {
  readonly report: Reconciler.Report
  readonly changed: ReadonlyArray<Asked>
  /** What nobody knows yet. */
  readonly open: ReadonlyArray<Ledger.Authorization>
}

const nameOf = ({ id, purchase }: Ledger.Authorization): string => purchase ?? id

const rankOf = ({ evidence }: Ledger.Authorization): string => evidence.at(-1)?.rank ?? "none"

const isChanged = ({ after, before }: Asked): boolean =>
  after.state !== before.state || after.spentUsd !== before.spentUsd || after.exposedUsd !== before.exposedUsd ||
  rankOf(after) !== rankOf(before)

/** One pass, with a line for everything open that was asked about. */
const pass = Effect.fnUntraced(function*(progress: boolean) {
  const ledger = yield* Ledger.Ledger
  const { sweepWith } = yield* Reconciler.Reconciler
  const all = yield* Ref.make<ReadonlyArray<Ledger.Authorization>>([])
  const tell = Effect.fnUntraced(function*(before: Ledger.Authorization) {
    const after = yield* Effect.orElseSucceed(ledger.authorization(before.id), () => Option.none<never>())
    if (Option.isNone(after)) return
    const { plan, state } = after.value
    yield* Output.note(
      `${nameOf(before)} over ${plan.rail}: ${
        state === before.state ? `still ${state}` : `${before.state}, now ${state}`
      }`
    )
  })
  const report = yield* sweepWith((before) =>
    Effect.andThen(
      Ref.update(all, (those) => [...those, before]),
      progress && openStates.has(before.state) ? tell(before) : Effect.void
    )
  )
  const asked: Array<Asked> = []
  for (const before of yield* Ref.get(all)) {
    const after = yield* ledger.authorization(before.id)
    if (Option.isSome(after)) asked.push({ before, after: after.value })
  }
  const found: Found = {
    report,
    changed: asked.filter(isChanged),
    open: asked.flatMap(({ after }) => openStates.has(after.state) ? [after] : [])
  }
  return found
})

/** What is paid on a rail that is not configured here, nobody here can ask about. */
const strangers = Effect.fnUntraced(function*(open: ReadonlyArray<Ledger.Authorization>) {
  const known = new Set((yield* (yield* Rails.Rails).all).map(({ name }) => name))
  const missing = [...new Set(open.map(({ plan }) => plan.rail))].filter((rail) => !known.has(rail))
  if (missing.length > 0) {
    yield* Output.note(
      `${missing.join(", ")} cannot be asked: set up here what it was paid with (a key or a credential)`
    )
  }
})

const changeJson = ({ after, before }: Asked): Output.JsonObject => ({
  payment: after.purchase ?? null,
  before: before.state,
  ...Records.authorization(after)
})

const table = (changed: ReadonlyArray<Asked>): string =>
  Table.render(
    [
      "payment",
      "merchant",
      "rail",
      "was",
      "is",
      { title: "spent", align: "right" },
      { title: "held", align: "right" },
      "evidence"
    ],
    changed.map(({ after, before }) => [
      nameOf(after),
      after.origin,
      after.plan.rail,
      before.state,
      after.state,
      dollars(after.spentUsd),
      dollars(after.exposedUsd),
      [rankOf(after), after.evidence.at(-1)?.what ?? "", Records.reference(after) ?? ""].join(" ")
    ])
  )

const held = (open: ReadonlyArray<Ledger.Authorization>): bigint =>
  open.reduce((sum, { exposedUsd }) => sum + exposedUsd, 0n)

const summary = ({ open, report }: Found): string =>
  open.length === 0 && report.settled + report.released + report.presumed === 0
    ? "Nothing is open."
    : open.length === 0
    ? `Nothing is open any more: ${report.settled} settled, ${report.released} void, ${report.presumed} presumed spent.`
    : `${open.length} still open, with ${
      dollars(held(open))
    } held: ${report.settled} settled, ${report.released} void, ` +
      `${report.presumed} presumed spent. Ask again later.`

const once = Effect.gen(function*() {
  const json = yield* Output.Json
  const found = yield* pass(!json)
  yield* strangers(found.open)
  if (json) {
    yield* Output.printJson({
      changed: found.changed.map(changeJson),
      open: found.open.map((one) => ({ payment: one.purchase ?? null, ...Records.authorization(one) })),
      heldUsd: Amount.formatUsd(held(found.open))
    })
  } else {
    yield* Output.print([...(found.changed.length === 0 ? [] : [table(found.changed)]), summary(found)].join("\n\n"))
  }
  if (found.open.length > 0) return yield* new Exited({ status: status.undelivered })
})

/** A pass that fails is told, and the next one comes. */
const watch = Effect.gen(function*() {
  if (yield* Output.Json) {
    return yield* new Usage({ message: "--watch goes on until it is interrupted, and has no one document for --json" })
  }
  const ending = yield* Interrupted
  const told = yield* Ref.make("")
  const round = Effect.gen(function*() {
    const found = yield* pass(false)
    const now = Moment.format(yield* Clock.currentTimeMillis)
    for (const { after, before } of found.changed) {
      yield* Output.print(
        `${now} ${nameOf(after)} ${after.origin} ${after.plan.rail}: ${before.state}, now ${after.state}; ` +
          `${dollars(after.spentUsd)} spent, ${dollars(after.exposedUsd)} held (${rankOf(after)})`
      )
    }
    const line = found.open.length === 0
      ? "nothing is open"
      : `${found.open.length} open, ${dollars(held(found.open))} held`
    if ((yield* Ref.getAndSet(told, line)) !== line) {
      yield* strangers(found.open)
      yield* Output.print(`${now} ${line}`)
    }
    yield* Ref.set(ending, found.open.length === 0 ? status.done : status.undelivered)
  })
  return yield* round.pipe(
    Effect.catchTag("LedgerUnavailable", ({ message }) => Output.note(message)),
    Effect.repeat(Schedule.spaced("30 seconds"))
  )
})

const run = Effect.fnUntraced(function*(input: { readonly watch: boolean }) {
  if (input.watch) yield* watch
  else yield* once
})

/**
 * The command, with the agents that ask.
 *
 * @category commands
 * @since 0.1.0
 */
export const command = (agents: Agents) =>
  Command.make("reconcile", {
    watch: Flag.Boolean("watch").pipe(
      Flag.withDescription("Go on, every 30 seconds, until it is interrupted"),
      Flag.withDefault(false)
    )
  }, (input) => Report.withAgent(run(input), agents())).pipe(
    Command.withDescription(
      "Find out what became of everything that was signed and is not settled: ask chains and session endpoints, close " +
        "sessions that a process has left behind. Exits with 0 if nothing is open any more, and with 5 if something is; " +
        "with --watch that tells how it was when it was interrupted"
    )
  )
