import { NodeHttpServer } from "@effect/platform-node"
import { assert, layer } from "@effect/vitest"
import { ExactEvmScheme } from "@x402/evm/exact/client"
import { ExactEvmSchemeV1 } from "@x402/evm/exact/v1/client"
import { wrapFetchWithPayment, x402Client } from "@x402/fetch"
import { Effect, Layer, Option, Redacted } from "effect"
import { HttpRouter, HttpServerResponse } from "effect/http"
import { privateKeyToAccount } from "viem/accounts"
import * as Paywall from "../../src/merchant/Paywall.ts"
import * as Evm from "../../src/testing/chain/Evm.ts"
import * as LocalFacilitator from "../../src/testing/chain/LocalFacilitator.ts"
import * as Settlement from "../../src/wire/x402/Settlement.ts"
import { localUrl } from "../merchant/signedPayments.ts"

/** Two shops in one: the official client of one version does not look past a demand of the other. */
const selling = (version: 1 | 2, path: `/${string}`) =>
  Paywall.route("GET", path, { price: "0.01", description: "An answer" }, HttpServerResponse.json({ secret: 42 })).pipe(
    HttpRouter.provideRequest(Layer.unwrap(Effect.map(Evm.EvmChain, ({ accounts, asset }) =>
      Paywall.layer({
        ways: [Paywall.x402({ accepts: [{ asset, payTo: accounts[2]!.address }], versions: [version] })]
      }))))
  )

const Shop = HttpRouter.serve(Layer.mergeAll(selling(1, "/v1"), selling(2, "/v2")), { disableLogger: true }).pipe(
  Layer.provideMerge(Layer.mergeAll(LocalFacilitator.layer(), NodeHttpServer.layerTest)),
  Layer.provideMerge(Evm.layer({ chainId: 84532 }))
)

const pay = Effect.fnUntraced(
  function*(
    path: string,
    register: (client: x402Client, account: ReturnType<typeof privateKeyToAccount>) => x402Client
  ) {
    const chain = yield* Evm.EvmChain
    const [, payer, payee] = chain.accounts
    yield* chain.mint(payer!.address, 1_000_000n)
    const [paid, got] = [yield* chain.balance(payer!.address), yield* chain.balance(payee!.address)]
    const url = `${yield* localUrl}${path}`
    const client = register(new x402Client(), privateKeyToAccount(Redacted.value(payer!.privateKey)))
    const response = yield* Effect.promise(() => wrapFetchWithPayment(fetch, client)(url))
    return {
      status: response.status,
      body: yield* Effect.promise(() => response.json() as Promise<unknown>),
      settlement: Option.getOrThrow(Settlement.decode(
        response.headers.get("payment-response") ?? response.headers.get("x-payment-response") ?? ""
      )),
      paid: paid - (yield* chain.balance(payer!.address)),
      got: (yield* chain.balance(payee!.address)) - got,
      transactions: (yield* chain.transfers).map(({ transaction }) => transaction)
    }
  }
)

layer(Shop, { timeout: "60 seconds" })("the official x402 client", (it) => {
  it.effect("pays a paywall by version 2", () =>
    Effect.gen(function*() {
      const { body, got, paid, settlement, status, transactions } = yield* pay("/v2", (client, account) =>
        client.register("eip155:*", new ExactEvmScheme(account)))
      assert.strictEqual(status, 200)
      assert.deepStrictEqual(body, { secret: 42 })
      assert.deepStrictEqual([paid, got], [10_000n, 10_000n])
      assert.isTrue(settlement.success)
      assert.include(transactions, settlement.transaction as `0x${string}`)
    }))

  it.effect("pays a paywall by version 1", () =>
    Effect.gen(function*() {
      const { body, got, paid, settlement, status, transactions } = yield* pay("/v1", (client, account) =>
        client.registerV1("base-sepolia", new ExactEvmSchemeV1(account)))
      assert.strictEqual(status, 200)
      assert.deepStrictEqual(body, { secret: 42 })
      assert.deepStrictEqual([paid, got], [10_000n, 10_000n])
      assert.isTrue(settlement.success)
      assert.include(transactions, settlement.transaction as `0x${string}`)
    }))
})
