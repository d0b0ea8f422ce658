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
import * as Data from "effect/Data"
import * as Duration from "effect/Duration"
import * as Effect from "effect/Effect"
import * as HttpClient from "effect/http/HttpClient"
import * as HttpClientRequest from "effect/http/HttpClientRequest"
import * as Layer from "effect/Layer"
import * as Option from "effect/Option"
import * as Ref from "effect/Ref"
import * as Schedule from "effect/Schedule"
import * as Schema from "effect/Schema"
import * as SchemaTransformation from "effect/SchemaTransformation"
import type { Hex } from "viem"
import * as Asset from "./Asset.ts"
import { ChainError } from "./PaymentError.ts"
import { isSecure, readText, Transport } from "./Transport.ts"

// ---------------------------------------------------------------------------------------------------------------------
// Models
// ---------------------------------------------------------------------------------------------------------------------

const Quantity = Schema.String.check(Schema.isPattern(/^0x[0-9a-fA-F]{1,64}$/)).pipe(
  Schema.decodeTo(
    Schema.BigInt,
    SchemaTransformation.transform({
      decode: (quantity: string) => BigInt(quantity),
      encode: (value: bigint) => `0x${value.toString(16)}`
    })
  )
)

const Bytes = Schema.TemplateLiteral(["0x", Schema.String]).check(Schema.isPattern(/^0x(?:[0-9a-fA-F]{2})*$/))

const BlockFromRpc = Schema.Struct({ number: Quantity, timestamp: Quantity })

const LogFromRpc = Schema.Struct({
  transactionHash: Bytes,
  blockNumber: Quantity,
  address: Bytes,
  topics: Schema.Array(Bytes),
  data: Bytes,
  removed: Schema.optionalKey(Schema.Boolean)
})

/**
 * @category models
 * @since 0.1.0
 */
export interface Block {
  readonly number: bigint
  /** seconds since the epoch */
  readonly timestamp: bigint
}

/**
 * @category models
 * @since 0.1.0
 */
export interface Log {
  readonly transactionHash: Hex
  readonly blockNumber: bigint
  readonly address: string
  readonly topics: ReadonlyArray<Hex>
  readonly data: Hex
}

/**
 * One RPC of one chain. Every call checks once that the node answers for this chain.
 *
 * @category models
 * @since 0.1.0
 */
export interface Node {
  readonly network: string
  /**
   * A block by number or tag. A node that does not know the tag `finalized` answers with the block
   * {@link finalityDepth} below its latest.
   */
  readonly block: (block: bigint | "latest" | "finalized") => Effect.Effect<Block, ChainError>
  readonly call: (to: Hex, data: Hex, block: bigint | "latest") => Effect.Effect<Hex, ChainError>
  readonly code: (address: Hex) => Effect.Effect<Hex, ChainError>
  readonly logs: (filter: {
    readonly address: Hex
    readonly topics: ReadonlyArray<Hex | ReadonlyArray<Hex> | null>
    readonly fromBlock: bigint
    readonly toBlock: bigint
  }) => Effect.Effect<ReadonlyArray<Log>, ChainError>
  readonly receiptLogs: (transaction: Hex) => Effect.Effect<ReadonlyArray<Log>, ChainError>
}

/**
 * How many blocks below the latest one counts as final where a node does not know the tag `finalized`: 17 minutes at two
 * seconds a block, more than an optimistic rollup needs to be final on its parent in ordinary times.
 *
 * @category constants
 * @since 0.1.0
 */
export const finalityDepth = 512n

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
      nodes.set(network, yield* Effect.forEach(urls, (url) => makeNode(client, network, chainId.value, url)))
    }
  }
  return Chain.of({ nodes: (network) => nodes.get(network) ?? [], networks: [...nodes.keys()] })
})

// ---------------------------------------------------------------------------------------------------------------------
// One node
// ---------------------------------------------------------------------------------------------------------------------

/** Receipts of batched transactions are long; anything longer than this is not read. */
const maxAnswerBytes = 1024 * 1024

const timeout = Duration.seconds(10)

const backoff = Schedule.exponential("200 millis").pipe(Schedule.upTo({ times: 3 }))

/** Why a call failed, before it is known which operation it was part of. */
class RpcFailure extends Data.TaggedError("RpcFailure")<{
  readonly detail: string
  /** Asking again may help. */
  readonly transient: boolean
  /** The code of a JSON-RPC error. */
  readonly code?: number
}> {}

const Answer = Schema.fromJsonString(Schema.Struct({
  result: Schema.optionalKey(Schema.Unknown),
  error: Schema.optionalKey(Schema.NullOr(Schema.Struct({ code: Schema.Int })))
}))

const decodeAnswer = Schema.decodeUnknownEffect(Answer)

/** `limit exceeded`, of EIP-1474. */
const rateLimited = -32005

/** What nodes say to a block tag that they do not know, or to a finalized block that they do not have. */
const isUnknownTag = (failure: RpcFailure): boolean =>
  failure.code !== undefined && [-32602, -32000, -32001, -39001].includes(failure.code)

