/**
 * Our agent buys from MCP servers of the official SDK that sell by mppx, over standard streams and over HTTP, and from one
 * that sells over x402. What the chains say moved is what the ledger says was spent.
 */
import { NodeServices } from "@effect/platform-node"
import { assert, layer } from "@effect/vitest"
import { StreamableHTTPServerTransport } from "@modelcontextprotocol/sdk/server/streamableHttp.js"
import type { Transport } from "@modelcontextprotocol/sdk/shared/transport.js"
import { Context, Effect, Fiber, Layer, Schedule } from "effect"
import { McpClient, type McpClientError, McpProtocol } from "effect/ai"
import { ChildProcess } from "effect/process"
import { randomUUID } from "node:crypto"
import { createServer } from "node:http"
import { join } from "node:path"
import * as Ledger from "../../src/Ledger.ts"
import * as PayingMcp from "../../src/PayingMcp.ts"
import * as Evm from "../../src/testing/chain/Evm.ts"
import * as Tempo from "../../src/testing/chain/Tempo.ts"
import * as Wallet from "../../src/Wallet.ts"
import { agent, chains, finalize } from "./mppxPayer.ts"
import { OfficialFacilitator } from "./official/facilitator.ts"
import { listen } from "./official/loopback.ts"
import * as Shop from "./official/mcpShop.ts"
import * as X402 from "./official/mcpX402.ts"
import { purchases, reasonOf, standing, sweep } from "./payer.ts"

const protocol = McpProtocol.v2025_11_25

// ---------------------------------------------------------------------------------------------------------------------
// Servers
// ---------------------------------------------------------------------------------------------------------------------

/** A server per session, on loopback until the scope closes. */
const serve = Effect.fnUntraced(function*(make: () => { readonly connect: (transport: Transport) => Promise<void> }) {
  const sessions = new Map<string, StreamableHTTPServerTransport>()
  const server = createServer(async (request, response) => {
    const known = sessions.get(String(request.headers["mcp-session-id"]))
    const transport = known ?? new StreamableHTTPServerTransport({
      sessionIdGenerator: randomUUID,
      onsessioninitialized: (id) => void sessions.set(id, transport)
    })
    if (known === undefined) await make().connect(transport as Transport)
    await transport.handleRequest(request, response)
  })
  const url = yield* listen(server)
  return `${url}/mcp`
})

const places = Effect.gen(function*() {
  const tempo = yield* Tempo.TempoChain
  const evm = yield* Evm.EvmChain
  return {
    tempo: { chainId: tempo.chainId, rpcUrl: tempo.rpcUrl, currency: tempo.pathUsd.address },
    evm: { chainId: evm.chainId, rpcUrl: evm.rpcUrl, currency: evm.asset.address }
  } satisfies Shop.Chains
})

class Shops extends Context.Service<Shops, {
  readonly url: string
  readonly x402Url: string
  readonly sold: Shop.Sold
}>()("test/interop/mcp/Shops") {
  static readonly layer = Layer.effect(
    Shops,
    Effect.gen(function*() {
      const { asset, network } = yield* Evm.EvmChain
      const facilitator = yield* OfficialFacilitator
      const sold: Shop.Sold = new Map()
      return {
        url: yield* serve(Shop.make(yield* places, sold)),
        x402Url: yield* serve(X402.make({ asset: asset.address, network, facilitator }, sold)),
        sold
      }
    })
  )
}

// ---------------------------------------------------------------------------------------------------------------------
// Clients
// ---------------------------------------------------------------------------------------------------------------------

/** A client that does not know that it pays. */
const client = Layer.effect(McpClient.McpClient)(McpClient.make({ name: "test", version: "1.0.0" }))

const overStdio = Layer.unwrap(Effect.map(places, (where) =>
  PayingMcp.layerStdio({
    server: "shop",
    command: ChildProcess.make(process.execPath, [
      join(import.meta.dirname, "official/mcpStdio.ts"),
      JSON.stringify(where)
    ]),
    protocol
  }))).pipe(Layer.provide(NodeServices.layer))

