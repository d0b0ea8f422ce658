import { NodeHttpServer } from "@effect/platform-node"
import { getRequestListener } from "@hono/node-server"
import { type FacilitatorClient, HTTPFacilitatorClient, x402ResourceServer } from "@x402/core/server"
import { ExactEvmScheme } from "@x402/evm/exact/server"
import { paymentMiddleware as expressMiddleware } from "@x402/express"
import { paymentMiddleware as honoMiddleware } from "@x402/hono"
import { Context, Effect, Layer, type Scope } from "effect"
import { HttpRouter } from "effect/http"
import express from "express"
import { Hono } from "hono"
import { createServer, type RequestListener } from "node:http"
import { paymentMiddleware as honoMiddlewareV1 } from "x402-hono"
import * as Facilitator from "../../../src/merchant/Facilitator.ts"
import { EvmChain } from "../../../src/testing/chain/Evm.ts"
import * as LocalFacilitator from "../../../src/testing/chain/LocalFacilitator.ts"
import { localUrl } from "../../merchant/signedPayments.ts"
import { OfficialFacilitator } from "./facilitator.ts"
import { listen } from "./loopback.ts"

/** A request as it came in, before any middleware saw it. */
export interface Seen {
  readonly method: string
  readonly path: string
  readonly credential: string | undefined
}

/**
 * A shop behind somebody else's middleware. `GET /paid`, `POST /echo` and `GET /failing` cost a cent, `GET /free` nothing;
 * in version 2, `GET /upfront` and `GET /upfront-failing` are settled before they are handled.
 */
export class OfficialServer extends Context.Service<OfficialServer, {
  readonly url: string
  /** Every request so far, oldest first. */
  readonly seen: Effect.Effect<ReadonlyArray<Seen>>
  /** How often `GET /paid` came through to its handler: what is sold after verification and before settlement. */
  readonly sold: Effect.Effect<number>
}>()("test/interop/OfficialServer") {}

/** Serves on loopback until the scope closes. The handlers call `sell` for what they sell. */
export const serve = Effect.fnUntraced(function*(
  build: (sell: () => { readonly secret: number }) => RequestListener
): Effect.fn.Return<OfficialServer["Service"], never, Scope.Scope> {
  const seen: Array<Seen> = []
  let sold = 0
  const handler = build(() => {
    sold++
    return { secret: 42 }
  })
  const server = createServer((request, response) => {
    const credential = request.headers["payment-signature"] ?? request.headers["x-payment"]
    seen.push({ method: request.method ?? "", path: request.url ?? "", credential: credential?.toString() })
    handler(request, response)
  })
  const url = yield* listen(server)
  return { url, seen: Effect.sync(() => [...seen]), sold: Effect.sync(() => sold) }
})

/** The official facilitator, as official servers ask for it. */
const inProcess = Effect.map(OfficialFacilitator, (facilitator): FacilitatorClient => ({
  verify: (payment, requirements) => facilitator.verify(payment, requirements),
  settle: (payment, requirements) => facilitator.settle(payment, requirements),
  getSupported: () =>
    Promise.resolve(facilitator.getSupported() as Awaited<ReturnType<FacilitatorClient["getSupported"]>>)
}))

/** Where our own facilitator listens. */
class FacilitatorUrl extends Context.Service<FacilitatorUrl, string>()("test/interop/FacilitatorUrl") {
  static readonly layer = (options: LocalFacilitator.Options | undefined) =>
    Layer.effect(FacilitatorUrl, localUrl).pipe(
      Layer.provide(HttpRouter.serve(Facilitator.routes, { disableLogger: true, disableListenLog: true })),
      Layer.provide(LocalFacilitator.layer(options)),
      Layer.provide(NodeHttpServer.layer(createServer, { port: 0, host: "127.0.0.1" }))
    )
}

const routesV2 = Effect.map(EvmChain, ({ accounts, network }) => {
  const cent = (extra?: { readonly paymentFlow: string }) => ({
    accepts: {
      scheme: "exact",
      network: network as `eip155:${string}`,
      payTo: accounts[2]!.address,
      price: "$0.01",
      maxTimeoutSeconds: 60,
      ...(extra === undefined ? {} : { extra })
    },
    description: "An answer",
    mimeType: "application/json"
  })
  return {
    "GET /paid": cent(),
    "POST /echo": cent(),
    "GET /failing": cent(),
    "GET /upfront": cent({ paymentFlow: "upfront" }),
    "GET /upfront-failing": cent({ paymentFlow: "upfront" })
  }
})

const resourceServer = (facilitator: FacilitatorClient) =>
  Effect.map(
    EvmChain,
    ({ network }) => new x402ResourceServer(facilitator).register(network as `eip155:${string}`, new ExactEvmScheme())
  )

const withHandlers = (app: Hono) => (sell: () => object): RequestListener =>
  getRequestListener(
    app
      .get("/paid", (context) => context.json(sell()))
      .get("/upfront", (context) => context.json({ secret: 42 }))
      .get("/free", (context) => context.json({ free: true }))
      .get("/failing", (context) => context.json({ error: "broken" }, 500))
      .get("/upfront-failing", (context) => context.json({ error: "broken" }, 500))
      .post("/echo", async (context) => context.body(await context.req.arrayBuffer()))
      .fetch
  )

const makeHono = Effect.gen(function*() {
  const server = yield* resourceServer(yield* inProcess)
  const app = new Hono()
  app.use(honoMiddleware(yield* routesV2, server))
  return yield* serve(withHandlers(app))
})

/** @x402/hono 2.27 with the official facilitator in its process. */
export const hono = (options?: Parameters<typeof OfficialFacilitator.layer>[0]) =>
  Layer.effect(OfficialServer, makeHono).pipe(Layer.provide(OfficialFacilitator.layer(options)))

const makeExpress = Effect.gen(function*() {
  const server = yield* resourceServer(new HTTPFacilitatorClient({ url: yield* FacilitatorUrl }))
  const app = express()
  app.use(expressMiddleware(yield* routesV2, server))
  app.get("/upfront", (_, response) => response.json({ secret: 42 }))
  app.get("/free", (_, response) => response.json({ free: true }))
  app.get("/failing", (_, response) => response.status(500).json({ error: "broken" }))
  app.get("/upfront-failing", (_, response) => response.status(500).json({ error: "broken" }))
  app.post("/echo", express.raw({ type: "*/*" }), ({ body }, response) => response.send(body))
  return yield* serve((sell) => app.get("/paid", (_, response) => response.json(sell())))
})

/** @x402/express 2.27 with our facilitator over HTTP. */
export const expressServer = (options?: LocalFacilitator.Options) =>
  Layer.effect(OfficialServer, makeExpress).pipe(Layer.provide(FacilitatorUrl.layer(options)))

const makeHonoV1 = Effect.gen(function*() {
  const { accounts } = yield* EvmChain
  const url = (yield* FacilitatorUrl) as `http://${string}`
  const cent = {
    price: "$0.01",
    network: "base-sepolia",
    config: { description: "An answer", maxTimeoutSeconds: 60 }
  } as const
  const app = new Hono()
  app.use(honoMiddlewareV1(
    accounts[2]!.address,
    { "GET /paid": cent, "POST /echo": cent, "GET /failing": cent },
    { url }
  ))
  return yield* serve(withHandlers(app))
})

/** x402-hono 1.1 with our facilitator over HTTP. It speaks version 1 alone. */
export const honoV1 = (options?: LocalFacilitator.Options) =>
  Layer.effect(OfficialServer, makeHonoV1).pipe(Layer.provide(FacilitatorUrl.layer(options)))
