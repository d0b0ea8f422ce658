/** Our whole agent as a payer of channel sessions on a local Tempo chain. */
import { Effect, Layer, Redacted } from "effect"
import { FetchHttpClient, HttpClientRequest } from "effect/http"
import { generatePrivateKey, privateKeyToAddress } from "viem/accounts"
import * as Agent from "../../src/Agent.ts"
import * as Budget from "../../src/Budget.ts"
import * as Ledger from "../../src/Ledger.ts"
import * as PayingClient from "../../src/PayingClient.ts"
import * as Payment from "../../src/Payment.ts"
import * as TempoSession from "../../src/rails/TempoSession.ts"
import * as Tempo from "../../src/testing/chain/Tempo.ts"
import * as Wallet from "../../src/Wallet.ts"
import { impatient } from "./payer.ts"

/** Base units that a payer begins with: ten dollars. */
export const wealth = 10_000_000n

/** A payer, and what it has less than in the beginning. */
export const payer = Effect.fnUntraced(
  function*(ledger: Layer.Layer<Ledger.Ledger, unknown> = Ledger.layerMemory({ quiet: true })) {
    const chain = yield* Tempo.TempoChain
    const privateKey = generatePrivateKey()
    const address = privateKeyToAddress(privateKey)
    yield* chain.fund(address, wealth)
    const agent = Agent.layer({
      budget: Budget.make({ limit: "5", window: "1 hour" }),
      rails: TempoSession.layer({ allowEphemeral: true }).pipe(
        Layer.provide(Wallet.layerPrivateKey(Redacted.make(privateKey)))
      ),
      ledger,
      assets: chain.assets,
      rpc: { [chain.network]: chain.rpcUrl },
      sweep: false
    }).pipe(Layer.provide(FetchHttpClient.layer), Layer.provideMerge(impatient))
    return { address, agent, gone: Effect.map(chain.balance(address), (left) => wealth - left) }
  }
)

/** One of many requests. */
export const buyAt = Effect.fnUntraced(function*(url: string) {
  const client = yield* PayingClient.PayingClient
  const response = yield* client.execute(HttpClientRequest.get(url))
  return { status: response.status, json: yield* response.json }
}, Payment.with({ expect: 100 }))

export const standing = Effect.map(
  Ledger.Ledger.use((ledger) => ledger.standing("agent:default", 3_600_000)),
  ({ exposed, spent }) => ({ exposed, spent })
)
