#!/usr/bin/env node
/**
 * The executable `mpp`: wiring.
 *
 * @since 0.1.0
 */
import * as NodeServices from "@effect/platform-node/NodeServices"
import * as Effect from "effect/Effect"
import * as Runtime from "effect/Runtime"
import * as Stdio from "effect/Stdio"
import * as Agents from "./Agents.ts"
import * as Cli from "./Cli.ts"
import * as Environment from "./Environment.ts"
import { status } from "./Exit.ts"

/** Ends when what was written has arrived: a pipe may be slow. */
const exit = (code: number) => process.stdout.write("", () => process.exit(code))

/** The first signal interrupts, and whatever was sent is written down as unknown; the second ends the process. */
const runMain = Runtime.makeRunMain(({ fiber, teardown }) => {
  let signals = 0
  const onSignal = () => {
    signals++
    if (signals > 1) process.exit(status.interrupted)
    fiber.interruptUnsafe(fiber.id)
  }
  process.on("SIGINT", onSignal).on("SIGTERM", onSignal)
  // Whoever reads us may go away at any time.
  process.stdout.on("error", () => {})
  process.stderr.on("error", () => {})
  fiber.addObserver((result) => teardown(result, exit))
})

const environment = Environment.take(process.env)

Effect.flatMap(Stdio.Stdio, ({ args }) => args).pipe(
  Effect.flatMap(Cli.run(Agents.layerConfig)),
  Effect.provide(NodeServices.layer),
  Effect.provide(Environment.layer(environment)),
  (program) => runMain(program, { disableErrorReporting: true })
)
