import { assert, describe, it } from "@effect/vitest"
import * as ConfigProvider from "effect/ConfigProvider"
import * as Effect from "effect/Effect"
import * as Fiber from "effect/Fiber"
import * as HttpClient from "effect/http/HttpClient"
import * as HttpClientError from "effect/http/HttpClientError"
import * as HttpClientResponse from "effect/http/HttpClientResponse"
import * as Layer from "effect/Layer"
import * as Option from "effect/Option"
import * as Schema from "effect/Schema"
import { TestClock } from "effect/testing"
import * as Tracer from "effect/Tracer"
import { inspect } from "node:util"
import * as Asset from "../src/Asset.ts"
import * as Chain from "../src/Chain.ts"
import type { ChainError } from "../src/PaymentError.ts"
import { Transport } from "../src/Transport.ts"

const network = "eip155:8453"
const url = "https://rpc.test/secret-api-key"
const hash = `0x${"ab".repeat(32)}` as const
const address = `0x${"11".repeat(20)}` as const
const hex = (value: number | bigint) => `0x${value.toString(16)}`

type Reply = { readonly result: unknown } | { readonly error: unknown } | Response | "refused" | "hangs"
type Script = (method: string, params: ReadonlyArray<unknown>) => Reply

/** A node that answers as it is told, after `eth_chainId`. */
const scripted = (script: Script, chainId = 8453) => {
  const calls: Array<string> = []
  const urls: Array<string> = []
  const client = HttpClient.make((request) =>
    Effect.gen(function*() {
      urls.push(request.url)
      const body = request.body._tag === "Uint8Array" ? JSON.parse(new TextDecoder().decode(request.body.body)) : {}
      calls.push(body.method)
      const reply = body.method === "eth_chainId" ? { result: hex(chainId) } : script(body.method, body.params)
      if (reply === "hangs") return yield* Effect.never
      if (reply === "refused") {
        return yield* new HttpClientError.HttpClientError({ reason: new HttpClientError.TransportError({ request }) })
      }
      return HttpClientResponse.fromWeb(
        request,
        reply instanceof Response ? reply : Response.json({ jsonrpc: "2.0", id: body.id, ...reply })
      )
    })
  )
  return { calls, urls, transport: Layer.succeed(Transport, client) }
}

const withNode = <A, E>(
  script: ReturnType<typeof scripted>,
  use: (node: Chain.Node) => Effect.Effect<A, E>,
  options: Partial<Chain.Options> = {}
) =>
  Chain.Chain.use((chain) => use(chain.nodes(network)[0]!)).pipe(
    Effect.provide(Chain.layer({ rpc: { [network]: url }, ...options }).pipe(Layer.provide(script.transport)))
  )

const log = {
  transactionHash: hash,
  blockNumber: "0x10",
  address,
  topics: [hash],
  data: "0x",
  logIndex: "0x0",
  removed: false
}

/** Lets retries go on without waiting for them. */
const hurried = <A, E, R>(effect: Effect.Effect<A, E, R>) =>
  Effect.gen(function*() {
    const fiber = yield* Effect.forkChild(effect, { startImmediately: true })
    yield* TestClock.adjust("1 minute")
    return yield* Fiber.join(fiber)
  })

