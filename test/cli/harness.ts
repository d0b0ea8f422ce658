import * as NodeServices from "@effect/platform-node/NodeServices"
import * as Effect from "effect/Effect"
import * as Exit from "effect/Exit"
import * as Fiber from "effect/Fiber"
import * as Layer from "effect/Layer"
import * as Sink from "effect/Sink"
import * as Stdio from "effect/Stdio"
import * as Stream from "effect/Stream"
import { TestConsole } from "effect/testing"
import type { Agents } from "../../src/cli/Agents.ts"
import * as Cli from "../../src/cli/Cli.ts"

/** What a run of the command left behind. */
export interface Ran {
  readonly status: number
  readonly stdout: string
  readonly bytes: Uint8Array
  readonly stderr: string
}

const whole = (chunks: ReadonlyArray<string | Uint8Array>) =>
  Buffer.concat(chunks.map((chunk) => typeof chunk === "string" ? Buffer.from(chunk) : Buffer.from(chunk)))

/** Runs the command in this process, with the agents that are given; it is interrupted when `meanwhile` has ended. */
export const mpp = Effect.fnUntraced(function*(
  agents: Agents,
  args: ReadonlyArray<string>,
  stdin: ReadonlyArray<Uint8Array> = [],
  meanwhile: Effect.Effect<void> | undefined = undefined
) {
  const out: Array<string | Uint8Array> = []
  const err: Array<string | Uint8Array> = []
  const collect = (into: Array<string | Uint8Array>) =>
    Sink.forEach((chunk: string | Uint8Array) => Effect.sync(() => into.push(chunk)))
  const stdio = Stdio.layerTest({
    stdout: () => collect(out),
    stderr: () => collect(err),
    stdin: Stream.fromIterable(stdin)
  })
  const run = Effect.provide(Cli.run(agents)(args), Layer.provideMerge(stdio, NodeServices.layer))
  const exit = meanwhile === undefined ? yield* Effect.exit(run) : yield* Effect.gen(function*() {
    const fiber = yield* Effect.forkChild(run)
    yield* meanwhile
    yield* Fiber.interrupt(fiber)
    return yield* Fiber.await(fiber)
  })
  const defect = Exit.isFailure(exit) ? exit.cause.reasons.find((reason) => reason._tag === "Die") : undefined
  if (defect !== undefined) return yield* Effect.die(defect.defect)
  const console = yield* TestConsole.logLines
  const bytes = whole(out)
  const ran: Ran = {
    status: Exit.isSuccess(exit)
      ? 0
      : exit.cause.reasons.flatMap((reason) => reason._tag === "Fail" ? [reason.error.status] : [])[0] ?? 130,
    stdout: bytes.toString() + console.join("\n"),
    bytes,
    stderr: whole(err).toString()
  }
  return ran
})

/** The one document on stdout. */
export const json = (ran: Ran) => JSON.parse(ran.stdout)

/** Agents that are all the same one: what the test made. */
export const same = <A>(layer: Layer.Layer<A>) =>
  Effect.map(Layer.build(layer), (context) => () => Layer.succeedContext(context))
