import { Effect, Layer, Redacted } from "effect"
import { FetchHttpClient, type HttpClient, HttpClientRequest } from "effect/http"
import type { Address } from "viem"
import { generatePrivateKey } from "viem/accounts"
import * as Agent from "../../src/Agent.ts"
import * as Budget from "../../src/Budget.ts"
import * as Ledger from "../../src/Ledger.ts"
import * as PayingClient from "../../src/PayingClient.ts"
import * as EvmCharge from "../../src/rails/EvmCharge.ts"
import * as ExactEvm from "../../src/rails/ExactEvm.ts"
import * as TempoCharge from "../../src/rails/TempoCharge.ts"
import * as Evm from "../../src/testing/chain/Evm.ts"
import * as Tempo from "../../src/testing/chain/Tempo.ts"
import * as Wallet from "../../src/Wallet.ts"
import { MppxShops } from "./official/mppxShops.ts"
import { impatient } from "./payer.ts"

/** Both chains, whose blocks are final as soon as two more are on top of them. */
export const chainsOf = (tempo?: Tempo.Options) =>
  Layer.merge(Tempo.layer(tempo), Evm.layer({ chainId: 84532, args: ["--slots-in-an-epoch", "1"] }))

export const chains = chainsOf()

/** What a payer begins with, on either chain. */
const wealth = 1_000_000n

/**
 * A whole agent that can pay by every rail of a charge, out of an account that nobody has used before. Its wallet is
 * provided beside it.
 */
export const agent = (options: {
  readonly tempo?: TempoCharge.Options
  /** What the account holds on Tempo. Default: a dollar. */
  readonly funds?: bigint
  readonly client?: Layer.Layer<HttpClient.HttpClient>
  readonly acceptPayment?: boolean
} = {}) =>
  Layer.unwrap(Effect.gen(function*() {
    const { address } = yield* Wallet.Wallet
    const tempo = yield* Tempo.TempoChain
    const evm = yield* Evm.EvmChain
    const { funds = wealth } = options
    if (funds > 0n) yield* tempo.fund(address, funds)
    yield* evm.mint(address, wealth)
    return Agent.layer({
      budget: Budget.research,
      rails: Layer.mergeAll(
        TempoCharge.layer(options.tempo),
        EvmCharge.layer({ networks: [evm.network] }),
        ExactEvm.layer({ networks: [evm.network] })
      ),
      ledger: Ledger.layerMemory({ quiet: true }),
      assets: [...tempo.assets, evm.asset],
      rpc: { [tempo.network]: tempo.rpcUrl, [evm.network]: evm.rpcUrl },
      sweep: false,
      ...(options.acceptPayment === undefined ? {} : { acceptPayment: options.acceptPayment })
    })
  })).pipe(
    Layer.provide(options.client ?? FetchHttpClient.layer),
    Layer.provideMerge(impatient),
    Layer.provideMerge(Layer.fresh(wallet))
  )

const wallet = Layer.suspend(() => Wallet.layerPrivateKey(Redacted.make(generatePrivateKey())))

/** Asks the shop, pays, and reads the answer to its end. */
export const buy = Effect.fnUntraced(function*(path: string) {
  const { url } = yield* MppxShops
  const client = yield* PayingClient.PayingClient
  return yield* Effect.flatMap(client.execute(HttpClientRequest.get(`${url}${path}`)), (response) => response.json)
})

/** Where the agent's money went while the effect ran, as each of those says who had to do with it. */
export const during = Effect.fnUntraced(function*<A, E, R>(effect: Effect.Effect<A, E, R>) {
  const { sales, seen } = yield* MppxShops
  const tempo = yield* Tempo.TempoChain
  const evm = yield* Evm.EvmChain
  const { address } = yield* Wallet.Wallet
  const before = {
    sales: (yield* sales).length,
    seen: (yield* seen).length,
    tempo: yield* tempo.balance(address),
    evm: yield* evm.balance(address)
  }
  const value = yield* effect
  const credentials = (yield* seen).slice(before.seen).flatMap(({ credential }) => credential ?? [])
  return {
    value,
    /** Requests with a credential, and the different credentials. */
    sent: credentials.length,
    signed: new Set(credentials).size,
    credentials,
    sales: (yield* sales).slice(before.sales),
    /** What the account has less, fees included. */
    paid: { tempo: before.tempo - (yield* tempo.balance(address)), evm: before.evm - (yield* evm.balance(address)) },
    transfers: (yield* tempo.transfers()).filter(({ from }) => isSame(from, address))
  }
})

const isSame = (one: Address, other: Address) => one.toLowerCase() === other.toLowerCase()

/** Makes all blocks so far final, and asks the chains about everything that rests on a merchant's word. */
export const finalize = Effect.gen(function*() {
  yield* Tempo.TempoChain.use(({ mine }) => mine(3))
  yield* Evm.EvmChain.use(({ mine }) => mine(3))
})
