import { Effect, Layer, Option, Schedule } from "effect"
import { FetchHttpClient, type HttpClient, HttpClientRequest } from "effect/http"
import * as Agent from "../../src/Agent.ts"
import * as Budget from "../../src/Budget.ts"
import * as Ledger from "../../src/Ledger.ts"
import * as PayingClient from "../../src/PayingClient.ts"
import * as PaymentError from "../../src/PaymentError.ts"
import * as ExactEvm from "../../src/rails/ExactEvm.ts"
import * as Reconciler from "../../src/Reconciler.ts"
import * as RetryPolicy from "../../src/RetryPolicy.ts"
import * as Evm from "../../src/testing/chain/Evm.ts"
import * as TestWallet from "../../src/testing/TestWallet.ts"
import type * as Wallet from "../../src/Wallet.ts"
import { OfficialServer } from "./official/servers.ts"

/** A local chain whose blocks are final as soon as two more are on top of them. */
export const chain = (options: Evm.Options = {}) =>
  Evm.layer({ chainId: 84532, ...options, args: ["--slots-in-an-epoch", "1"] })

/** Makes all blocks so far final. */
export const finalize = Evm.EvmChain.use(({ mine }) => mine(3))

/** Tries as often in an outage as the defaults, without waiting as long. */
export const impatient = Layer.succeed(RetryPolicy.RetryPolicy, {
  ...RetryPolicy.defaults,
  Unavailable: Schedule.spaced("20 millis").pipe(
    Schedule.setInputType<PaymentError.Unavailable>(),
    Schedule.upTo({ times: 4 })
  )
})

/** A whole agent, with a dollar of its own on the chain unless its wallet is another. */
export const agent = (options: {
  readonly client?: Layer.Layer<HttpClient.HttpClient>
  readonly wallet?: Layer.Layer<Wallet.Wallet>
} = {}) =>
  Layer.unwrap(Effect.gen(function*() {
    const { asset, mint, network, rpcUrl } = yield* Evm.EvmChain
    yield* mint(TestWallet.address, 1_000_000n)
    return Agent.layer({
      budget: Budget.research,
      rails: ExactEvm.layer({ networks: [network] }).pipe(Layer.provide(options.wallet ?? TestWallet.layer)),
      ledger: Ledger.layerMemory({ quiet: true }),
      assets: [asset],
      rpc: { [network]: rpcUrl },
      sweep: false
    })
  })).pipe(
    Layer.provide(options.client ?? FetchHttpClient.layer),
    Layer.provideMerge(impatient)
  )

/** Asks the server for it, and pays. */
export const request = Effect.fnUntraced(function*(made: HttpClientRequest.HttpClientRequest) {
  const { url } = yield* OfficialServer
  const client = yield* PayingClient.PayingClient
  return yield* client.execute(HttpClientRequest.prependUrl(made, url))
})

export const get = (path: string) => request(HttpClientRequest.get(path))

/** The transfers of the token while the effect ran. */
export const transfersDuring = Effect.fnUntraced(function*<A, E, R>(effect: Effect.Effect<A, E, R>) {
  const { transfers } = yield* Evm.EvmChain
  const before = (yield* transfers).length
  const value = yield* effect
  return { value, transfers: (yield* transfers).slice(before) }
})

/** What the server was sent while the effect ran: the requests with a credential, and the different credentials. */
export const paidRequestsDuring = Effect.fnUntraced(function*<A, E, R>(effect: Effect.Effect<A, E, R>) {
  const { seen } = yield* OfficialServer
  const before = (yield* seen).length
  const value = yield* effect
  const credentials = (yield* seen).slice(before).flatMap(({ credential }) => credential ?? [])
  return { value, sent: credentials.length, signed: new Set(credentials).size }
})

export const reasonOf = <A, E, R>(effect: Effect.Effect<A, E, R>) =>
  Effect.map(Effect.flip(effect), (error) => Option.getOrThrow(PaymentError.find(error)))

/** Every purchase of the agent, as its ledger has it. */
export const purchases = Effect.map(
  Ledger.Ledger.use((ledger) => ledger.purchases({})),
  (all) =>
    all.map(({ authorizations, purchase }) => ({
      delivery: purchase.delivery,
      states: authorizations.map(({ state }) => state),
      evidence: authorizations.map(({ evidence }) => evidence.at(-1))
    }))
)

/** What the agent has spent and what it holds, in micro-dollars. */
export const standing = Effect.map(
  Ledger.Ledger.use((ledger) => ledger.standing("agent:default", 3_600_000)),
  ({ exposed, spent }) => ({ exposed, spent })
)

/** Asks the chain about everything whose outcome is open, or rests on a merchant's word. */
export const sweep = Reconciler.Reconciler.use((reconciler) => reconciler.sweep)
