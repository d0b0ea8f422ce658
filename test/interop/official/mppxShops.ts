/** Shops of mppx on both local chains, one for every mode of payment. */
import { getRequestListener } from "@hono/node-server"
import { Context, Effect, Layer, Redacted, type Scope } from "effect"
import { evm, Mppx, Store, tempo } from "mppx/server"
import { createServer, type IncomingHttpHeaders, type RequestListener, type ServerResponse } from "node:http"
import { type Account, type Address, createClient, type Hex, http, publicActions, walletActions } from "viem"
import { privateKeyToAccount } from "viem/accounts"
import { baseSepolia, tempoLocalnet } from "viem/chains"
import { createNonceManager, jsonRpc } from "viem/nonce"
import { accounts } from "../../../src/testing/chain/Accounts.ts"
import { EvmChain } from "../../../src/testing/chain/Evm.ts"
import { TempoChain } from "../../../src/testing/chain/Tempo.ts"
import * as TestToken from "../../../src/testing/chain/TestToken.ts"
import { listen } from "./loopback.ts"

/** A request as it came in. */
export interface Seen {
  readonly method: string
  readonly path: string
  readonly headers: IncomingHttpHeaders
  /** What answers a challenge, if anything does. */
  readonly credential: string | undefined
}

/** A payment that the server says it took. */
export interface Sale {
  readonly path: string
  readonly method: string
  /** In base units. */
  readonly amount: bigint
  readonly reference: string
}

/** Where the shops are. Each has a store of its own, so that none takes a credential twice. */
export class MppxShops extends Context.Service<MppxShops, {
  readonly url: string
  /** Every request so far, oldest first. */
  readonly seen: Effect.Effect<ReadonlyArray<Seen>>
  /** Every payment that was taken, oldest first. */
  readonly sales: Effect.Effect<ReadonlyArray<Sale>>
}>()("test/interop/MppxShops") {}

/** Whom everything is paid to, on both chains. */
export const payee: Address = accounts[2]!.address

/** Who pays the fees of `/sponsored`. */
export const sponsor: Address = accounts[3]!.address

/** The price of everything, in dollars and in base units. */
export const price = "0.01"
export const units = 10_000n

/** The realm of `/foreign-realm`, which is not its host. */
export const foreignRealm = "shop.example"

/** Accounts that nobody has paid before. */
const nobody = (nth: number): Address => `0x5011${nth.toString(16).padStart(36, "0")}`

/** In dollars. */
export const splits = {
  two: [
    { amount: "0.002", recipient: accounts[4]!.address, memo: `0x${"07".repeat(32)}` },
    { amount: "0.001", recipient: nobody(1) }
  ],
  ten: Array.from({ length: 10 }, (_, at) => ({ amount: `0.0000${at + 10}`, recipient: nobody(100 + at) }))
}

// ---------------------------------------------------------------------------------------------------------------------
// Chains
// ---------------------------------------------------------------------------------------------------------------------

const accountOf = (nth: number) => privateKeyToAccount(Redacted.value(accounts[nth]!.privateKey))

/** What mppx asks the Tempo chain by, on either side of the counter. */
export const tempoClient = (
  account: Account,
  { chainId, rpcUrl }: { readonly chainId: number; readonly rpcUrl: string },
  fetchFn: typeof fetch = fetch
) =>
  createClient({
    account,
    chain: { ...tempoLocalnet, id: chainId, rpcUrls: { default: { http: [rpcUrl] } } },
    transport: http(rpcUrl, { fetchFn }),
    pollingInterval: 20
  })

/** Submits authorisations to the other chain, and waits for their blocks. */
const settler = ({ rpcUrl }: { readonly rpcUrl: string }) => {
  // a manager of its own: the one that viem shares remembers the transactions of chains that are gone
  const account = privateKeyToAccount(Redacted.value(accounts[0]!.privateKey), {
    nonceManager: createNonceManager({ source: jsonRpc() })
  })
  return createClient({ account, chain: baseSepolia, transport: http(rpcUrl), pollingInterval: 10 })
    .extend(publicActions).extend(walletActions)
}

// ---------------------------------------------------------------------------------------------------------------------
// Shops
// ---------------------------------------------------------------------------------------------------------------------

type Options = NonNullable<Parameters<typeof tempo.charge>[0]>

/** What a configured method of mppx does with a request. */
type Counter = (request: Request) => Promise<
  | { readonly status: 402; readonly challenge: Response }
  | { readonly status: 200; readonly withReceipt: (content: Response) => Response }
>

type Handler = (request: Request, response: ServerResponse) => Promise<Response>

const secret = () => Response.json({ secret: 42 })

const sell = (counter: Counter, content: () => Response = secret): Handler => async (request) => {
  const answer = await counter(request)
  return answer.status === 402 ? answer.challenge : answer.withReceipt(content())
}

/** The answer to every new credential is lost on its way. */
const losing = (handler: Handler): Handler => async (request, response) => {
  const answer = await handler(request, response)
  if (answer.ok) response.destroy()
  return answer
}

