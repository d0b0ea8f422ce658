/**
 * The command `mpp`.
 *
 * @since 0.1.0
 */
import * as CliConfig from "effect/cli/CliConfig"
import * as CliOutput from "effect/cli/CliOutput"
import * as Command from "effect/cli/Command"
import * as GlobalFlag from "effect/cli/GlobalFlag"
import * as Effect from "effect/Effect"
import * as Layer from "effect/Layer"
import { type Agents, showing } from "./Agents.ts"
import * as Budget from "./commands/Budget.ts"
import * as Demo from "./commands/Demo.ts"
import * as Explain from "./commands/Explain.ts"
import * as Fetch from "./commands/Fetch.ts"
import * as Ledger from "./commands/Ledger.ts"
import * as Payments from "./commands/Payments.ts"
import * as Probe from "./commands/Probe.ts"
import * as Reconcile from "./commands/Reconcile.ts"
import * as Sessions from "./commands/Sessions.ts"
import { bug, Interrupted, Usage } from "./Exit.ts"
import * as Output from "./Output.ts"
import * as Report from "./Report.ts"
import * as Table from "./Table.ts"
import { version } from "./version.ts"

/**
 * The whole command, with the agents that it pays with.
 *
 * @category commands
 * @since 0.1.0
 */
export const command = (agents: Agents) =>
  Command.make("mpp").pipe(
    Command.withDescription("Ask for things that cost money, and pay for them within a budget"),
    Command.withSubcommands([
      Fetch.command(agents),
      Probe.command(agents),
      Explain.command(agents),
      Budget.command(showing(agents)),
      Payments.command(showing(agents)),
      Sessions.command(showing(agents)),
      Reconcile.command(agents),
      Ledger.command(showing(agents)),
      Demo.command
    ]),
    Command.withGlobalFlags([Output.Json])
  )

/** Help and versions are asked for; what is wrong with an invocation is told as any failure is. */
const layerPresenter = CliOutput.layerPresenter({
  present: (event) => event._tag === "InvalidInvocation" ? Effect.void : CliOutput.defaultPresenter.present(event)
})

const layerConfig = CliConfig.layer({
  builtIns: [GlobalFlag.Help, GlobalFlag.Version, GlobalFlag.Completions, GlobalFlag.LogLevel]
})

/**
 * Runs the command. It fails with the status to exit with, and with nothing else.
 *
 * @category running
 * @since 0.1.0
 */
export const run = (agents: Agents) => {
  const execute = Command.runWith(command(agents), { version })
  return (args: ReadonlyArray<string>) => {
    // A command line that could not be read has not said how to tell of it.
    const json = args.includes("--json")
    return execute(args).pipe(
      Effect.catch((error) => {
        if (error._tag === "Exited") return Effect.fail(error)
        if (error._tag !== "ShowHelp") return Report.failed(new Usage({ message: error.message }), json)
        if (error.errors.length === 0) return Effect.void
        const wrong = error.errors.map(({ message }) => Table.clean(message)).join("; ")
        return Report.failed(new Usage({ message: `${wrong}. Try ${error.commandPath.join(" ")} --help` }), json)
      }),
      Effect.catchDefect((defect) => Report.failed(bug(defect), json)),
      Effect.onInterrupt(() => Report.interrupted(json)),
      Effect.provide(Layer.mergeAll(layerPresenter, layerConfig, Output.layerLogger, Output.Told.layer)),
      Interrupted.withStatus
    )
  }
}
