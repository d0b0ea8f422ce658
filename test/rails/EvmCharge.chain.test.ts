/**
 * Our whole agent pays official servers of `evm/charge`, honest and others, and the chain says what moved.
 */
import { assert, layer } from "@effect/vitest"
import { Effect, Layer } from "effect"
import { FetchHttpClient, HttpClient } from "effect/http"
import * as Agent from "../../src/Agent.ts"
import * as Ledger from "../../src/Ledger.ts"
import * as Payment from "../../src/Payment.ts"
import * as EvmCharge from "../../src/rails/EvmCharge.ts"
import * as ExactEvm from "../../src/rails/ExactEvm.ts"
import * as Evm from "../../src/testing/chain/Evm.ts"
import * as TestWallet from "../../src/testing/TestWallet.ts"
import { evmServer, refuse } from "../interop/official/mppxEvm.ts"
import { OfficialServer } from "../interop/official/servers.ts"
import { chain, finalize, purchases, reasonOf, standing, sweep, transfersDuring } from "../interop/payer.ts"

/** A whole agent, with a dollar of its own, which pays by x402 too, but rather does not. */
const agent = (options: EvmCharge.Options = {}) =>
  Layer.unwrap(Effect.gen(function*() {
    const { asset, mint, network, rpcUrl } = yield* Evm.EvmChain
    yield* mint(TestWallet.address, 1_000_000n)
    return Agent.layer({
      rails: Layer.merge(ExactEvm.layer(), EvmCharge.layer(options)).pipe(Layer.provide(TestWallet.layer)),
      ledger: Ledger.layerMemory({ quiet: true }),
      assets: [asset],
      rpc: { [network]: rpcUrl },
      sweep: false
    })
  })).pipe(Layer.provide(FetchHttpClient.layer))

const buy = Effect.gen(function*() {
  const { url } = yield* OfficialServer
  const response = yield* HttpClient.get(`${url}/paid`)
  return { status: response.status, body: yield* response.json }
})

const bought = { status: 200, body: { secret: 42 } }

const rails = Effect.map(
  Ledger.Ledger.use((ledger) => ledger.purchases({})),
  (all) => all.flatMap(({ authorizations }) => authorizations.map(({ plan }) => plan.rail))
)

layer(chain(), { excludeTestServices: true, timeout: "60 seconds" })("evm/charge on a chain", (it) => {
  it.effect("pays once what was demanded, and the chain confirms the receipt", () =>
    Effect.gen(function*() {
      const { accounts } = yield* Evm.EvmChain
      const { transfers, value } = yield* transfersDuring(buy)
      assert.deepStrictEqual(value, bought)
      assert.deepStrictEqual(
        transfers.map(({ from, to, units }) => ({ from, to, units })),
        [{ from: TestWallet.address, to: accounts[2]!.address, units: 10_000n }]
      )
      const reference = transfers[0]!.transaction
      assert.deepStrictEqual(yield* rails, ["evm/charge"])
      const [before] = yield* purchases
      assert.deepStrictEqual([before!.delivery, before!.states], ["delivered", ["settled"]])
      assert.deepStrictEqual({ ...before!.evidence[0] }, { rank: "claimed", what: "receipt", reference })
      yield* finalize
      yield* sweep
      const [after] = yield* purchases
      assert.deepStrictEqual({ ...after!.evidence[0] }, { rank: "proven", what: "authorization used", reference })
      assert.deepStrictEqual(yield* standing, { spent: 10_000n, exposed: 0n })
    }).pipe(Effect.provide(Layer.merge(agent(), evmServer()))))

  it.effect("signs for as long as the challenge lives where the program allows it, and the server takes it", () =>
    Effect.gen(function*() {
      const { transfers, value } = yield* transfersDuring(buy)
      assert.deepStrictEqual([value, transfers.length], [bought, 1])
    }).pipe(Effect.provide(Layer.merge(agent({ maxValidity: "10 minutes" }), evmServer()))))

  it.effect("finds out about a server that takes the money and refuses", () =>
    Effect.gen(function*() {
      const { transfers, value } = yield* transfersDuring(reasonOf(buy))
      assert.deepStrictEqual([value.reason._tag, value.money], ["PaidUndelivered", "spent"])
      assert.lengthOf(transfers, 1)
      assert.deepStrictEqual(yield* standing, { spent: 10_000n, exposed: 0n })
    }).pipe(
      Effect.provide(Layer.merge(agent(), evmServer({ settle: (settle) => settle().then(refuse) })))
    ))

  it.effect("holds what a server refuses until a final block has outlived it, and no longer", () =>
    Effect.gen(function*() {
      const { now, setNextTimestamp } = yield* Evm.EvmChain
      const { transfers, value } = yield* transfersDuring(reasonOf(buy))
      assert.deepStrictEqual([value.reason._tag, value.money], ["PaymentRejected", "held"])
      yield* sweep
      assert.deepStrictEqual(yield* standing, { spent: 0n, exposed: 10_000n })
      yield* setNextTimestamp((yield* now) + 90n)
      yield* finalize
      yield* sweep
      assert.deepStrictEqual((yield* purchases).map(({ states }) => states), [["released"]])
      assert.deepStrictEqual(yield* standing, { spent: 0n, exposed: 0n })
      assert.lengthOf(transfers, 0)
    }).pipe(
      Effect.provide(Layer.merge(agent(), evmServer({ settle: async () => refuse() })))
    ))
})

// A chain of its own: its clock is the computer's still.
layer(chain(), { excludeTestServices: true, timeout: "60 seconds" })("one challenge for two purchases", (it) => {
  it.effect("is answered by one of them, and nothing is signed for the other", () => {
    let first: Promise<Response> | undefined
    return Effect.gen(function*() {
      const { transfers, value } = yield* transfersDuring(
        Effect.all([buy, reasonOf(Effect.delay(buy, "1100 millis"))]).pipe(Payment.with({ rails: ["evm/charge"] }))
      )
      const [once, again] = value
      assert.deepStrictEqual(once, bought)
      assert.deepInclude(again.reason, { _tag: "PolicyDenied", rule: "challenge-answered" })
      assert.strictEqual(again.money, "unspent")
      assert.lengthOf(transfers, 1)
      assert.deepStrictEqual(yield* standing, { spent: 10_000n, exposed: 0n })
    }).pipe(
      Effect.provide(
        Layer.merge(
          agent(),
          evmServer({
            around: async (request, answer) => {
              if (request.headers.has("authorization")) return answer()
              first ??= answer()
              return (await first).clone()
            }
          })
        )
      )
    )
  })
})
