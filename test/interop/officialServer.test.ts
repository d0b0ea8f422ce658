import { NodeHttpServer } from "@effect/platform-node"
import { assert, layer } from "@effect/vitest"
import { HTTPFacilitatorClient } from "@x402/core/server"
import { ExactEvmScheme as ClientScheme } from "@x402/evm/exact/client"
import { ExactEvmScheme as ServerScheme } from "@x402/evm/exact/server"
import { wrapFetchWithPayment, x402Client } from "@x402/fetch"
import { paymentMiddleware, x402ResourceServer } from "@x402/hono"
import { Effect, Layer, Redacted } from "effect"
import { HttpRouter } from "effect/http"
import { Hono } from "hono"
import { privateKeyToAccount } from "viem/accounts"
import * as Facilitator from "../../src/merchant/Facilitator.ts"
import * as Evm from "../../src/testing/chain/Evm.ts"
import * as LocalFacilitator from "../../src/testing/chain/LocalFacilitator.ts"
import { localUrl } from "../merchant/signedPayments.ts"

const Served = HttpRouter.serve(Facilitator.routes, { disableLogger: true }).pipe(
  Layer.provide(LocalFacilitator.layer()),
  Layer.provideMerge(NodeHttpServer.layerTest),
  Layer.provideMerge(Evm.layer({ chainId: 84532 }))
)

layer(Served, { timeout: "60 seconds" })("the official x402 server", (it) => {
  it.effect("settles through the local facilitator over HTTP", () =>
    Effect.gen(function*() {
      const chain = yield* Evm.EvmChain
      const [, payer, payee] = chain.accounts
      yield* chain.mint(payer!.address, 1_000_000n)
      const network = chain.network as `eip155:${string}`
      const facilitator = new HTTPFacilitatorClient({ url: yield* localUrl })
      const server = new x402ResourceServer(facilitator).register(network, new ServerScheme())
      const app = new Hono()
      app.use(paymentMiddleware({
        "GET /data": { accepts: { scheme: "exact", network, payTo: payee!.address, price: "$0.01" }, description: "" }
      }, server))
      app.get("/data", (context) => context.json({ secret: 42 }))

      const client = new x402Client().register(
        "eip155:*",
        new ClientScheme(privateKeyToAccount(Redacted.value(payer!.privateKey)))
      )
      const pay = wrapFetchWithPayment(async (input, init) => app.request(new Request(input, init)), client)
      const response = yield* Effect.promise(() => pay("http://127.0.0.1/data"))
      assert.strictEqual(response.status, 200)
      assert.deepStrictEqual(yield* Effect.promise(() => response.json() as Promise<unknown>), { secret: 42 })
      assert.strictEqual(yield* chain.balance(payee!.address), 10_000n)
    }))
})
