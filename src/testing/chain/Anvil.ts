/**
 * A local chain in a process of its own: the `anvil` of the npm package `@foundry-rs/anvil`, on loopback, for as long as
 * a scope is open. Node only.
 *
 * @since 0.1.0
 */
import * as Effect from "effect/Effect"
import * as Schema from "effect/Schema"
import type * as Scope from "effect/Scope"
import { type ChildProcessByStdio, spawn } from "node:child_process"
import { existsSync } from "node:fs"
import { createRequire } from "node:module"
import { dirname, join } from "node:path"
import type { Readable } from "node:stream"
import type { Hex } from "viem"
import { ChainError } from "../../PaymentError.ts"

/**
 * @category models
 * @since 0.1.0
 */
export interface Options {
  readonly chainId: number
  /** Seconds between blocks. Without it a block is made for every transaction, at once. */
  readonly blockTime?: number | undefined
  /** Makes blocks only when told to. */
  readonly noMining?: boolean | undefined
  /** Further arguments of anvil, as on its command line. */
  readonly args?: ReadonlyArray<string> | undefined
}

/**
 * A running node.
 *
 * @category models
 * @since 0.1.0
 */
export interface Anvil {
  readonly chainId: number
  /** CAIP-2. */
  readonly network: string
  readonly rpcUrl: string
  /** One JSON-RPC call; the answer's `result`, as it came. */
  readonly rpc: (method: string, params?: ReadonlyArray<unknown>) => Effect.Effect<unknown, ChainError>
}

/**
 * Starts a node on a free port of 127.0.0.1 and waits until it listens. It is killed when the scope closes, and when this
 * process ends. Fails if the package is not installed, or has no binary for this platform.
 *
 * @category constructors
 * @since 0.1.0
 */
export const start = Effect.fn("Anvil.start")(function*(
  options: Options
): Effect.fn.Return<Anvil, ChainError, Scope.Scope> {
  const network = `eip155:${options.chainId}`
  const binary = yield* locate(network)
  const running = yield* Effect.acquireRelease(
    Effect.sync(() => launch(binary, argumentsOf(options))),
    ({ kill }) => Effect.sync(kill)
  )
  const rpcUrl = yield* listening(running.child, network)
  const rpc = caller(rpcUrl, network)
  // nobody reads what it prints from here on
  yield* rpc("anvil_setLoggingEnabled", [false])
  running.child.stdout.resume()
  return { chainId: options.chainId, network, rpcUrl, rpc }
})

const require = createRequire(import.meta.url)

const architectures: { readonly [arch: string]: string | undefined } = { x64: "amd64", arm64: "arm64" }

/** The binary itself, not its wrapper, so that the process that is killed is the node. */
const locate = (network: string): Effect.Effect<string, ChainError> => {
  const failed = (detail: string) => new ChainError({ network, operation: "start", detail })
  const platform = `@foundry-rs/anvil-${process.platform}-${architectures[process.arch] ?? process.arch}`
  return Effect.try({
    try: () => require.resolve("@foundry-rs/anvil/package.json"),
    catch: () => failed("anvil is not installed: npm install --save-dev @foundry-rs/anvil")
  }).pipe(
    Effect.flatMap((installed) =>
      Effect.try({
        try: () => dirname(createRequire(installed).resolve(`${platform}/package.json`)),
        catch: () => failed(`anvil has no binary for this platform: ${platform} is not installed`)
      })
    ),
    Effect.map((directory) => join(directory, "bin", process.platform === "win32" ? "anvil.exe" : "anvil")),
    Effect.filterOrFail(existsSync, () => failed(`${platform} holds no binary`))
  )
}

const argumentsOf = ({ args = [], blockTime, chainId, noMining }: Options): Array<string> => [
  "--host",
  "127.0.0.1",
  "--port",
  "0",
  "--chain-id",
  String(chainId),
  ...(blockTime === undefined ? [] : ["--block-time", String(blockTime)]),
  ...(noMining === true ? ["--no-mining"] : []),
  ...args
]

type Child = ChildProcessByStdio<null, Readable, null>

const launch = (binary: string, args: Array<string>) => {
  const child = spawn(binary, args, { stdio: ["ignore", "pipe", "ignore"] })
  const kill = () => {
    process.removeListener("exit", kill)
    child.removeAllListeners()
    child.on("error", () => {})
    child.kill("SIGKILL")
  }
  process.once("exit", kill)
  return { child, kill }
}

const listening = (child: Child, network: string): Effect.Effect<string, ChainError> => {
  const failed = (detail: string) => new ChainError({ network, operation: "start", detail })
  return Effect.callback<string, ChainError>((resume) => {
    let printed = ""
    const onData = (chunk: Buffer) => {
      printed += chunk.toString()
      const address = /Listening on (127\.0\.0\.1:\d+)/.exec(printed)?.[1]
      if (address === undefined) return
      child.stdout.removeListener("data", onData)
      resume(Effect.succeed(`http://${address}`))
    }
    child.stdout.on("data", onData)
    child.once("error", ({ message }) => resume(Effect.fail(failed(message))))
    child.once("exit", (code) => resume(Effect.fail(failed(`anvil ended at once (status ${code})`))))
  }).pipe(
    Effect.timeoutOrElse({ duration: "20 seconds", orElse: () => Effect.fail(failed("anvil does not listen")) })
  )
}

const isHex = (text: string): text is Hex => /^0x[0-9a-f]*$/i.test(text)

/**
 * What a node writes numbers and bytes in.
 *
 * @category schemas
 * @since 0.1.0
 */
export const HexText = Schema.String.pipe(Schema.refine(isHex))

/**
 * One JSON-RPC call, whose result must be of a shape.
 *
 * @category functions
 * @since 0.1.0
 */
export const read = <A>(
  node: Pick<Anvil, "network" | "rpc">,
  schema: Schema.Decoder<A>,
  method: string,
  params: ReadonlyArray<unknown> = []
): Effect.Effect<A, ChainError> =>
  Effect.flatMap(node.rpc(method, params), (result) =>
    Effect.mapError(
      Schema.decodeUnknownEffect(schema)(result),
      ({ message }) => new ChainError({ network: node.network, operation: method, detail: message })
    ))

const Answer = Schema.Struct({
  result: Schema.optionalKey(Schema.Unknown),
  error: Schema.optionalKey(Schema.Struct({ message: Schema.String }))
})

const decodeAnswer = Schema.decodeUnknownEffect(Answer)

/**
 * Calls the node at a URL.
 *
 * @category constructors
 * @since 0.1.0
 */
export const caller = (rpcUrl: string, network: string): Anvil["rpc"] => (method, params = []) => {
  const failed = (detail: string) => new ChainError({ network, operation: method, detail })
  return Effect.tryPromise({
    try: (signal) =>
      fetch(rpcUrl, {
        method: "POST",
        headers: { "content-type": "application/json" },
        body: JSON.stringify({ jsonrpc: "2.0", id: 1, method, params }),
        signal
      }).then((response) => response.json()),
    catch: () => failed("the node did not answer")
  }).pipe(
    Effect.flatMap((answer) => Effect.mapError(decodeAnswer(answer), () => failed("the answer is not JSON-RPC"))),
    Effect.flatMap(({ error, result }) =>
      error === undefined ? Effect.succeed(result) : Effect.fail(failed(error.message))
    )
  )
}
