/**
 * JSON-RPC of the chains that are configured, over the transport: reads and broadcast.
 *
 * What a node answers is checked like anything else from outside: decoded, capped in size, and believed only after the
 * node has shown that it answers for the chain that it is configured for. Errors never name a node's URL, which is often a
 * secret.
 *
 * @since 0.1.0
 */
import * as Config from "effect/Config"
import * as Context from "effect/Context"
import * as Effect from "effect/Effect"
import * as Layer from "effect/Layer"
import * as Option from "effect/Option"
import * as Schema from "effect/Schema"
import * as Asset from "./Asset.ts"
import * as JsonRpc from "./chain/JsonRpc.ts"
import { type Block, make as makeNode, type Node } from "./chain/Node.ts"
import { ChainError } from "./PaymentError.ts"
import { isSecure, Transport } from "./Transport.ts"

export { type Block, finalityDepth, type Limits, type Log, type Node, type Receipt } from "./chain/Node.ts"

// ---------------------------------------------------------------------------------------------------------------------
// Service
// ---------------------------------------------------------------------------------------------------------------------

/**
 * @category models
 * @since 0.1.0
 */
export interface Options {
  /** URLs by CAIP-2 network: `{ "eip155:8453": "https://..." }`. With several, a release needs all of them to agree. */
  readonly rpc: { readonly [network: string]: string | ReadonlyArray<string> }
  /**
   * Allows plain http beyond this machine: everywhere, or to these hosts. Whoever sits on the way can then lie about what
   * was paid.
   */
  readonly allowHttp?: boolean | ReadonlyArray<string> | undefined
}

/**
 * The nodes that may be asked. A release needs all nodes of a chain to agree.
 *
 * @category services
 * @since 0.1.0
 */
export class Chain extends Context.Service<Chain, {
  /** The nodes of a network; empty where none is configured. */
  readonly nodes: (network: string) => ReadonlyArray<Node>
  readonly networks: ReadonlyArray<string>
}>()("effect-mpp/Chain") {}

/**
 * The nodes that are listed. Fails if a network is not of `eip155`, if a URL is none, or if it is plain http beyond this
 * machine.
 *
 * @category layers
 * @since 0.1.0
 */
export const layer = (options: Options): Layer.Layer<Chain, ChainError, Transport> => Layer.effect(Chain, make(options))

/**
 * The nodes of `MPP_RPC_<chainId>`: one URL, or two separated by a comma. `MPP_ALLOW_HTTP` allows plain http.
 *
 * **Details**
 *
 * The variables of an environment cannot be listed by pattern, so those are read that can matter: the chains of the assets
 * in force (`MPP_ASSETS` included, where its layer is provided), and of `MPP_NETWORKS`.
 *
 * @category layers
 * @since 0.1.0
 */
export const layerConfig: Layer.Layer<Chain, ChainError | Config.ConfigError, Transport> = Layer.unwrap(
  Effect.gen(function*() {
    const table = yield* Asset.Table
    const listed = yield* list("MPP_NETWORKS")
    const hosts = yield* list("MPP_ALLOW_HTTP")
    const allowHttp = hosts.length === 1 && /^(?:true|yes|on|1|y)$/i.test(hosts[0] ?? "") ? true : hosts
    const Url = Schema.String.check(
      Schema.makeFilter<string>((url) => url.trim() === "" || isFit(url.trim(), allowHttp) || `Expected ${fitUrl}`)
    )
    const rpc: Record<string, ReadonlyArray<string>> = {}
    for (const network of new Set([...table.assets.map((asset) => asset.network), ...listed])) {
      const chainId = chainIdOf(network)
      if (Option.isSome(chainId)) rpc[network] = yield* list(`MPP_RPC_${chainId.value}`, Url)
    }
    return layer({ rpc, allowHttp })
  })
)

const fitUrl = "an https URL, or http on this machine"

const list = (name: string, Entry: Schema.Codec<string> = Schema.String): Config.Config<ReadonlyArray<string>> =>
  Config.Array(Entry, name).pipe(
    Config.withDefault([] as ReadonlyArray<string>),
    Config.map((entries) => entries.map((entry) => entry.trim()).filter((entry) => entry !== ""))
  )

const mayUseHttp = (url: string, allowed: Options["allowHttp"]): boolean =>
  typeof allowed === "object" ? allowed.includes(URL.parse(url)?.hostname ?? "") : allowed === true

const isFit = (url: string, allowHttp: Options["allowHttp"]): boolean =>
  isSecure(url) || (/^http:\/\//i.test(url) && mayUseHttp(url, allowHttp))

const chainIdOf = (network: string): Option.Option<bigint> => {
  const digits = /^eip155:([1-9][0-9]{0,31})$/.exec(network)?.[1]
  return digits === undefined ? Option.none() : Option.some(BigInt(digits))
}

const make = Effect.fnUntraced(function*(options: Options): Effect.fn.Return<Chain["Service"], ChainError, Transport> {
  const client = yield* Transport
  const nodes = new Map<string, ReadonlyArray<Node>>()
  for (const [network, configured] of Object.entries(options.rpc)) {
    const refuse = (detail: string) => new ChainError({ network, operation: "configuration", detail })
    const chainId = chainIdOf(network)
    if (Option.isNone(chainId)) return yield* refuse("expected a network such as eip155:8453")
    const urls = typeof configured === "string" ? [configured] : configured
    if (!urls.every((url) => isFit(url, options.allowHttp))) return yield* refuse(`an RPC must be ${fitUrl}`)
    if (urls.length > 0) {
      nodes.set(
        network,
        yield* Effect.forEach(urls, (url) => makeNode(JsonRpc.make(client, network, url), network, chainId.value))
      )
    }
  }
  return Chain.of({ nodes: (network) => nodes.get(network) ?? [], networks: [...nodes.keys()] })
})

// ---------------------------------------------------------------------------------------------------------------------
// Functions
// ---------------------------------------------------------------------------------------------------------------------

/**
 * The number of the first block that is stamped at or after an instant (seconds since the epoch), or of `latest` if there
 * is none. Costs a number of reads that is logarithmic in the distance.
 *
 * @category combinators
 * @since 0.1.0
 */
export const firstBlockAt = Effect.fnUntraced(function*(
  node: Node,
  latest: Block,
  seconds: bigint
): Effect.fn.Return<bigint, ChainError> {
  if (latest.timestamp < seconds) return latest.number
  const isBefore = (number: bigint) => Effect.map(node.block(number), (block) => block.timestamp < seconds)
  let high = latest.number
  let low = high
  for (let step = 32n; low > 0n; step *= 2n) {
    low = low > step ? low - step : 0n
    if (yield* isBefore(low)) break
    high = low
  }
  while (low < high) {
    const middle = (low + high) / 2n
    if (yield* isBefore(middle)) low = middle + 1n
    else high = middle
  }
  return high
})
