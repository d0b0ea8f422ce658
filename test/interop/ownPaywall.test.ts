/** Our whole agent at our own paywall: what the one takes and the other spends is the same to the unit. */
import { NodeHttpServer } from "@effect/platform-node"
import { assert, layer } from "@effect/vitest"
import { Effect, Layer, Redacted } from "effect"
import { SecureRandom } from "effect/crypto"
import { FetchHttpClient, HttpClientRequest, HttpRouter, HttpServerResponse } from "effect/http"
import type { Address } from "viem"
import { privateKeyToAccount } from "viem/accounts"
import * as Chain from "../../src/Chain.ts"
import * as Paywall from "../../src/merchant/Paywall.ts"
import * as PayingClient from "../../src/PayingClient.ts"
import type * as TempoCharge from "../../src/rails/TempoCharge.ts"
import * as Evm from "../../src/testing/chain/Evm.ts"
import * as LocalFacilitator from "../../src/testing/chain/LocalFacilitator.ts"
import * as Tempo from "../../src/testing/chain/Tempo.ts"
import * as Transport from "../../src/Transport.ts"
import * as Wallet from "../../src/Wallet.ts"
import { localUrl } from "../merchant/signedPayments.ts"
import { agent, chains, finalize } from "./mppxPayer.ts"
import { purchases, standing, sweep } from "./payer.ts"

const secret = Redacted.make("0123456789abcdef0123456789abcdef")
const affiliate: Address = "0x00000000000000000000000000000000000a11ce"

const Routes = Layer.unwrap(
  Effect.map(Effect.all([Tempo.TempoChain, Evm.EvmChain]), ([{ accounts, pathUsd }, { asset }]) => {
    const payTo = accounts[2]!.address
    const tempo = (options: Partial<Paywall.TempoOptions> = {}) =>
      Paywall.tempo({ secret, accepts: [{ asset: pathUsd, payTo }], ...options })
    const evm = Paywall.evm({ secret, accepts: [{ asset, payTo }] })
    const x402 = Paywall.x402({ accepts: [{ asset, payTo }] })
    const sells = <const Ways extends Paywall.Options<ReadonlyArray<ReturnType<typeof tempo> | typeof evm>>["ways"]>(
      path: `/${string}`,
      ways: Ways,
      price = "0.01"
    ) =>
      Paywall.route("*", path, { price }, HttpServerResponse.json({ secret: 42 })).pipe(
        HttpRouter.provideRequest(Paywall.layer({ ways }))
      )
    const feePayer = { account: privateKeyToAccount(Redacted.value(accounts[3]!.privateKey)) }
    return Layer.mergeAll(
      sells("/plain", [tempo()]),
      sells("/sponsored", [tempo({ feePayer })]),
      sells("/split", [tempo({ splits: [{ payTo: affiliate, basisPoints: 2_500, memo: `0x${"0a".repeat(32)}` }] })]),
      sells("/free", [tempo()], "0"),
      sells("/evm", [evm]),
      sells("/everything", [tempo(), evm, x402])
    )
  })
)

const ChainLive = Layer.unwrap(
  Effect.map(Tempo.TempoChain, ({ network, rpcUrl }) => Chain.layer({ rpc: { [network]: rpcUrl } }))
).pipe(
  Layer.provide(Layer.provide(Transport.layer, FetchHttpClient.layer))
)

const World = HttpRouter.serve(Routes, { disableLogger: true }).pipe(
  Layer.provideMerge(
    Layer.mergeAll(SecureRandom.layerWebCrypto, LocalFacilitator.layer(), ChainLive, NodeHttpServer.layerTest)
  ),
  Layer.provideMerge(chains)
)

/** What the agent has less, and the payee more, on either chain. */
const moved = Effect.fnUntraced(function*<A, E, R>(effect: Effect.Effect<A, E, R>) {
  const [tempo, evm] = [yield* Tempo.TempoChain, yield* Evm.EvmChain]
  const { address } = yield* Wallet.Wallet
  const both = (account: Address) => Effect.zipWith(tempo.balance(account), evm.balance(account), (a, b) => a + b)
  const payee = tempo.accounts[2]!.address
  const [had, earned] = [yield* both(address), yield* both(payee)]
  const value = yield* effect
  return { value, paid: had - (yield* both(address)), got: (yield* both(payee)) - earned }
})

const buy = Effect.fnUntraced(function*(path: string, method: "GET" | "POST" = "GET") {
  const client = yield* PayingClient.PayingClient
  const url = `${yield* localUrl}${path}`
  const request = method === "GET"
    ? HttpClientRequest.get(url)
    : HttpClientRequest.bodyJsonUnsafe(HttpClientRequest.post(url), { question: 1 })
  return yield* Effect.flatMap(client.execute(request), (response) => response.json)
})

const cases: ReadonlyArray<{
  readonly what: string
  readonly path: string
  readonly got: bigint
  readonly method?: "POST"
  readonly tempo?: TempoCharge.Options
}> = [
  { what: "a charge on Tempo", path: "/plain", got: 10_000n },
  { what: "a charge on Tempo that it broadcasts itself", path: "/plain", got: 10_000n, tempo: { mode: "push" } },
  { what: "a charge on Tempo whose fee the merchant pays", path: "/sponsored", got: 10_000n },
  { what: "a charge on Tempo that is split", path: "/split", got: 7_500n },
  { what: "a charge for a request with a body", path: "/plain", got: 10_000n, method: "POST" },
  { what: "nothing, and proves its account", path: "/free", got: 0n },
  { what: "a charge on an EVM chain", path: "/evm", got: 10_000n },
  { what: "in one of the ways of a route that sells in every way", path: "/everything", got: 10_000n }
]

layer(World, { excludeTestServices: true, timeout: "60 seconds" })("an agent at our own paywall", (it) => {
  for (const acceptPayment of [false, true]) {
    for (const { got, method, path, tempo = {}, what } of cases) {
      it.effect(`pays ${what}${acceptPayment ? ", and says before how it can pay" : ""}`, () =>
        Effect.gen(function*() {
          const bought = yield* moved(buy(path, method))
          assert.deepStrictEqual([bought.value, bought.got], [{ secret: 42 }, got])
          yield* finalize
          yield* sweep
          const all = yield* purchases
          // What is free is spent by nobody.
          assert.deepStrictEqual(all.map(({ states }) => states), [[path === "/free" ? "released" : "settled"]])
          assert.isTrue(path === "/free" || all[0]!.evidence[0]?.rank === "proven")
          assert.deepStrictEqual(yield* standing, { spent: bought.paid, exposed: 0n })
        }).pipe(Effect.provide(agent({ tempo, acceptPayment }))))
    }
  }
})
