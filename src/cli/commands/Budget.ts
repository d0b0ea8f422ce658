/**
 * `mpp budget`: what may be spent, what is spent, what is held, what is left.
 *
 * @since 0.1.0
 */
import * as Command from "effect/cli/Command"
import * as Duration from "effect/Duration"
import * as Effect from "effect/Effect"
import * as Option from "effect/Option"
import * as Amount from "../../Amount.ts"
import * as Budget from "../../Budget.ts"
import * as Ledger from "../../Ledger.ts"
import type { Agents } from "../Agents.ts"
import * as Environment from "../Environment.ts"
import * as Filters from "../Filters.ts"
import * as Output from "../Output.ts"
import * as Report from "../Report.ts"
import * as Standing from "../Standing.ts"

const run = Effect.fnUntraced(function*(input: { readonly origin: Option.Option<string> }) {
  const agent = yield* Environment.agentId
  const { plan } = yield* Budget.Budget
  const { durable } = yield* Ledger.Ledger
  const limits = yield* Standing.read(Option.getOrUndefined(input.origin))
  if (yield* Output.Json) {
    return yield* Output.printJson({
      agent,
      durable,
      plan: {
        limit: Amount.formatUsd(plan.limit),
        windowSeconds: Duration.toSeconds(plan.window),
        maxPrice: Amount.formatUsd(plan.maxPrice),
        maxDeposit: Amount.formatUsd(plan.maxDeposit),
        perDay: Amount.formatUsd(plan.perDay)
      },
      limits: limits.map(Standing.toJsonScoped),
      budget: Standing.toJson(yield* Standing.readAgent)
    })
  }
  yield* Output.print([
    `The agent ${agent} may spend $${Amount.formatUsd(plan.limit)} in any ${Duration.format(plan.window)}.`,
    Standing.toTable(limits, { bars: true }),
    ...(durable ? [] : ["The ledger is kept in memory: this is the plan, and other processes are not counted in it."])
  ].join("\n\n"))
})

/**
 * The command, with the agents that it asks.
 *
 * @category commands
 * @since 0.1.0
 */
export const command = (agents: Agents) =>
  Command.make("budget", { origin: Filters.origin }, (input) => Report.withAgent(run(input), agents())).pipe(
    Command.withDescription("Show what may be spent, what is spent, what is held and what is left")
  )
