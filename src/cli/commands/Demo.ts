/**
 * `mpp demo`: the whole story on a chain of its own.
 *
 * @since 0.1.0
 */
import * as Command from "effect/cli/Command"
import * as Flag from "effect/cli/Flag"
import * as Effect from "effect/Effect"
import { DemoFailed } from "../demo/DemoFailed.ts"
import * as Output from "../Output.ts"
import * as Report from "../Report.ts"

/** Loaded when it is asked for: it needs a chain and a compiler that nothing else does. */
const load = Effect.tryPromise({
  try: () => import("../demo/Demo.ts"),
  catch: () =>
    new DemoFailed({
      what: "The demo could not be loaded",
      why: "it needs the optional packages @foundry-rs/anvil and solc"
    })
})

const run = Effect.fnUntraced(function*(input: { readonly requests: number; readonly blockTime: number }) {
  const json = yield* Output.Json
  return yield* load.pipe(
    Effect.flatMap((demo) => demo.run({ ...input, json })),
    Effect.catch((error) => Report.failed(error, json))
  )
})

/**
 * The command. It makes its own agents, and reads no configuration.
 *
 * @category commands
 * @since 0.1.0
 */
export const command = Command.make("demo", {
  requests: Flag.Int("requests").pipe(
    Flag.withMetavar("N"),
    Flag.withDescription("How many paid requests to make"),
    Flag.filter((count) => count >= 1 && count <= 10_000, () => "Expected a number from 1 to 10000"),
    Flag.withDefault(25)
  ),
  blockTime: Flag.Finite("block-time").pipe(
    Flag.withMetavar("SECONDS"),
    Flag.withDescription("Time between blocks of the local chain; 0: one for every transaction"),
    Flag.filter((seconds) => seconds >= 0 && seconds <= 60, () => "Expected seconds, from 0 to 60"),
    Flag.withDefault(2)
  )
}, run).pipe(
  Command.withDescription("Pay 25 requests on a local chain: sessions, x402, a budget, and failures on purpose")
)