/**
 * Every challenge expires at another instant. By itself mppx gives those of one millisecond the same id.
 */
const expiries = () => {
  let last = 0
  return () => {
    last = Math.max(last + 1, Date.now() + 5 * 60_000)
    return new Date(last).toISOString()
  }
}

const make = Effect.gen(function*() {
  const tempoChain = yield* TempoChain
  const evmChain = yield* EvmChain
  const routes = new Map<string, Handler>()
  const { seen, url } = yield* serve((path) => routes.get(path))
  const { host } = new URL(url)
  const secretKey = "a secret of at least thirty-two characters"
  const sales: Array<Sale> = []
  const expiry = expiries()

  const client = tempoClient(accountOf(2), tempoChain)
  const onTempo = (options: Options = {}) =>
    tempo.charge({
      currency: tempoChain.pathUsd.address as Address,
      recipient: payee,
      chainId: tempoChain.chainId,
      getClient: () => client,
      store: Store.memory(),
      ...options
    })

  const settles = settler(evmChain)
  const onEvm = evm.charge({
    authorization: { name: "USDC", version: "2" },
    chainId: evmChain.chainId,
    currency: evmChain.asset.address as Address,
    decimals: 6,
    recipient: payee,
    settle: async ({ payload }) => {
      const hash = await settles.writeContract({
        address: evmChain.asset.address as Address,
        abi: TestToken.abi,
        functionName: "transferWithAuthorization",
        args: [
          payload.from as Address,
          payload.to as Address,
          BigInt(payload.value),
          BigInt(payload.validAfter),
          BigInt(payload.validBefore),
          payload.nonce as Hex,
          payload.signature as Hex
        ]
      })
      const { status } = await settles.waitForTransactionReceipt({ hash })
      if (status !== "success") throw new Error("the transfer was reverted")
      return { reference: hash }
    }
  })

  const open = <const Methods extends Parameters<typeof Mppx.create>[0]["methods"]>(
    path: string,
    methods: Methods,
    realm = host
  ) => {
    const shop = Mppx.create({ methods, secretKey, realm })
    shop.onPaymentSuccess(({ method, receipt, request }) => {
      const { amount } = request as { readonly amount: string }
      sales.push({
        path,
        method: `${method.name}/${method.intent}`,
        amount: BigInt(amount),
        reference: receipt.reference
      })
    })
    return shop
  }
  const sellOnTempo = (
    path: string,
    { amount = price, realm, ...options }: Options & { readonly realm?: string } = {},
    content = secret
  ) => {
    const { charge } = open(path, [onTempo(options)], realm)
    return sell((request) => charge({ amount, expires: expiry() })(request), content)
  }
  const modes: { readonly [path: string]: Parameters<typeof sellOnTempo>[1] } = {
    "/plain": {},
    "/pull": { supportedModes: ["pull"] },
    "/push": { supportedModes: ["push"] },
    "/sponsored": { feePayer: accountOf(3), feeToken: tempoChain.pathUsd.address as Address },
    "/optimistic": { waitForConfirmation: false },
    "/proof": { amount: "0" },
    "/foreign-realm": { amount: "0", realm: foreignRealm },
    "/split-two": { splits: splits.two },
    "/split-ten": { splits: splits.ten }
  }
  for (const [path, options] of Object.entries(modes)) routes.set(path, sellOnTempo(path, options))
  routes.set("/lost", losing(sellOnTempo("/lost")))
  routes.set("/failing", sellOnTempo("/failing", {}, () => Response.json({ error: "broken" }, { status: 500 })))
  const { charge } = open("/evm", [onEvm])
  routes.set("/evm", sell((request) => charge({ amount: price, expires: expiry() })(request)))
  const { compose } = open("/composed", [onTempo(), onEvm])
  const terms = () => ({ amount: price, expires: expiry() })
  routes.set(
    "/composed",
    sell((request) => compose(["evm/charge", terms()], ["tempo/charge", terms()])(request))
  )
  return MppxShops.of({ url, seen, sales: Effect.sync(() => [...sales]) })
})

/** mppx 0.11 on loopback. */
export const layer: Layer.Layer<MppxShops, never, TempoChain | EvmChain> = Layer.effect(MppxShops, make)

/** Serves on loopback until the scope closes. */
const serve = Effect.fnUntraced(function*(
  route: (path: string) => Handler | undefined
): Effect.fn.Return<Pick<MppxShops["Service"], "url" | "seen">, never, Scope.Scope> {
  const seen: Array<Seen> = []
  const handle: RequestListener = getRequestListener((request, { outgoing }) => {
    const handler = route(new URL(request.url).pathname)
    return handler === undefined ? new Response(null, { status: 404 }) : handler(request, outgoing as ServerResponse)
  })
  const server = createServer((request, response) => {
    const { headers, method = "", url: path = "" } = request
    const credential = headers.authorization ?? headers["payment-signature"]?.toString()
    seen.push({ method, path, headers, credential })
    handle(request, response)
  })
  const url = yield* listen(server)
  return { url, seen: Effect.sync(() => [...seen]) }
})
