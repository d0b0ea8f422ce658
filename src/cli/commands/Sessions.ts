/**
 * `mpp sessions`: what merchants may draw on without being asked again.
 *
 * @since 0.1.0
 */
import * as Command from "effect/cli/Command"
import * as Flag from "effect/cli/Flag"
import * as Effect from "effect/Effect"
import * as Option from "effect/Option"
import * as Amount from "../../Amount.ts"
import * as Ledger from "../../Ledger.ts"
import type { Agents } from "../Agents.ts"
import * as Filters from "../Filters.ts"
import * as Moment from "../Moment.ts"
import * as Output from "../Output.ts"
import * as Records from "../Records.ts"
import * as Report from "../Report.ts"
import * as Table from "../Table.ts"

const ended: ReadonlySet<string> = new Set(["closed", "presumed"])

const running = Ledger.SessionState.literals.filter((state) => !ended.has(state))

interface Input {
  readonly all: boolean
  readonly origin: Option.Option<string>
}

const dollars = (usd: bigint): string => `$${Amount.formatUsd(usd)}`

const row = (one: Ledger.SessionRecord): ReadonlyArray<string> => [
  one.id,
  one.origin,
  one.rail,
  one.state,
  dollars(one.limitUsd),
  dollars(one.spentUsd),
  dollars(one.reservedUsd),
  Moment.format(one.expiresAt)
]

const nothing = ({ all, origin }: Input): string =>
  Option.isSome(origin)
    ? `There is no ${all ? "" : "open "}session with this merchant in the ledger.`
    : all
    ? "There was no session yet. A session is opened when five requests or more are expected: `mpp fetch --expect N`."
    : "No session is open. `mpp sessions --all` lists those that have ended."

const list = Effect.fnUntraced(function*(input: Input) {
  const ledger = yield* Ledger.Ledger
  const sessions = yield* ledger.sessions({
    origin: Option.getOrUndefined(input.origin),
    state: input.all ? undefined : running
  })
  if (yield* Output.Json) return yield* Output.printJson({ sessions: sessions.map(Records.session) })
  if (sessions.length === 0) return yield* Output.print(nothing(input))
  yield* Output.print(Table.render(
    [
      "session",
      "merchant",
      "rail",
      "state",
      { title: "limit", align: "right" },
      { title: "spent", align: "right" },
      { title: "in flight", align: "right" },
      "ends (UTC)"
    ],
    sessions.map(row)
  ))
})

/**
 * The command, with the agents whose ledger it reads.
 *
 * @category commands
 * @since 0.1.0
 */
export const command = (agents: Agents) =>
  Command.make("sessions", {
    origin: Filters.origin,
    all: Flag.Boolean("all").pipe(
      Flag.withDescription("Those that have ended as well"),
      Flag.withDefault(false)
    )
  }, (input) => Report.withAgent(list(input), agents())).pipe(
    Command.withDescription(
      "List the sessions that are open. Those that a process has left behind are closed by `mpp reconcile`"
    )
  )
