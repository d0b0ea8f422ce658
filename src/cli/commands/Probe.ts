/**
 * `mpp probe`: asks once, signs nothing, and says what is offered.
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

const run = Effect.fnUntraced(function*(input: Asked.Asked) {
  const quoted = yield* Quoted.ask(input)
  if (yield* Output.Json) {
    const budget = Standing.toJson(yield* Standing.readAgent)
    return yield* Output.printJson({ ...Quoted.toJson(quoted), budget })
  }
  const parts = [
    Quoted.headline(quoted),
    Quoted.toTable(quoted),
    Option.match(quoted.failure, { onNone: () => "", onSome: ({ message }) => message })
  ]
  yield* Output.print(parts.filter((part) => part !== "").join("\n\n"))
})

/**
 * The command, with the agents that it asks.
 *
 * @category commands
 * @since 0.1.0
 */
export const command = (agents: Agents) =>
  Command.make("probe", Asked.flags, (input) => Report.withAgent(run(input), agents({ asks: true }))).pipe(
    Command.withDescription("Ask once without paying, and list what is offered and what of it could be paid now"),
    Command.withExamples([
      { command: "mpp probe https://api.example.com/data", description: "Is it free, and if not, what does it cost" }
    ])
  )
