/** Tools, a resource and a prompt that are sold by mppx, on a server of the official SDK. */
import { McpServer } from "@modelcontextprotocol/sdk/server/mcp.js"
import type { RequestHandlerExtra } from "@modelcontextprotocol/sdk/shared/protocol.js"
import { McpError, type ServerNotification, type ServerRequest } from "@modelcontextprotocol/sdk/types.js"
import { Redacted } from "effect"
import { evm, Mppx, Store, tempo, Transport } from "mppx/server"
import { type Address, createClient, type Hex, http, publicActions, walletActions } from "viem"
import { privateKeyToAccount } from "viem/accounts"
import { baseSepolia, tempoLocalnet } from "viem/chains"
import { createNonceManager, jsonRpc } from "viem/nonce"
import { accounts } from "../../../src/testing/chain/Accounts.ts"
import * as TestToken from "../../../src/testing/chain/TestToken.ts"

export interface ChainOf {
  readonly chainId: number
  readonly rpcUrl: string
  readonly currency: string
}

export interface Chains {
  readonly tempo: ChainOf
  readonly evm: ChainOf
}

export const payee: Address = accounts[2]!.address

/** The price of everything, in dollars and in base units. */
export const price = "0.01"
export const units = 10_000n

export const text = (text: string) => [{ type: "text" as const, text }]

/** How often each tool came to what it sells. */
export type Sold = Map<string, number>

type Extra = RequestHandlerExtra<ServerRequest, ServerNotification>

const accountOf = (nth: number) => privateKeyToAccount(Redacted.value(accounts[nth]!.privateKey))

const methodsOf = (chains: Chains) => {
  const client = createClient({
    account: accountOf(2),
    chain: { ...tempoLocalnet, id: chains.tempo.chainId, rpcUrls: { default: { http: [chains.tempo.rpcUrl] } } },
    transport: http(chains.tempo.rpcUrl),
    pollingInterval: 20
  })
  const onTempo = tempo.charge({
    currency: chains.tempo.currency as Address,
    recipient: payee,
    chainId: chains.tempo.chainId,
    getClient: () => client,
    store: Store.memory()
  })
  const submitter = createClient({
    // a manager of its own: the one that viem shares remembers the transactions of chains that are gone
    account: privateKeyToAccount(Redacted.value(accounts[0]!.privateKey), {
      nonceManager: createNonceManager({ source: jsonRpc() })
    }),
    chain: baseSepolia,
    transport: http(chains.evm.rpcUrl),
    pollingInterval: 10
  }).extend(publicActions).extend(walletActions)
  // over MCP it goes by the server's transport, not by its own, which is HTTP
  const { transport: _, ...onEvm } = evm.charge({
    authorization: { name: "USDC", version: "2" },
    chainId: chains.evm.chainId,
    currency: chains.evm.currency as Address,
    decimals: 6,
    recipient: payee,
    settle: async ({ payload }) => {
      const hash = await submitter.writeContract({
        address: chains.evm.currency as Address,
        abi: TestToken.abi,
        functionName: "transferWithAuthorization",
        args: [
          payload.from as Address,
          payload.to as Address,
          BigInt(payload.value),
          BigInt(payload.validAfter),
          BigInt(payload.validBefore),
          payload.nonce as Hex,
          payload.signature as Hex
        ]
      })
      const { status } = await submitter.waitForTransactionReceipt({ hash })
      if (status !== "success") throw new Error("the transfer was reverted")
      return { reference: hash }
    }
  })
  return { onTempo, onEvm }
}

/** The same request with another amount than was signed. */
const tampered = ({ _meta, ...extra }: Extra): Extra => ({
  ...extra,
  _meta: JSON.parse(JSON.stringify(_meta ?? {}).replace(`"value":"${units}"`, `"value":"${units + 1n}"`))
})

/** Makes servers, one for each connection, that sell out of one store. */
export const make = (chains: Chains, sold: Sold = new Map()): () => McpServer => {
  const { onEvm, onTempo } = methodsOf(chains)
  const shop = Mppx.create({
    methods: [onTempo, onEvm],
    secretKey: "a secret of at least thirty-two characters",
    realm: "shop.example",
    transport: Transport.mcpSdk()
  })
  const onTempoAlone = shop.tempo.charge({ amount: price })
  const onEvmAlone = shop.evm.charge({ amount: price })
  const either = shop.compose(["evm/charge", { amount: price }], ["tempo/charge", { amount: price }])

  const sell = async <Content extends object>(
    name: string,
    counter: typeof either | typeof onTempoAlone | typeof onEvmAlone,
    extra: Extra,
    content: () => Content | Promise<Content>
  ): Promise<Content> => {
    const answer = await counter(extra)
    if (answer.status === 402) throw answer.challenge
    sold.set(name, (sold.get(name) ?? 0) + 1)
    return answer.withReceipt(await content() as never) as never
  }

  return () => {
    const server = new McpServer({ name: "another name than its own", version: "1.0.0" })
    const tool = (name: string, handler: (extra: Extra) => Promise<{ readonly content: ReturnType<typeof text> }>) =>
      server.registerTool(name, { description: name }, handler)

    const secret = (name: string) => ({ content: text(`the secret of ${name}`) })
    tool("free", async () => secret("free"))
    tool("tempo", (extra) => sell("tempo", onTempoAlone, extra, () => secret("tempo")))
    tool("evm", (extra) => sell("evm", onEvmAlone, extra, () => secret("evm")))
    tool("either", (extra) => sell("either", either, extra, () => secret("either")))
    tool(
      "failing",
      (extra) => sell("failing", onTempoAlone, extra, () => ({ isError: true, content: text("no such city") }))
    )
    // Somebody between takes the payment away.
    tool("stripped", ({ _meta, ...extra }) => sell("stripped", onTempoAlone, extra, () => secret("stripped")))
    // Somebody between changes the payment.
    tool("tampered", (extra) => sell("tampered", onEvmAlone, tampered(extra), () => secret("tampered")))
    tool("hanging", (extra) => sell("hanging", onTempoAlone, extra, () => new Promise(() => {})))
    tool("vast", async () => {
      const request = { amount: "10000", currency: chains.tempo.currency, recipient: payee, limit: 2 ** 60 }
      const challenge = { id: "c_1", realm: "shop.example", method: "tempo", intent: "charge", request }
      throw new McpError(-32042, "Payment Required", { httpStatus: 402, challenges: [challenge] })
    })
    server.registerResource(
      "data",
      "shop://data",
      {},
      (uri, extra) =>
        sell(
          "resource",
          onTempoAlone,
          extra,
          () => ({ contents: [{ uri: uri.href, text: "the secret of a resource" }] })
        )
    )
    server.registerResource(
      "tampered",
      "shop://tampered",
      {},
      (uri, extra) =>
        sell("tampered", onEvmAlone, tampered(extra), () => ({ contents: [{ uri: uri.href, text: "never" }] }))
    )
    server.prompt("ask", (extra) =>
      sell("prompt", onTempoAlone, extra, () => ({
        messages: [{ role: "user" as const, content: { type: "text" as const, text: "the secret of a prompt" } }]
      })))
    return server
  }
}
