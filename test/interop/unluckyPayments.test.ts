/**
 * Payments that come to nothing, or to more than they should: what the chain says, and what the agent knows of it.
 */
import { assert, layer } from "@effect/vitest"
import { Effect, Layer } from "effect"
import type { IncomingMessage, ServerResponse } from "node:http"
import * as Ledger from "../../src/Ledger.ts"
import * as Evm from "../../src/testing/chain/Evm.ts"
import * as Wallet from "../../src/Wallet.ts"
import * as Json from "../../src/wire/Json.ts"
import * as V1 from "../../src/wire/x402/V1.ts"
import * as V2 from "../../src/wire/x402/V2.ts"
import { OfficialFacilitator } from "./official/facilitator.ts"
import * as Servers from "./official/servers.ts"
import {
  agent,
  chain,
  finalize,
  get,
  paidRequestsDuring,
  purchases,
  reasonOf,
  standing,
  sweep,
  transfersDuring
} from "./payer.ts"

/** Settles whatever it is sent by the official facilitator, in both versions, and always demands again. */
const drain = Layer.effect(
  Servers.OfficialServer,
  Effect.gen(function*() {
    const facilitator = yield* OfficialFacilitator
    const { accounts, asset, network } = yield* Evm.EvmChain
    const terms = {
      scheme: "exact",
      asset: asset.address,
      payTo: accounts[2]!.address,
      maxTimeoutSeconds: 60,
      extra: { ...asset.domain }
    }
    const second = { ...terms, network, amount: "10000" }
    const first = { ...terms, network: "base-sepolia", maxAmountRequired: "10000", description: "" }

    const take = async ({ headers }: IncomingMessage) => {
      const [header, requirement] = headers[V2.paymentHeader] === undefined
        ? [headers[V1.paymentHeader], first]
        : [headers[V2.paymentHeader], second]
      if (header === undefined) return
      const payment: unknown = JSON.parse(Buffer.from(String(header), "base64").toString())
      await facilitator.settle(payment as never, requirement as never)
    }
    const demand = ({ headers, url = "" }: IncomingMessage, response: ServerResponse) => {
      const resource = `http://${headers.host}${url}`
      const v2 = { x402Version: 2, resource: { url: resource }, accepts: [second] }
      const v1 = { x402Version: 1, error: "X-PAYMENT header is required", accepts: [{ ...first, resource }] }
      response.writeHead(402, {
        "content-type": "application/json",
        ...(url.includes("v2") ? { [V2.requiredHeader]: Json.toBase64(v2) } : {})
      })
      response.end(JSON.stringify(url.includes("v1") ? v1 : {}))
    }
    return yield* Servers.serve(() => (request, response) => {
      void take(request).then(() => demand(request, response))
    })
  })
).pipe(Layer.provide(OfficialFacilitator.layer()))

/** An agent whose wallet is the chain's sixth account, which nobody has given any money. */
const poorAgent = Effect.map(
  Evm.EvmChain,
  ({ accounts }) => agent({ wallet: Layer.orDie(Wallet.layerPrivateKey(accounts[5]!.privateKey)) })
)

const seconds = (millis: number | undefined) => BigInt(Math.ceil((millis ?? 0) / 1000))

layer(chain(), { excludeTestServices: true, timeout: "60 seconds" })("a payment", (it) => {
  it.layer(drain)("at a server that settles everything and always demands again", (it) => {
    for (const versions of ["v1", "v2", "v1-and-v2"]) {
      it.effect(`is charged once, and the purchase once more asked for without a charge (${versions})`, () =>
        Effect.gen(function*() {
          const twice = Effect.all([reasonOf(get(`/${versions}`)), reasonOf(get(`/${versions}`))])
          const { transfers, value } = yield* transfersDuring(paidRequestsDuring(twice))
          assert.deepStrictEqual(value.value.map(({ reason }) => reason._tag), ["PaidUndelivered", "PaidUndelivered"])
          assert.strictEqual(value.value[0].paymentId, value.value[1].paymentId)
          assert.deepStrictEqual(transfers.map(({ units }) => units), [10_000n])
          assert.deepStrictEqual(yield* standing, { spent: 10_000n, exposed: 0n })
        }).pipe(Effect.provide(agent())))
    }

    it.effect("is not made any more after three of them, however often the program asks", () =>
      Effect.gen(function*() {
        const asked = Effect.forEach(Array.from({ length: 12 }), () => reasonOf(get("/v2")))
        const { transfers, value } = yield* transfersDuring(asked)
        assert.strictEqual(transfers.length, 3)
        assert.strictEqual(value.at(-1)?.reason._tag, "PolicyDenied")
        assert.deepStrictEqual(yield* standing, { spent: 30_000n, exposed: 0n })
      }).pipe(Effect.provide(agent())))
  })

  it.layer(Servers.hono())("at an official server", (it) => {
    it.effect("that is not covered is refused and held, and is not signed a second time", () =>
      Effect.gen(function*() {
        const twice = Effect.all([reasonOf(get("/paid")), reasonOf(get("/paid"))])
        const { transfers, value } = yield* transfersDuring(paidRequestsDuring(twice))
        assert.deepStrictEqual(value.value.map(({ reason }) => reason._tag), ["InsufficientFunds", "InsufficientFunds"])
        assert.deepStrictEqual(value.value.map(({ money }) => money), ["held", "held"])
        assert.strictEqual(value.signed, 1)
        assert.deepStrictEqual(transfers, [])
        assert.deepStrictEqual(yield* standing, { spent: 0n, exposed: 10_000n })
      }).pipe(Effect.provide(Layer.unwrap(poorAgent))))

    // Time on the chain goes on here, so this comes last.
    it.effect("that was refused, or whose handler failed, is proven void when its time is over", () =>
      Effect.gen(function*() {
        const { mine, setNextTimestamp } = yield* Evm.EvmChain
        const rich = yield* Layer.build(agent())
        const poor = yield* Layer.build(Layer.unwrap(poorAgent))
        const failed = yield* reasonOf(get("/failing")).pipe(Effect.provide(rich))
        const refused = yield* reasonOf(get("/paid")).pipe(Effect.provide(poor))
        assert.deepStrictEqual([failed.reason._tag, refused.reason._tag], ["PaymentUncertain", "InsufficientFunds"])
        for (const mine of [rich, poor]) {
          yield* Effect.gen(function*() {
            yield* finalize
            assert.deepStrictEqual(yield* sweep, { settled: 0, released: 0, presumed: 0, open: 1 })
            assert.deepStrictEqual(yield* standing, { spent: 0n, exposed: 10_000n })
          }).pipe(Effect.provide(mine))
        }
        const [held] = yield* Effect.provide(Effect.flatMap(Ledger.Ledger, (ledger) => ledger.purchases({})), poor)
        yield* setNextTimestamp(seconds(held?.authorizations[0]?.plan.spendableUntil) + 1n)
        yield* mine()
        yield* finalize
        for (const mine of [rich, poor]) {
          yield* Effect.gen(function*() {
            assert.deepStrictEqual(yield* sweep, { settled: 0, released: 1, presumed: 0, open: 0 })
            assert.deepStrictEqual(yield* standing, { spent: 0n, exposed: 0n })
            const [purchase] = yield* purchases
            assert.deepStrictEqual(purchase!.states, ["released"])
            assert.strictEqual(purchase!.evidence[0]?.rank, "proven")
            assert.strictEqual(purchase!.evidence[0]?.what, "authorization expired unused")
          }).pipe(Effect.provide(mine))
        }
      }))
  })
})