const malformed = (detail: string) => new RpcFailure({ detail, transient: false })

const makeNode = Effect.fnUntraced(function*(
  client: HttpClient.HttpClient,
  network: string,
  chainId: bigint,
  url: string
): Effect.fn.Return<Node> {
  const send = Effect.fnUntraced(function*(method: string, params: ReadonlyArray<unknown>) {
    const request = HttpClientRequest.bodyJsonUnsafe(HttpClientRequest.post(url), {
      jsonrpc: "2.0",
      id: 1,
      method,
      params
    })
    const unreachable = () => new RpcFailure({ detail: "the node did not answer", transient: true })
    const response = yield* Effect.mapError(client.execute(request), unreachable)
    const { status } = response
    if (status === 429 || status >= 500) return yield* new RpcFailure({ detail: `HTTP ${status}`, transient: true })
    // nodes give JSON-RPC errors a status of 4xx at times
    const text = yield* Effect.mapError(readText(response, maxAnswerBytes), unreachable)
    if (Option.isNone(text)) return yield* malformed("the answer is too long")
    const { error, result } = yield* Effect.mapError(
      decodeAnswer(text.value),
      () => malformed(status >= 300 ? `HTTP ${status}` : "the answer is not JSON-RPC")
    )
    if (error === undefined || error === null) return result
    return yield* new RpcFailure({
      detail: `JSON-RPC error ${error.code}`,
      transient: error.code === rateLimited,
      code: error.code
    })
  })

  // The HTTP client's own span would hold the URL, and with it the node's key.
  const ask = <A, I>(method: string, params: ReadonlyArray<unknown>, schema: Schema.Codec<A, I>) =>
    send(method, params).pipe(
      Effect.retry({ schedule: backoff, while: (failure) => failure.transient }),
      Effect.timeoutOrElse({
        duration: timeout,
        orElse: () => Effect.fail(new RpcFailure({ detail: "the node did not answer in time", transient: false }))
      }),
      Effect.flatMap((result) =>
        Effect.mapError(
          Schema.decodeUnknownEffect(schema)(result),
          () => malformed("the answer is not of the expected form")
        )
      ),
      Effect.provideService(HttpClient.TracerDisabledWhen, () => true),
      Effect.withSpan(`Chain.${method}`, { kind: "client", attributes: { "mpp.network": network } })
    )

  const answersFor = yield* Ref.make<bigint | undefined>(undefined)
  const checkChain = Effect.gen(function*() {
    const known = yield* Ref.get(answersFor)
    const answered = known ?? (yield* ask("eth_chainId", [], Quantity))
    if (known === undefined) yield* Ref.set(answersFor, answered)
    if (answered !== chainId) return yield* malformed(`the node answers for eip155:${answered}`)
  })

  const operation = <A>(name: string, effect: Effect.Effect<A, RpcFailure>): Effect.Effect<A, ChainError> =>
    Effect.andThen(checkChain, effect).pipe(
      Effect.mapError(({ detail }) => new ChainError({ network, operation: name, detail }))
    )

  const blockAt = (tag: string) =>
    Effect.flatMap(
      ask("eth_getBlockByNumber", [tag, false], Schema.NullOr(BlockFromRpc)),
      (block) => block === null ? Effect.fail(malformed("the node does not have the block")) : Effect.succeed(block)
    )
  const belowLatest = Effect.flatMap(
    blockAt("latest"),
    ({ number }) => blockAt(quantity(number > finalityDepth ? number - finalityDepth : 0n))
  )
  const finalized = ask("eth_getBlockByNumber", ["finalized", false], Schema.NullOr(BlockFromRpc)).pipe(
    Effect.catchIf(isUnknownTag, () => Effect.succeed(null)),
    Effect.flatMap((block) => block === null ? belowLatest : Effect.succeed(block))
  )

  return {
    network,
    block: (block) =>
      operation("block", block === "finalized" ? finalized : blockAt(block === "latest" ? block : quantity(block))),
    call: (to, data, block) =>
      operation("call", ask("eth_call", [{ to, data }, block === "latest" ? block : quantity(block)], Bytes)),
    code: (address) => operation("code", ask("eth_getCode", [address, "latest"], Bytes)),
    logs: ({ address, fromBlock, toBlock, topics }) =>
      operation(
        "logs",
        Effect.map(
          ask(
            "eth_getLogs",
            [{ address, topics, fromBlock: quantity(fromBlock), toBlock: quantity(toBlock) }],
            Schema.Array(LogFromRpc)
          ),
          (logs) => logs.filter((log) => log.removed !== true)
        )
      ),
    receiptLogs: (transaction) =>
      operation(
        "receipt",
        Effect.flatMap(
          ask(
            "eth_getTransactionReceipt",
            [transaction],
            Schema.NullOr(Schema.Struct({ logs: Schema.Array(LogFromRpc) }))
          ),
          (receipt) =>
            receipt === null ? Effect.fail(malformed("the node has no receipt")) : Effect.succeed(receipt.logs)
        )
      )
  }
})

const quantity = (value: bigint): Hex => `0x${value.toString(16)}`

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