const overHttp = Layer.unwrap(Shops.use(({ url }) => Effect.succeed(PayingMcp.layerHttp({ url, protocol }))))
const overX402 = Layer.unwrap(Shops.use(({ x402Url: url }) => Effect.succeed(PayingMcp.layerHttp({ url, protocol }))))

const buying = <E, R>(transport: Layer.Layer<McpClient.Transport, E, R>) =>
  client.pipe(Layer.provide(transport), Layer.provideMerge(agent()))

const call = (name: string) =>
  Effect.gen(function*() {
    const client = yield* McpClient.McpClient
    const tool = (yield* client.listTools()).find((it) => it.name === name)
    return yield* client.callTool({ tool: tool!, arguments: {} })
  })

/** What the agent's account has paid so far. */
const transfers = Effect.gen(function*() {
  const { address } = yield* Wallet.Wallet
  const isSame = (one: string, other: string) => one.toLowerCase() === other.toLowerCase()
  const all = [
    ...yield* Tempo.TempoChain.use((tempo) => tempo.transfers()),
    ...yield* Evm.EvmChain.use((evm) => evm.transfers)
  ]
  return all.filter(({ from, to }) => isSame(from, address) && isSame(to, Shop.payee))
})

/** What moved from it while the effect ran. */
const during = Effect.fnUntraced(function*<A, E, R>(effect: Effect.Effect<A, E, R>) {
  const before = (yield* transfers).length
  const value = yield* effect
  return { value, moved: (yield* transfers).slice(before).map(({ units }) => units) }
})

const once = [Shop.units]

/** Everything is settled and proven, and what was spent is at least the price. */
const settled = Effect.gen(function*() {
  yield* finalize
  yield* sweep
  const all = yield* purchases
  assert.deepStrictEqual(all.map(({ states }) => states), [["settled"]])
  const { exposed, spent } = yield* standing
  assert.strictEqual(exposed, 0n)
  assert.isTrue(spent >= Shop.units && spent < 2n * Shop.units, `${spent} were spent`)
})

const all = Shops.layer.pipe(Layer.provideMerge(OfficialFacilitator.layer()), Layer.provideMerge(chains))

type Shopping = Layer.Layer<
  McpClient.Transport,
  McpClientError.McpClientError,
  Layer.Success<typeof all> | Layer.Success<ReturnType<typeof agent>>
>

const options = { excludeTestServices: true, timeout: "60 seconds" } as const

