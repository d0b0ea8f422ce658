/**
 * The shops that the processes pay at, on both local chains: our own paywall with every way to pay, mppx, and the official
 * middleware of x402. They live on when a payer dies.
 *
 * Every request has a number and a price of its own, so that each transfer and each debit tells by its amount what it was
 * for, whatever any ledger says. All shops answer at many ports: a merchant who does not deliver often enough is not paid any
 * more, and each port is another merchant.
 */
import { NodeHttpServer } from "@effect/platform-node"
import { getRequestListener } from "@hono/node-server"
import { type FacilitatorClient, x402ResourceServer } from "@x402/core/server"
import { ExactEvmScheme } from "@x402/evm/exact/server"
import { paymentMiddleware } from "@x402/hono"
import { Context, Effect, Layer, Logger, Redacted, Schema, Semaphore, Stream } from "effect"
import { SecureRandom } from "effect/crypto"
import { FetchHttpClient, HttpRouter, HttpServerRequest, HttpServerResponse } from "effect/http"
import { Hono } from "hono"
import { Errors } from "mppx"
import { evm as mppxEvm, Mppx, Store, tempo as mppxTempo } from "mppx/server"
import { createServer, type RequestListener, type Server } from "node:http"
import type { AddressInfo } from "node:net"
import type { Address, Hex } from "viem"
import { privateKeyToAccount } from "viem/accounts"
import { encodeFunctionData } from "viem/utils"
import { formatUsd } from "../../src/Amount.ts"
import * as Chain from "../../src/Chain.ts"
import * as Paywall from "../../src/merchant/Paywall.ts"
import * as SessionAuthority from "../../src/merchant/SessionAuthority.ts"
import * as Evm from "../../src/testing/chain/Evm.ts"
import * as LocalFacilitator from "../../src/testing/chain/LocalFacilitator.ts"
import * as Tempo from "../../src/testing/chain/Tempo.ts"
import * as TestToken from "../../src/testing/chain/TestToken.ts"
import * as Transport from "../../src/Transport.ts"
import { OfficialFacilitator } from "../interop/official/facilitator.ts"
import { tempoClient } from "../interop/official/mppxShops.ts"
import { lastWords } from "./protocol.ts"

/** Whom everything is paid to, on both chains. */
export const payee = (accounts: ReadonlyArray<Evm.Account>): Address => accounts[2]!.address

/** Micro-dollars that the request of this number costs. */
export const priceOf = (nth: number): bigint => 1_000n + BigInt(nth)

/** Of every request at `/own/tariff`, where a session's token goes out first. */
export const tariff = 700n

/** Where things are sold; all but `/own/tariff` for what a request of their number costs. */
export const counters = [
  "/own/x402",
  "/own/evm",
  "/own/tempo",
  "/own/sponsored",
  "/own/session",
  "/own/tariff",
  "/mppx/tempo",
  "/mppx/evm",
  "/mppx/channel",
  "/official/x402"
] as const
export type Counter = typeof counters[number]

/** One account at the session endpoint for every ledger. */
export const credentials = [0, 1].map((nth) => Redacted.make(`tempo_live_${nth}`))

export class Shops extends Context.Service<Shops, {
  /** Opens a further port. */
  readonly open: Effect.Effect<string>
  readonly endpoint: string
  /** How often a handler ran that answers this request: at a session's counters, how often it was debited and served. */
  readonly served: (counter: Counter, nth: number) => number
  /** Micro-dollars of every debit of a session, oldest first. */
  readonly debits: ReadonlyArray<bigint>
  readonly audit: Effect.Effect<SessionAuthority.Audit>
}>()("test/crash/Shops") {}

const secret = Redacted.make("0123456789abcdef0123456789abcdef")

const pieces = (nth: number): ReadonlyArray<Uint8Array> =>
  [`content of ${nth}: `, "a secret. ", lastWords].map((piece) => new TextEncoder().encode(piece))