describe("Chain", () => {
  it.effect("reads blocks, calls, code, logs and receipts", () => {
    const seen: Array<unknown> = []
    const node = scripted((method, params) => {
      seen.push([method, params])
      switch (method) {
        case "eth_getBlockByNumber":
          return { result: { number: "0x1f", timestamp: "0x65", transactions: [] } }
        case "eth_call":
          return { result: "0x01" }
        case "eth_getCode":
          return { result: "0x" }
        case "eth_getLogs":
          return { result: [log, { ...log, removed: true }] }
        default:
          return { result: { status: "0x1", logs: [log] } }
      }
    })
    const filter = { address, topics: [hash, null, [hash]], fromBlock: 1n, toBlock: 255n } as const
    return withNode(node, (rpc) =>
      Effect.gen(function*() {
        assert.deepStrictEqual({ ...(yield* rpc.block("latest")) }, { number: 31n, timestamp: 101n })
        yield* rpc.block(255n)
        assert.strictEqual(yield* rpc.call(address, "0xe94a0102", 16n), "0x01")
        assert.strictEqual(yield* rpc.code(address), "0x")
        const logs = yield* rpc.logs(filter)
        assert.strictEqual(logs.length, 1)
        assert.strictEqual(logs[0]!.blockNumber, 16n)
        assert.strictEqual((yield* rpc.receiptLogs(hash))[0]!.transactionHash, hash)
        assert.deepStrictEqual(seen, [
          ["eth_getBlockByNumber", ["latest", false]],
          ["eth_getBlockByNumber", ["0xff", false]],
          ["eth_call", [{ to: address, data: "0xe94a0102" }, "0x10"]],
          ["eth_getCode", [address, "latest"]],
          ["eth_getLogs", [{ address, topics: [hash, null, [hash]], fromBlock: "0x1", toBlock: "0xff" }]],
          ["eth_getTransactionReceipt", [hash]]
        ])
        assert.deepStrictEqual(node.calls.filter((method) => method === "eth_chainId").length, 1)
      }))
  })

  describe("a transaction", () => {
    const receipt = {
      transactionHash: hash,
      blockNumber: "0x10",
      status: "0x1",
      gasUsed: "0xc350",
      effectiveGasPrice: "0x3b9aca00",
      logs: [log, { ...log, removed: true }]
    }
    const unknown = { error: { code: -32601, message: "unknown method" } }
    const refused = { error: { code: -32003, message: "already imported" } }

    it.effect("has a receipt once it is mined, which says whether it was carried out", () => {
      const replies: Array<unknown> = [receipt, { ...receipt, status: "0x0" }, null]
      const node = scripted((method) =>
        method === "eth_getTransactionReceipt" ? { result: replies.shift() } : { result: null }
      )
      return withNode(node, (rpc) =>
        Effect.gen(function*() {
          const mined = yield* rpc.receipt(hash)
          assert.isTrue(Option.isSome(mined))
          if (Option.isNone(mined)) return
          const { logs, ...rest } = mined.value
          assert.deepStrictEqual(rest, {
            transactionHash: hash,
            blockNumber: 16n,
            succeeded: true,
            gasUsed: 50_000n,
            effectiveGasPrice: 1_000_000_000n
          })
          assert.strictEqual(logs.length, 1)
          assert.isFalse(Option.getOrThrow(yield* rpc.receipt(hash)).succeeded)
          assert.isTrue(Option.isNone(yield* rpc.receipt(hash)))
        }))
    })

    it.effect("has limits, where the node knows it", () => {
      const replies: Array<unknown> = [
        { hash, gas: "0x5208", maxFeePerGas: "0x64", from: address },
        { hash, gas: "0x5208", maxFeePerGas: null },
        null
      ]
      const node = scripted(() => ({ result: replies.shift() }))
      return withNode(node, (rpc) =>
        Effect.gen(function*() {
          assert.deepStrictEqual(yield* rpc.limits(hash), Option.some({ gas: 21_000n, maxFeePerGas: 100n }))
          assert.deepStrictEqual(yield* rpc.limits(hash), Option.some({ gas: 21_000n, maxFeePerGas: undefined }))
          assert.isTrue(Option.isNone(yield* rpc.limits(hash)))
        }))
    })

    it.effect("is estimated; a node that cannot is no failure, a transaction that would fail is one", () => {
      const replies: Array<Reply> = [{ result: "0xc350" }, unknown, { error: { code: 3, message: "reverted" } }]
      const node = scripted(() => replies.shift() ?? "refused")
      return withNode(node, (rpc) =>
        Effect.gen(function*() {
          assert.deepStrictEqual(yield* rpc.estimateGas({ from: address }), Option.some(50_000n))
          assert.isTrue(Option.isNone(yield* rpc.estimateGas({ from: address })))
          const error = yield* Effect.flip(rpc.estimateGas({ from: address }))
          assert.include(error.message, "JSON-RPC error 3")
        }))
    })

    it.effect("is sent to a node that waits until it is mined", () => {
      const node = scripted((method, [signed]) => {
        assert.strictEqual(signed, "0x76")
        return method === "eth_sendRawTransactionSync" ? { result: receipt } : unknown
      })
      return withNode(node, (rpc) =>
        Effect.gen(function*() {
          assert.isTrue(Option.getOrThrow(yield* rpc.send("0x76")).succeeded)
        }))
    })

    it.effect("is sent to a node that does not wait, which is asked for that once", () => {
      const node = scripted((method) => method === "eth_sendRawTransaction" ? { result: hash } : unknown)
      return withNode(node, (rpc) =>
        Effect.gen(function*() {
          assert.isTrue(Option.isNone(yield* rpc.send("0x76")))
          assert.isTrue(Option.isNone(yield* rpc.send("0x76")))
          assert.deepStrictEqual(node.calls, [
            "eth_chainId",
            "eth_sendRawTransactionSync",
            "eth_sendRawTransaction",
            "eth_sendRawTransaction"
          ])
        }))
    })

    it.effect("is sent without waiting where a node fails at that, and with it again the next time", () => {
      const node = scripted((method) =>
        method === "eth_sendRawTransaction" ? { result: hash } : { error: { code: -32603, message: "internal error" } }
      )
      return withNode(node, (rpc) =>
        Effect.gen(function*() {
          assert.isTrue(Option.isNone(yield* rpc.send("0x76")))
          assert.isTrue(Option.isNone(yield* rpc.send("0x76")))
          assert.strictEqual(node.calls.filter((method) => method === "eth_sendRawTransactionSync").length, 2)
        }))
    })

    it.effect("is not sent to a node of another chain, and a refusal is told", () => {
      const node = scripted(() => refused, 1)
      const other = scripted(() => refused)
      return Effect.gen(function*() {
        const error = yield* withNode(node, (rpc) => Effect.flip(rpc.send("0x76")))
        assert.include(error.message, "eip155:1")
        assert.deepStrictEqual(node.calls, ["eth_chainId"])
        assert.include((yield* withNode(other, (rpc) => Effect.flip(rpc.send("0x76")))).message, "-32003")
      })
    })

    it.effect("costs at least the base fee of a block, where the chain has one", () => {
      const block = { number: "0x1f", timestamp: "0x65" }
      const replies: Array<unknown> = [{ ...block, baseFeePerGas: "0x64" }, { ...block, baseFeePerGas: null }, block]
      return withNode(scripted(() => ({ result: replies.shift() })), (rpc) =>
        Effect.gen(function*() {
          assert.strictEqual((yield* rpc.block("latest")).baseFeePerGas, 100n)
          assert.isUndefined((yield* rpc.block("latest")).baseFeePerGas)
          assert.isUndefined((yield* rpc.block("latest")).baseFeePerGas)
        }))
    })
  })

  describe("the chain id", () => {
    it.effect("of another chain fails every call, and is asked once", () => {
      const node = scripted(() => ({ result: "0x" }), 1)
      return withNode(node, (rpc) =>
        Effect.gen(function*() {
          const first = yield* Effect.flip(rpc.code(address))
          const second = yield* Effect.flip(rpc.call(address, "0x", "latest"))
          assert.strictEqual(first._tag, "ChainError")
          assert.include(first.message, "eip155:1")
          assert.include(second.message, "eip155:1")
          assert.deepStrictEqual(node.calls, ["eth_chainId"])
        }))
    })

    it.effect("is asked again after the node could not be reached", () => {
      let reachable = false
      const answering = scripted(() => ({ result: "0x" }))
      const transport = Layer.effect(
        Transport,
        Effect.map(
          Transport,
          (client) =>
            HttpClient.transform(client, (effect, request) =>
              reachable ? effect : Effect.fail(
                new HttpClientError.HttpClientError({ reason: new HttpClientError.TransportError({ request }) })
              ))
        )
      ).pipe(Layer.provide(answering.transport))
      return withNode({ ...answering, transport }, (rpc) =>
        Effect.gen(function*() {
          yield* hurried(Effect.flip(rpc.code(address)))
          reachable = true
          assert.strictEqual(yield* rpc.code(address), "0x")
        }))
    })
  })

  describe("the finalized block", () => {
    const latest = { number: hex(1000), timestamp: hex(5000) }
    const withTag = (finalized: Reply) =>
      scripted((_, [tag]) =>
        tag === "finalized" ? finalized : tag === "latest" ? { result: latest } : { result: { ...latest, number: tag } }
      )
    const numberOf = (finalized: Reply) =>
      hurried(withNode(withTag(finalized), (rpc) => Effect.map(rpc.block("finalized"), (block) => block.number)))

    it.effect("is the node's own where it knows the tag", () =>
      Effect.gen(function*() {
        assert.strictEqual(yield* numberOf({ result: { number: hex(990), timestamp: hex(4980) } }), 990n)
      }))

    it.effect("lies a fixed depth below the latest where the node does not know the tag", () =>
      Effect.gen(function*() {
        for (const code of [-32602, -32000, -39001]) {
          assert.strictEqual(
            yield* numberOf({ error: { code, message: "unknown block" } }),
            1000n - Chain.finalityDepth
          )
        }
        assert.strictEqual(yield* numberOf({ result: null }), 1000n - Chain.finalityDepth)
      }))

    it.effect("is not guessed where the node merely failed", () =>
      Effect.gen(function*() {
        for (const reply of ["refused", { error: { code: -32603, message: "internal" } }, new Response("x")] as const) {
          assert.strictEqual((yield* Effect.flip(numberOf(reply)))._tag, "ChainError")
        }
      }))

    it.effect("is the first one on a chain that is shorter than the depth", () =>
      withNode(
        scripted((_, [tag]) =>
          tag === "finalized"
            ? { result: null }
            : { result: { number: tag === "latest" ? "0x5" : tag, timestamp: "0x1" } }
        ),
        (rpc) => Effect.map(rpc.block("finalized"), (block) => assert.strictEqual(block.number, 0n))
      ))
  })

  describe("failures", () => {
    const failure = (reply: Script) =>
      hurried(Effect.flip(withNode(scripted(reply), (rpc) => rpc.call(address, "0x", "latest"))))

    it.effect("what is not JSON-RPC, or not of the expected form, is a ChainError", () =>
      Effect.gen(function*() {
        const replies: ReadonlyArray<() => Reply> = [
          () => new Response("<html>"),
          () => new Response(null),
          () => new Response("[]"),
          () => new Response("", { status: 307, headers: { location: "https://elsewhere.test" } }),
          () => new Response("no", { status: 404 }),
          () => new Response(JSON.stringify({ result: `0x${"00".repeat(1024 * 1024)}` })),
          () => ({ result: null }),
          () => ({ result: 5 }),
          () => ({ result: "0x1" }),
          () => ({ result: { "0x": 1 } }),
          () => ({ error: { code: "x" } }),
          () => ({ error: { code: 3, message: "execution reverted" } })
        ]
        for (const reply of replies) assert.strictEqual((yield* failure(reply))._tag, "ChainError")
      }))

    it.effect("a transient failure is asked again on a short schedule, an answer is not", () =>
      Effect.gen(function*() {
        for (
          const transient of [
            (): Reply => "refused",
            (): Reply => new Response("", { status: 503 }),
            (): Reply => new Response("", { status: 429 }),
            (): Reply => ({ error: { code: -32005, message: "limit exceeded" } })
          ]
        ) {
          let left = 3
          const node = scripted(() => left-- > 0 ? transient() : { result: "0x01" })
          assert.strictEqual(yield* hurried(withNode(node, (rpc) => rpc.call(address, "0x", "latest"))), "0x01")
          assert.strictEqual(node.calls.length, 5)
        }
        const refusing = scripted(() => ({ error: { code: 3, message: "execution reverted" } }))
        yield* hurried(Effect.flip(withNode(refusing, (rpc) => rpc.call(address, "0x", "latest"))))
        assert.strictEqual(refusing.calls.length, 2)
      }))

    it.effect("a node that hangs is given up after ten seconds", () =>
      Effect.gen(function*() {
        const node = scripted(() => "hangs")
        const fiber = yield* Effect.forkChild(
          Effect.flip(withNode(node, (rpc) => rpc.code(address))),
          { startImmediately: true }
        )
        yield* TestClock.adjust("9 seconds")
        assert.isUndefined(fiber.pollUnsafe())
        yield* TestClock.adjust("1 second")
        assert.include((yield* Fiber.join(fiber)).message, "in time")
      }))

    it.effect("neither errors nor spans name the node's URL, and no trace header is sent to it", () =>
      Effect.gen(function*() {
        const spans: Array<Tracer.Span> = []
        const tracer = Tracer.make({
          span: (options) => {
            const span = new Tracer.NativeSpan(options)
            spans.push(span)
            return span
          }
        })
        for (const reply of ["refused", new Response("<html>")] as const) {
          const error = yield* failure(() => reply).pipe(Effect.withTracer(tracer))
          assert.notInclude(inspect(error, { depth: 10 }), "secret-api-key")
        }
        assert.isAbove(spans.length, 0)
        assert.notInclude(inspect(spans.map((span) => [...span.attributes]), { depth: 10 }), "secret-api-key")
        assert.include(spans.map((span) => span.name), "Chain.eth_call")
      }))
  })

  describe("configuration", () => {
    const built = (options: Chain.Options) =>
      Chain.Chain.use((chain) => Effect.succeed(chain)).pipe(
        Effect.provide(Chain.layer(options).pipe(Layer.provide(scripted(() => ({ result: "0x" })).transport)))
      )

    it.effect("a network without an RPC has no nodes", () =>
      Effect.gen(function*() {
        const chain = yield* built({ rpc: { "eip155:1": [url, "https://other.test"] } })
        assert.deepStrictEqual(chain.networks, ["eip155:1"])
        assert.strictEqual(chain.nodes("eip155:1").length, 2)
        assert.deepStrictEqual(chain.nodes("eip155:2"), [])
        assert.deepStrictEqual(chain.nodes("constructor"), [])
      }))

    it.effect("plain http is refused beyond this machine unless it is allowed, and the URL is not echoed", () =>
      Effect.gen(function*() {
        const plain = { "eip155:1": "http://rpc.test/secret-api-key" }
        const error: ChainError = yield* Effect.flip(built({ rpc: plain }))
        assert.notInclude(error.message, "secret-api-key")
        yield* built({ rpc: plain, allowHttp: true })
        yield* built({ rpc: { "eip155:31337": "http://127.0.0.1:8545" } })
        yield* Effect.flip(built({ rpc: { "eip155:1": "ftp://rpc.test" }, allowHttp: true }))
        yield* Effect.flip(built({ rpc: { "eip155:1": "nonsense" } }))
        yield* Effect.flip(built({ rpc: { "solana:x": url } }))
      }))

    it.effect("MPP_RPC_<chainId> is read for the assets in force and for MPP_NETWORKS", () =>
      Effect.gen(function*() {
        const asset = new Asset.Asset({
          network: "eip155:31337",
          address,
          symbol: "USDC",
          decimals: 6,
          usd: true,
          testnet: true
        })
        const networks = yield* Chain.Chain.use((chain) =>
          Effect.succeed(chain.networks.map((one) => [one, chain.nodes(one).length]))
        ).pipe(Effect.provide(Chain.layerConfig.pipe(
          Layer.provide(scripted(() => ({ result: "0x" })).transport),
          Layer.provide(Asset.layer([asset])),
          Layer.provide(ConfigProvider.layer(ConfigProvider.fromEnv({
            env: {
              MPP_RPC_8453: `${url}, https://second.test`,
              MPP_RPC_31337: "http://127.0.0.1:8545",
              MPP_RPC_4217: "https://tempo.test",
              MPP_RPC_7: "https://unlisted.test",
              MPP_NETWORKS: "eip155:4217"
            }
          })))
        )))
        assert.sameDeepMembers([...networks], [["eip155:8453", 2], ["eip155:31337", 1], ["eip155:4217", 1]])
      }))

    it.effect("MPP_ALLOW_HTTP decides on plain http", () =>
      Effect.gen(function*() {
        const layer = (env: Record<string, string>) =>
          Chain.layerConfig.pipe(
            Layer.provide(scripted(() => ({ result: "0x" })).transport),
            Layer.provide(ConfigProvider.layer(ConfigProvider.fromEnv({ env })))
          )
        const MPP_RPC_8453 = "http://node.internal:8545"
        yield* Effect.flip(Effect.provide(Chain.Chain.use(Effect.succeed), layer({ MPP_RPC_8453 })))
        yield* Effect.provide(Chain.Chain.use(Effect.succeed), layer({ MPP_RPC_8453, MPP_ALLOW_HTTP: "true" }))
      }))
  })

  it.effect.prop(
    "the first block at an instant is found in few reads",
    {
      gaps: Schema.Array(Schema.Int.check(Schema.isBetween({ minimum: 0, maximum: 5 }))).check(Schema.isMinLength(1)),
      instant: Schema.Int.check(Schema.isBetween({ minimum: 90, maximum: 140 }))
    },
    ({ gaps, instant }) => {
      let time = 100
      const stamps = gaps.map((gap) => time += gap)
      const blockOf = (number: number) => ({ number: BigInt(number), timestamp: BigInt(stamps[number]!) })
      const latest = blockOf(stamps.length - 1)
      const node = scripted((_, [tag]) => ({
        result: { number: tag, timestamp: hex(stamps[Number(tag)]!) }
      }))
      return withNode(node, (rpc) =>
        Effect.gen(function*() {
          const first = stamps.findIndex((stamp) => stamp >= instant)
          assert.strictEqual(
            yield* Chain.firstBlockAt(rpc, latest, BigInt(instant)),
            first === -1 ? latest.number : BigInt(first)
          )
          assert.isBelow(node.calls.length, 4 + 2 * Math.ceil(Math.log2(stamps.length + 1)) + 6)
        }))
    }
  )
})