// A chain for each kind: whenever blocks are made to be final, its clock runs ahead of ours.
for (
  const { kind, origin, transport } of [
    { kind: "over standard streams", origin: "mcp://shop", transport: overStdio },
    { kind: "over HTTP", origin: undefined, transport: overHttp }
  ] satisfies ReadonlyArray<{ kind: string; origin: string | undefined; transport: Shopping }>
) {
  const buyer: Layer.Layer<
    McpClient.McpClient | Layer.Success<ReturnType<typeof agent>>,
    unknown,
    Layer.Success<typeof all>
  > = buying<McpClientError.McpClientError, Layer.Success<typeof all> | Layer.Success<ReturnType<typeof agent>>>(
    transport
  )

  layer(all, options)(`an agent at a shop of tools ${kind}`, (it) => {
    for (const name of origin === undefined ? ["tempo", "evm", "either"] : ["tempo"]) {
      it.effect(`buys a tool that is sold by ${name}`, () =>
        Effect.gen(function*() {
          const { moved, value } = yield* during(call(name))
          assert.deepInclude(value.content[0], { type: "text", text: `the secret of ${name}` })
          assert.deepStrictEqual(moved, once)
          const [bought] = yield* Ledger.Ledger.use((ledger) => ledger.purchases({}))
          assert.strictEqual(bought?.purchase.origin, origin ?? new URL((yield* Shops).url).origin)
          assert.strictEqual(bought?.purchase.delivery, "delivered")
          yield* settled
        }).pipe(Effect.provide(buyer)))
    }

    it.effect("buys resources and prompts, and takes what is free", () =>
      Effect.gen(function*() {
        const client = yield* McpClient.McpClient
        const [prompt] = yield* client.listPrompts()
        const { moved } = yield* during(Effect.gen(function*() {
          const { contents: [content] } = yield* client.readResource({ uri: "shop://data" })
          assert.deepInclude(content, { text: "the secret of a resource" })
          const { messages: [message] } = yield* client.getPrompt({ prompt: prompt! })
          assert.deepInclude(message?.content, { text: "the secret of a prompt" })
          assert.deepInclude((yield* call("free")).content[0], { text: "the secret of free" })
        }))
        assert.deepStrictEqual(moved, [Shop.units, Shop.units])
        assert.strictEqual((yield* purchases).length, 2)
      }).pipe(Effect.provide(buyer)))

    it.effect("knows what it paid to a tool that failed", () =>
      Effect.gen(function*() {
        const { moved, value: { money, reason } } = yield* during(reasonOf(call("failing")))
        assert(reason._tag === "PaidUndelivered")
        assert.deepStrictEqual([money, reason.merchantText, moved], ["spent", "no such city", once])
        yield* settled
      }).pipe(Effect.provide(buyer)))

    it.effect("pays nobody whose metadata is taken away, and asks no second time", () =>
      Effect.gen(function*() {
        const { moved, value } = yield* during(Effect.forEach([1, 2], () => reasonOf(call("stripped"))))
        assert.deepStrictEqual(value.map(({ money, reason }) => [reason._tag, money]), [
          ["PaymentUncertain", "unknown"],
          ["PaymentUncertain", "unknown"]
        ])
        assert.deepStrictEqual(moved, [])
      }).pipe(Effect.provide(buyer)))

    it.effect("holds what was refused, however the server says so", () =>
      Effect.gen(function*() {
        const client = yield* McpClient.McpClient
        const { moved, value } = yield* during(Effect.all([
          reasonOf(call("tampered")),
          reasonOf(client.readResource({ uri: "shop://tampered" }))
        ]))
        assert.deepStrictEqual(value.map(({ money, reason }) => [reason._tag, money]), [
          ["PaymentRejected", "held"],
          ["PaymentRejected", "held"]
        ])
        assert.deepStrictEqual(moved, [])
      }).pipe(Effect.provide(buyer)))

    it.effect("signs nothing for numbers that may have lost digits", () =>
      Effect.gen(function*() {
        const { money, reason } = yield* reasonOf(call("vast"))
        assert(reason._tag === "PolicyDenied")
        assert.deepStrictEqual([reason.rule, money], ["inexact-number", "unspent"])
      }).pipe(Effect.provide(buyer)))

    it.effect("finds out what became of a call that it gave up, and pays no second time", () =>
      Effect.gen(function*() {
        const { moved, value } = yield* during(Effect.gen(function*() {
          const fiber = yield* Effect.forkChild(call("hanging"))
          yield* Effect.repeat(transfers, { schedule: Schedule.spaced("50 millis"), until: (all) => all.length > 0 })
          yield* Fiber.interrupt(fiber)
          assert.deepStrictEqual((yield* purchases).map(({ states }) => states), [["unknown"]])
          yield* finalize
          yield* sweep
          return yield* reasonOf(call("hanging"))
        }))
        assert.deepStrictEqual([value.reason._tag, value.money, moved], ["PaidUndelivered", "spent", once])
        assert.strictEqual((yield* purchases).length, 1)
      }).pipe(Effect.provide(buyer)))
  })
}

layer(all, options)("an agent at a shop of tools over x402", (it) => {
  for (const version of ["v2", "v1"]) {
    it.effect(`buys a tool in the form of ${version}`, () =>
      Effect.gen(function*() {
        const { moved, value } = yield* during(call(version))
        assert.deepInclude(value.content[0], { text: "the secret of x402" })
        assert.deepStrictEqual(moved, once)
        assert.strictEqual((yield* Shops).sold.get(version), 1)
        yield* settled
      }).pipe(Effect.provide(buying(overX402))))
  }
})
