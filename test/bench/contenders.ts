/** Who is measured: programs that make one request and read the answer to its end. */
import { ExactEvmScheme } from "@x402/evm/exact/client"
import { wrapFetchWithPayment, x402Client } from "@x402/fetch"
import { Effect, Layer, Redacted, Schema } from "effect"
import { FetchHttpClient, type HttpClient } from "effect/http"
import { Mppx, tempo } from "mppx/client"
import { privateKeyToAccount } from "viem/accounts"
import * as Agent from "../../src/Agent.ts"
import { Asset } from "../../src/Asset.ts"
import * as Budget from "../../src/Budget.ts"
import * as Ledger from "../../src/Ledger.ts"
import * as Payment from "../../src/Payment.ts"
import * as ExactEvm from "../../src/rails/ExactEvm.ts"
import * as TempoCharge from "../../src/rails/TempoCharge.ts"
import * as TokenSession from "../../src/rails/TokenSession.ts"
import * as Transport from "../../src/Transport.ts"
import * as Wallet from "../../src/Wallet.ts"
import { tempoClient } from "../interop/official/mppxShops.ts"
import { answer } from "./answer.ts"

export const Merchant = Schema.Struct({ origin: Schema.String, endpoint: Schema.String, credential: Schema.String })

const Key = Schema.TemplateLiteral(["0x", Schema.String])

export const Official = Schema.Struct({
  origin: Schema.String,
  network: Schema.String,
  payers: Schema.Tuple([Key, Key])
})

export const OnTempo = Schema.Struct({
  origin: Schema.String,
  chainId: Schema.Number,
  rpcUrl: Schema.String,
  token: Schema.String,
  payers: Schema.Tuple([Key, Key])
})

/** How many requests left this process, to servers and to chains. */
export let sent = 0

/** What everybody sends through. It reaches this machine only. */
export const loopback: typeof fetch = (input, init) => {
  const url = new URL(input instanceof Request ? input.url : input)
  if (!Transport.isLoopback(url)) throw new Error(`the benchmark reaches this machine only, not ${url.origin}`)
  sent++
  return fetch(input, init)
}

const expect = (url: string, status: number, text: string, body: string) => {
  if (status !== 200 || text !== body) throw new Error(`${url} answered ${status}: ${text.slice(0, 200)}`)
}

/** A request through the program's client. */
export const request = (client: HttpClient.HttpClient, url: string, body: string): Effect.Effect<void> =>
  client.get(url).pipe(
    Effect.flatMap((response) => Effect.map(response.text, (text) => expect(url, response.status, text, body))),
    Effect.orDie
  )

/** The answers, as they are on the wire. */
export const bodies = { ours: JSON.stringify(answer), official: JSON.stringify({ secret: 42 }) }

/** One agent for everything: both rails, and more budget than it can spend. */
export const agent = (merchant: typeof Merchant.Type, official: typeof Official.Type) =>
  Agent.layer({
    budget: Budget.make({ limit: "1000", window: "1 hour" }),
    policy: { networks: [official.network] },
    ledger: Ledger.layerMemory({ quiet: true }),
    rails: Layer.merge(
      TokenSession.layer({
        credential: Redacted.make(merchant.credential),
        origins: [merchant.origin],
        endpoint: merchant.endpoint
      }),
      ExactEvm.layer({ networks: [official.network] }).pipe(
        Layer.provide(Wallet.layerPrivateKey(Redacted.make(official.payers[0])))
      )
    )
  }).pipe(Layer.provide(FetchHttpClient.layer))

/** An agent that pays on Tempo, and asks its chain by the client that the benchmark counts. */
export const agentOnTempo = ({ chainId, payers: [key], rpcUrl, token }: typeof OnTempo.Type) => {
  const network = `eip155:${chainId}`
  return Agent.layer({
    budget: Budget.make({ limit: "1000", window: "1 hour" }),
    ledger: Ledger.layerMemory({ quiet: true }),
    assets: [new Asset({ network, address: token, symbol: "pathUSD", decimals: 6, usd: true, testnet: true })],
    rpc: { [network]: rpcUrl },
    sweep: false,
    rails: TempoCharge.layer().pipe(Layer.provide(Wallet.layerPrivateKey(Redacted.make(key))))
  }).pipe(Layer.provide(FetchHttpClient.layer))
}

/** The session is opened for more requests than there are. */
export const expecting = Payment.with({ expect: 1_000_000 })

/** `@x402/fetch` as its manual has it. */
export const officialFetch = (official: typeof Official.Type) => {
  const account = privateKeyToAccount(official.payers[1])
  return wrapFetchWithPayment(loopback, new x402Client().register("eip155:*", new ExactEvmScheme(account)))
}

/** The client of mppx as its manual has it. */
export const mppxFetch = ({ payers: [, key], ...chain }: typeof OnTempo.Type): typeof fetch => {
  const account = privateKeyToAccount(key)
  const client = tempoClient(account, chain, loopback)
  return Mppx.create({
    polyfill: false,
    fetch: loopback,
    methods: [tempo.charge({ account, getClient: () => client })]
  }).fetch
}

/** A request through a fetch that pays. */
export const fetched = (fetching: typeof fetch, url: string, body: string) => async () => {
  const response = await fetching(url)
  expect(url, response.status, await response.text(), body)
}
