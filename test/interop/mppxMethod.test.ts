/**
 * The real client method of mppx for Tempo, as a rail of our agent, pays real servers of mppx on a local Tempo chain.
 */
import { assert, layer } from "@effect/vitest"
import { Effect, Layer, Option } from "effect"
import { FetchHttpClient, HttpClient } from "effect/http"
import { tempo } from "mppx/client"
import type { LocalAccount } from "viem"
import * as Agent from "../../src/Agent.ts"
import * as Ledger from "../../src/Ledger.ts"
import * as PaymentError from "../../src/PaymentError.ts"
import * as Mppx from "../../src/rails/Mppx.ts"
import * as Evm from "../../src/testing/chain/Evm.ts"
import * as Tempo from "../../src/testing/chain/Tempo.ts"
import { stranger } from "../testing/chain/tempoClient.ts"
import * as Shops from "./official/mppxShops.ts"

const feeUsd = 5_000n

/** A whole agent that knows nothing of Tempo, but has a method that does. */
const agent = (
  account: LocalAccount,
  around: (method: Mppx.ClientMethod) => Mppx.ClientMethod = (method) => method
) =>
  Layer.unwrap(Effect.gen(function*() {
    const chain = yield* Tempo.TempoChain
    yield* chain.fund(account.address, 1_000_000n)
    const client = Shops.tempoClient(account, chain)
    return Agent.layer({
      rails: Mppx.layer({
        methods: [around(tempo.charge({ account, getClient: () => client }))],
        assets: { tempo: [chain.pathUsd] },
        payer: account.address,
        feeUsd
      }),
      assets: [chain.pathUsd],
      policy: { networks: [chain.network] },
      ledger: Ledger.layerMemory({ quiet: true }),
      sweep: false
    })
  })).pipe(Layer.provide(FetchHttpClient.layer))

const buy = Effect.fnUntraced(function*(path: string) {
  const { url } = yield* Shops.MppxShops
  const response = yield* HttpClient.get(`${url}${path}`)
  return { status: response.status, body: yield* response.json }
})

const reasonOf = <A, E, R>(effect: Effect.Effect<A, E, R>) =>
  Effect.map(Effect.flip(effect), (error) => {
    const { money, reason } = Option.getOrThrow(PaymentError.find(error))
    return `${reason._tag} (${money})`
  })

/** What an account has paid so far, without fees. */
const paidBy = ({ address }: LocalAccount) =>
  Effect.map(
    Tempo.TempoChain.use((chain) => chain.transfers()),
    (all) => all.filter(({ from }) => from === address).map(({ to, units }) => ({ to, units }))
  )

const cent = { to: Shops.payee, units: Shops.units }

const standing = Effect.map(
  Ledger.Ledger.use((ledger) => ledger.standing("agent:default", 3_600_000)),
  ({ exposed, spent }) => ({ exposed, spent })
)

const bought = { status: 200, body: { secret: 42 } }

const World = Shops.layer.pipe(Layer.provideMerge(Layer.merge(Tempo.layer(), Evm.layer({ chainId: 84532 }))))

layer(World, { excludeTestServices: true, timeout: "60 seconds" })("the Tempo method of mppx as a rail", (it) => {
  for (const path of ["/plain", "/push"]) {
    it.effect(`pays ${path} once`, () => {
      const account = stranger()
      return Effect.gen(function*() {
        assert.deepStrictEqual(yield* buy(path), bought)
        assert.deepStrictEqual(yield* paidBy(account), [cent])
        assert.deepStrictEqual(yield* standing, { spent: Shops.units + feeUsd, exposed: 0n })
        const [sale] = yield* Ledger.Ledger.use((ledger) => ledger.purchases({}))
        assert.strictEqual(sale?.purchase.delivery, "delivered")
        assert.deepStrictEqual(
          sale?.authorizations.map(({ evidence, plan, state }) => [plan.rail, state, evidence.at(-1)?.reference]),
          [["mppx/tempo/charge", "settled", (yield* Shops.MppxShops.use(({ sales }) => sales)).at(-1)?.reference]]
        )
      }).pipe(Effect.provide(agent(account)))
    })
  }

  it.effect("does not pay again when it has paid by itself and failed then", () => {
    const account = stranger()
    const failing = (method: Mppx.ClientMethod): Mppx.ClientMethod => ({
      ...method,
      createCredential: async (parameters) => {
        await method.createCredential(parameters)
        throw new Error("the answer of the node was lost")
      }
    })
    return Effect.gen(function*() {
      assert.strictEqual(yield* reasonOf(buy("/push")), "PaymentUncertain (unknown)")
      assert.strictEqual(yield* reasonOf(buy("/push")), "PaymentUncertain (unknown)")
      assert.deepStrictEqual(yield* paidBy(account), [cent])
      assert.deepStrictEqual(yield* standing, { spent: 0n, exposed: Shops.units + feeUsd })
    }).pipe(Effect.provide(agent(account, failing)))
  })

  it.effect("does not pay again when the answer to its payment was lost", () => {
    const account = stranger()
    return Effect.gen(function*() {
      assert.strictEqual(yield* reasonOf(buy("/lost")), "PaymentUncertain (unknown)")
      assert.strictEqual(yield* reasonOf(buy("/lost")), "PaymentUncertain (unknown)")
      assert.deepStrictEqual(yield* paidBy(account), [cent])
      assert.deepStrictEqual(yield* standing, { spent: 0n, exposed: Shops.units + feeUsd })
    }).pipe(Effect.provide(agent(account)))
  })

  it.effect("is not called for a challenge that asks for no money", () => {
    const account = stranger()
    return Effect.gen(function*() {
      assert.strictEqual(yield* reasonOf(buy("/proof")), "NoPayableOffer (unspent)")
      assert.deepStrictEqual(yield* paidBy(account), [])
    }).pipe(Effect.provide(agent(account)))
  })
})