/** A body that comes in pieces, with time to die in between. */
const slowly = (nth: number): ReadableStream<Uint8Array> =>
  Stream.toReadableStream(
    Stream.fromIterable(pieces(nth)).pipe(Stream.mapEffect((piece) => Effect.delay(Effect.succeed(piece), "4 millis")))
  )

const numberOf = (path: string) => Number(/(\d+)(?:$|\?)/.exec(path)?.[1] ?? Number.NaN)

// ---------------------------------------------------------------------------------------------------------------------
// Our own
// ---------------------------------------------------------------------------------------------------------------------

const own = Effect.fnUntraced(function*(noted: (counter: Counter, nth: number) => void) {
  const { accounts, asset } = yield* Evm.EvmChain
  const { pathUsd } = yield* Tempo.TempoChain
  const payTo = payee(accounts)
  const route = <R>(counter: Counter, paywall: Layer.Layer<Paywall.Paywall, never, R>) =>
    HttpRouter.add(
      "GET",
      `${counter}/*`,
      Effect.flatMap(HttpServerRequest.HttpServerRequest, ({ url }) => {
        const nth = numberOf(url)
        const content = Effect.sync(() => {
          noted(counter, nth)
          return HttpServerResponse.stream(
            Stream.fromIterable(pieces(nth)).pipe(
              Stream.mapEffect((piece) => Effect.delay(Effect.succeed(piece), "4 millis"))
            )
          )
        })
        const price = formatUsd(counter === "/own/tariff" ? tariff : priceOf(nth))
        return Paywall.sell({ price })(content)
      })
    ).pipe(HttpRouter.provideRequest(paywall))
  const feePayer = { account: privateKeyToAccount(Redacted.value(accounts[3]!.privateKey)) }
  const tempo = (options: Partial<Paywall.TempoOptions> = {}) =>
    Paywall.tempo({ secret, accepts: [{ asset: pathUsd, payTo }], ...options })
  return Layer.mergeAll(
    route("/own/x402", Paywall.layer({ ways: [Paywall.x402({ accepts: [{ asset, payTo }] })] })),
    route("/own/evm", Paywall.layer({ ways: [Paywall.evm({ secret, accepts: [{ asset, payTo }] })] })),
    route("/own/tempo", Paywall.layer({ ways: [tempo()] })),
    route("/own/sponsored", Paywall.layer({ ways: [tempo({ feePayer })] })),
    route("/own/session", Paywall.layer({ ways: [Paywall.sessions()] })),
    route("/own/tariff", Paywall.layer({ ways: [Paywall.sessions()] })),
    SessionAuthority.routes
  )
})

/** An authority whose debits are noted beside its own books. */
const authority = (debits: Array<bigint>) =>
  Layer.effect(
    SessionAuthority.SessionAuthority,
    Effect.map(SessionAuthority.SessionAuthority, (real) => ({
      ...real,
      debit: (token, charge) =>
        Effect.tap(real.debit(token, charge), ({ amountUsd }) => Effect.sync(() => debits.push(amountUsd)))
    } satisfies SessionAuthority.SessionAuthority["Service"]))
  ).pipe(Layer.provide(SessionAuthority.layer({
    accounts: credentials.map((credential, nth) => ({ credential, balanceUsd: 100_000_000n, name: `${nth}` })),
    maxOpenSessions: 10_000
  })))

// ---------------------------------------------------------------------------------------------------------------------
// Others
// ---------------------------------------------------------------------------------------------------------------------

const Receipt = Schema.Struct({ status: Schema.String })

