/**
 * What leaves a wallet on a real Tempo chain: one ledger signed it and knows it, another one of the same wallet does not.
 */
import { assert, layer } from "@effect/vitest"
import { Context, Effect, Layer, Redacted } from "effect"
import { FetchHttpClient } from "effect/http"
import { generatePrivateKey } from "viem/accounts"
import * as Agent from "../../src/Agent.ts"
import * as Budget from "../../src/Budget.ts"
import * as Ledger from "../../src/Ledger.ts"
import * as TempoCharge from "../../src/rails/TempoCharge.ts"
import * as Tempo from "../../src/testing/chain/Tempo.ts"
import * as Wallet from "../../src/Wallet.ts"
import { buy, chains } from "../interop/mppxPayer.ts"
import * as MppxShops from "../interop/official/mppxShops.ts"
import { sweep } from "../interop/payer.ts"

const agent = Layer.unwrap(Effect.map(Tempo.TempoChain, ({ assets, network, rpcUrl }) =>
  Agent.layer({
    budget: Budget.research,
    rails: TempoCharge.layer(),
    ledger: Ledger.layerMemory({ quiet: true }),
    assets,
    rpc: { [network]: rpcUrl },
    sweep: false
  }))).pipe(Layer.provide(FetchHttpClient.layer), Layer.fresh)

const state = Effect.gen(function*() {
  const ledger = yield* Ledger.Ledger
  const { exposed, spent } = yield* ledger.standing("agent:default", 3_600_000)
  const foreign = (yield* ledger.foreigns({})).map(({ payee, units }) => [payee, units])
  return { exposed, spent, foreign }
})

layer(Layer.provideMerge(MppxShops.layer, chains), { excludeTestServices: true, timeout: "60 seconds" })(
  "an account on a Tempo chain",
  (it) => {
    it.effect("tells what others paid from it, their fees included, and nothing of what the ledger knows", () =>
      Effect.gen(function*() {
        const chain = yield* Tempo.TempoChain
        const wallet = yield* Layer.build(Wallet.layerPrivateKey(Redacted.make(generatePrivateKey())))
        const { address } = Context.get(wallet, Wallet.Wallet)
        yield* chain.fund(address, 1_000_000n)
        const [ours, theirs] = [
          yield* Layer.build(Layer.provide(agent, Layer.succeedContext(wallet))),
          yield* Layer.build(Layer.provide(agent, Layer.succeedContext(wallet)))
        ]
        yield* Effect.provide(sweep, ours)
        yield* Effect.provide(sweep, theirs)
        const had = yield* chain.balance(address)
        for (const path of ["/pull", "/push", "/sponsored", "/split-two"]) {
          yield* Effect.provide(buy(path), ours)
        }
        yield* chain.mine(3)
        for (let at = 0; at < 2; at++) {
          yield* Effect.provide(sweep, ours)
          yield* Effect.provide(sweep, theirs)
        }
        const paid = had - (yield* chain.balance(address))
        assert.isTrue(paid > 40_000n)
        assert.deepStrictEqual(yield* Effect.provide(state, ours), { exposed: 0n, spent: paid, foreign: [] })
        const payment = [MppxShops.payee.toLowerCase(), MppxShops.units]
        assert.deepStrictEqual(yield* Effect.provide(state, theirs), {
          exposed: 0n,
          spent: paid,
          foreign: [payment, payment, payment, payment]
        })
      }))
  }
)