const mppx = Effect.fnUntraced(function*(noted: (counter: Counter, nth: number) => void) {
  const tempoChain = yield* Tempo.TempoChain
  const evmChain = yield* Evm.EvmChain
  const payTo = payee(evmChain.accounts)
  const client = tempoClient(privateKeyToAccount(Redacted.value(evmChain.accounts[2]!.privateKey)), tempoChain)
  const currency = evmChain.asset.address as Address
  /** The node counts the account's transactions, one at a time. */
  const sending = yield* Semaphore.make(1)
  /** A block is made for every transaction, so that it is mined when it was sent. */
  const settle = Effect.fnUntraced(function*(data: Hex) {
    const sent = yield* evmChain.rpc("eth_sendTransaction", [
      { from: evmChain.accounts[4]!.address, to: currency, data }
    ])
    const transaction = yield* Schema.decodeUnknownEffect(Schema.String)(sent)
    const receipt = yield* evmChain.rpc("eth_getTransactionReceipt", [transaction])
    const { status } = yield* Schema.decodeUnknownEffect(Receipt)(receipt)
    return { settled: status === "0x1", transaction }
  }, sending.withPermits(1))
  const shop = Mppx.create({
    secretKey: "a secret of at least thirty-two characters",
    realm: "127.0.0.1",
    methods: [
      mppxTempo.charge({
        currency: tempoChain.pathUsd.address as Address,
        recipient: payTo,
        chainId: tempoChain.chainId,
        getClient: () => client,
        store: Store.memory()
      }),
      mppxEvm.charge({
        authorization: { name: "USDC", version: "2" },
        chainId: evmChain.chainId,
        currency,
        decimals: 6,
        recipient: payTo,
        settle: async ({ payload }) => {
          const { from, nonce, signature, to, validAfter, validBefore, value } = payload
          const data = encodeFunctionData({
            abi: TestToken.abi,
            functionName: "transferWithAuthorization",
            args: [
              from as Address,
              to as Address,
              BigInt(value),
              BigInt(validAfter),
              BigInt(validBefore),
              nonce as Hex,
              signature as Hex
            ]
          })
          const { settled, transaction } = await Effect.runPromise(settle(data))
          if (!settled) throw new Errors.VerificationFailedError({ reason: "the transfer was reverted" })
          return { reference: transaction }
        }
      })
    ]
  })
  const sessions = Mppx.create({
    secretKey: "a secret of at least thirty-two characters",
    realm: "127.0.0.1",
    methods: [
      mppxTempo.session({
        account: privateKeyToAccount(Redacted.value(tempoChain.accounts[2]!.privateKey)),
        currency: tempoChain.pathUsd.address as Address,
        recipient: payTo,
        chainId: tempoChain.chainId,
        getClient: () => client,
        store: Store.memory(),
        amount: "0.001",
        unitType: "request"
      })
    ]
  })
  /** What manages a channel buys nothing. */
  const metered = async (request: Request, nth: number) => {
    const answer = await sessions.session({ amount: formatUsd(priceOf(nth)), unitType: "request" })(request)
    if (answer.status === 402) return answer.challenge
    const response = answer.withReceipt(new Response(slowly(nth)))
    if (response.status === 200) noted("/mppx/channel", nth)
    return response
  }
  let last = 0
  /** Every challenge expires at another instant. By itself mppx gives those of one millisecond the same id. */
  const expires = () => {
    last = Math.max(last + 1, Date.now() + 5 * 60_000)
    return new Date(last).toISOString()
  }
  return getRequestListener(async (request) => {
    const path = new URL(request.url).pathname
    const nth = numberOf(path)
    if (path.startsWith("/mppx/channel")) return metered(request, nth)
    const terms = { amount: formatUsd(priceOf(nth)), expires: expires() }
    const answer = await (path.startsWith("/mppx/evm") ? shop.evm.charge(terms) : shop.tempo.charge(terms))(request)
    return answer.status === 402 ? answer.challenge : answer.withReceipt(new Response(slowly(nth)))
  })
})

const official = Effect.gen(function*() {
  const { accounts, asset, network } = yield* Evm.EvmChain
  const facilitator = yield* OfficialFacilitator
  const client: FacilitatorClient = {
    verify: (payment, requirements) => facilitator.verify(payment, requirements),
    settle: (payment, requirements) => facilitator.settle(payment, requirements),
    getSupported: () =>
      Promise.resolve(facilitator.getSupported() as Awaited<ReturnType<FacilitatorClient["getSupported"]>>)
  }
  const server = new x402ResourceServer(client).register(network as `eip155:${string}`, new ExactEvmScheme())
  const app = new Hono()
  app.use(paymentMiddleware({
    "GET /official/x402/*": {
      accepts: {
        scheme: "exact",
        network: network as `eip155:${string}`,
        payTo: payee(accounts),
        price: ({ path }) => ({
          asset: asset.address,
          amount: priceOf(numberOf(path)).toString(),
          extra: { name: "USDC", version: "2" }
        }),
        maxTimeoutSeconds: 60
      }
    }
  }, server))
  app.get("/official/x402/*", ({ req }) => new Response(slowly(numberOf(req.path))))
  return getRequestListener(app.fetch)
})

// ---------------------------------------------------------------------------------------------------------------------
// All of them
// ---------------------------------------------------------------------------------------------------------------------

const listen = (listener: RequestListener, servers: Array<Server>) =>
  Effect.callback<string>((resume) => {
    const server = createServer(listener)
    servers.push(server)
    server.listen(0, "127.0.0.1", () => {
      resume(Effect.succeed(`http://127.0.0.1:${(server.address() as AddressInfo).port}`))
    })
  })

const make = Effect.gen(function*() {
  const debits: Array<bigint> = []
  const served = new Map<string, number>()
  const scope = yield* Effect.scope
  const services = yield* Layer.build(
    Layer.mergeAll(
      authority(debits).pipe(Layer.provideMerge(SecureRandom.layerWebCrypto)),
      LocalFacilitator.layer(),
      Layer.unwrap(Effect.map(Tempo.TempoChain, ({ network, rpcUrl }) => Chain.layer({ rpc: { [network]: rpcUrl } })))
        .pipe(Layer.provide(Layer.provide(Transport.layer, FetchHttpClient.layer)))
    )
  )
  const noted = (counter: Counter, nth: number) => {
    const name = `${counter}/${nth}`
    served.set(name, (served.get(name) ?? 0) + 1)
  }
  const routes = yield* own(noted)
  const app = yield* HttpRouter.toHttpEffect(routes).pipe(Effect.provideContext(services))
  const ours = yield* NodeHttpServer.makeHandler(app, { scope }).pipe(
    Effect.provideContext(services),
    Effect.provide(Logger.layer([]))
  )
  const [theirs, others] = [yield* mppx(noted), yield* official]
  const servers: Array<Server> = []
  yield* Effect.addFinalizer(() =>
    Effect.sync(() => {
      for (const server of servers) {
        server.close()
        server.closeAllConnections()
      }
    })
  )
  const open = listen((request, response) => {
    const { url = "" } = request
    if (url.startsWith("/mppx/")) return theirs(request, response)
    return url.startsWith("/official/") ? others(request, response) : ours(request, response)
  }, servers)
  return Shops.of({
    open,
    endpoint: `${yield* open}/session`,
    served: (counter, nth) => served.get(`${counter}/${nth}`) ?? 0,
    debits,
    audit: Effect.provideContext(SessionAuthority.SessionAuthority.use(({ audit }) => audit), services)
  })
})

/** Settles out of an account of its own: another facilitator counts the transactions of the first one. */
const officialFacilitator = OfficialFacilitator.layer({ impatient: true }).pipe(
  Layer.provide(Layer.effect(
    Evm.EvmChain,
    Effect.map(Evm.EvmChain, (chain) => ({ ...chain, accounts: chain.accounts.slice(5) }))
  ))
)

/** The shops, and the chains that they are paid on, whose blocks are final as soon as two more are on top of them. */
export const layer = Layer.effect(Shops, make).pipe(
  Layer.provide(officialFacilitator),
  Layer.provideMerge(Layer.merge(
    Tempo.layer(),
    Evm.layer({ chainId: 84532, args: ["--slots-in-an-epoch", "1"] })
  ))
)
