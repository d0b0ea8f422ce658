import { NodeHttpServer } from "@effect/platform-node"
import { assert, layer } from "@effect/vitest"
import { ExactEvmScheme } from "@x402/evm/exact/client"
import { wrapFetchWithPayment, x402Client } from "@x402/fetch"
import { Effect, Layer, Option, Redacted } from "effect"
import { SecureRandom } from "effect/crypto"
import { FetchHttpClient, HttpRouter, HttpServerRequest, HttpServerResponse } from "effect/http"
import { evm, Mppx, tempo } from "mppx/client"
import { type Address, createClient, defineChain, http } from "viem"
import { generatePrivateKey, privateKeyToAccount } from "viem/accounts"
import { tempoLocalnet } from "viem/tempo/chains"
import * as Chain from "../../src/Chain.ts"
import * as Paywall from "../../src/merchant/Paywall.ts"
import * as SessionAuthority from "../../src/merchant/SessionAuthority.ts"
import * as Evm from "../../src/testing/chain/Evm.ts"
import * as LocalFacilitator from "../../src/testing/chain/LocalFacilitator.ts"
import * as Tempo from "../../src/testing/chain/Tempo.ts"
import * as Transport from "../../src/Transport.ts"
import * as Challenge from "../../src/wire/mpp/Challenge.ts"
import * as Credential from "../../src/wire/mpp/Credential.ts"
import * as Receipt from "../../src/wire/mpp/Receipt.ts"
import { localUrl } from "../merchant/signedPayments.ts"

const secret = Redacted.make("0123456789abcdef0123456789abcdef")
const credential = Redacted.make("tempo_live_1")
const affiliate: Address = "0x00000000000000000000000000000000000a11ce"

const answer = Effect.flatMap(
  Paywall.Paid,
  (paid) =>
    HttpServerResponse.json({ secret: 42, payer: Option.getOrUndefined(Option.map(paid, ({ source }) => source)) })
)

const authorized = HttpRouter.provideRequest(
  Layer.unwrap(Effect.map(Tempo.TempoChain, ({ accounts, pathUsd }) =>
    Paywall.layer({
      ways: [Paywall.tempo({ secret, accepts: [{ asset: pathUsd, payTo: payee(accounts) }] })],
      requiresAuth: true
    })))
)(Paywall.route(
  "GET",
  "/authorized",
  { price: "0.01" },
  Effect.flatMap(
    HttpServerRequest.HttpServerRequest,
    ({ headers }) => HttpServerResponse.json({ authorization: headers["authorization"] ?? null })
  )
))

const payee = (accounts: ReadonlyArray<Tempo.Account>): Address => accounts[2]!.address

const shop = (
  path: `/${string}`,
  options: Partial<Paywall.TempoOptions>,
  price = "0.01"
) =>
  Paywall.route("*", path, { price, description: "An answer — the best" }, answer).pipe(
    HttpRouter.provideRequest(Layer.unwrap(Effect.map(Tempo.TempoChain, ({ accounts, pathUsd }) =>
      Paywall.layer({
        ways: [Paywall.tempo({ secret, accepts: [{ asset: pathUsd, payTo: payee(accounts) }], ...options })]
      }))))
  )

const sponsored = HttpRouter.provideRequest(
  Layer.unwrap(Effect.map(Tempo.TempoChain, ({ accounts, pathUsd }) =>
    Paywall.layer({
      ways: [Paywall.tempo({
        secret,
        accepts: [{ asset: pathUsd, payTo: payee(accounts) }],
        feePayer: { account: privateKeyToAccount(Redacted.value(accounts[3]!.privateKey)) }
      })]
    })))
)(Paywall.route("GET", "/sponsored", { price: "0.01" }, answer))

const everything = HttpRouter.provideRequest(Layer.unwrap(
  Effect.map(Effect.all([Tempo.TempoChain, Evm.EvmChain]), ([{ accounts, pathUsd }, { asset }]) =>
    Paywall.layer({
      ways: [
        Paywall.tempo({ secret, accepts: [{ asset: pathUsd, payTo: payee(accounts) }] }),
        Paywall.evm({ secret, accepts: [{ asset, payTo: payee(accounts) }] }),
        Paywall.sessions(),
        Paywall.x402({ accepts: [{ asset, payTo: payee(accounts) }], versions: [2] })
      ]
    }))
))(Paywall.route("*", "/everything", { price: "0.01" }, answer))

const Authority = SessionAuthority.layer({ accounts: [{ credential, balanceUsd: 1_000_000n }] }).pipe(
  Layer.provideMerge(SecureRandom.layerWebCrypto)
)

const ChainLive = Layer.unwrap(
  Effect.map(Tempo.TempoChain, ({ network, rpcUrl }) => Chain.layer({ rpc: { [network]: rpcUrl } }))
).pipe(
  Layer.provide(Layer.provide(Transport.layer, FetchHttpClient.layer))
)

const Shop = HttpRouter.serve(
  Layer.mergeAll(
    shop("/any", {}),
    shop("/push", { modes: ["push"] }),
    shop("/split", { splits: [{ payTo: affiliate, basisPoints: 2500 }] }),
    shop("/free", {}, "0"),
    sponsored,
    authorized,
    everything
  ),
  { disableLogger: true }
).pipe(
  Layer.provideMerge(
    Layer.mergeAll(Authority, LocalFacilitator.layer(), ChainLive, NodeHttpServer.layerTest)
  ),
  Layer.provideMerge(Layer.mergeAll(Tempo.layer(), Evm.layer({ chainId: 84532 })))
)

// ---------------------------------------------------------------------------------------------------------------------
// The client
// ---------------------------------------------------------------------------------------------------------------------

const clientOf = ({ chainId, rpcUrl }: Tempo.TempoChain["Service"]) => {
  const chain = defineChain({ ...tempoLocalnet, id: chainId, rpcUrls: { default: { http: [rpcUrl] } } })
  return createClient({ chain, transport: http(rpcUrl), pollingInterval: 20 })
}

/** An account of its own, with a dollar. */
const payer = Effect.gen(function*() {
  const chain = yield* Tempo.TempoChain
  const account = privateKeyToAccount(generatePrivateKey())
  yield* chain.fund(account.address, 1_000_000n)
  return account
})

const pay = Effect.fnUntraced(function*(
  path: string,
  options: { readonly mode?: "pull" | "push"; readonly init?: RequestInit; readonly account?: typeof payer } = {}
) {
  const chain = yield* Tempo.TempoChain
  const account = yield* options.account ?? payer
  const client = clientOf(chain)
  const to = payee(chain.accounts)
  const before = [yield* chain.balance(account.address), yield* chain.balance(to)] as const
  const mppx = Mppx.create({
    polyfill: false,
    methods: [tempo.charge({ account, getClient: () => client, ...(options.mode && { mode: options.mode }) })]
  })
  const url = `${yield* localUrl}${path}`
  const response = yield* Effect.promise(() => mppx.fetch(url, options.init))
  const body = yield* Effect.promise(() => response.json() as Promise<Record<string, unknown>>)
  const transfers = yield* chain.transfers()
  return {
    account,
    status: response.status,
    headers: response.headers,
    body,
    receipt: Receipt.decode(response.headers.get("payment-receipt") ?? ""),
    paid: before[0] - (yield* chain.balance(account.address)),
    got: (yield* chain.balance(to)) - before[1],
    transactions: transfers.map(({ transaction }) => transaction as string)
  }
})

layer(Shop, { timeout: "60 seconds", excludeTestServices: true })("the client of mppx", (it) => {
  for (const mode of ["pull", "push"] as const) {
    it.effect(`pays a charge on Tempo (${mode})`, () =>
      Effect.gen(function*() {
        const { account, body, got, headers, paid, receipt, status, transactions } = yield* pay("/any", { mode })
        assert.strictEqual(status, 200, JSON.stringify(body))
        assert.strictEqual(body["secret"], 42)
        assert.strictEqual(body["payer"], `did:pkh:eip155:1337:${account.address.toLowerCase()}`)
        assert.strictEqual(got, 10_000n)
        assert.isAtLeast(Number(paid), 10_000)
        const { members, method, reference } = Option.getOrThrow(receipt) as Receipt.Standard
        assert.strictEqual(method, "tempo")
        assert.include(transactions, reference)
        assert.isString(members["challengeId"])
        assert.strictEqual(headers.get("cache-control"), "private")
      }))
  }

  it.effect("pays by push where nothing else is taken", () =>
    Effect.gen(function*() {
      const { got, status } = yield* pay("/push")
      assert.deepStrictEqual([status, got], [200, 10_000n])
    }))

  it.effect("pays without a fee where the merchant pays it", () =>
    Effect.gen(function*() {
      const chain = yield* Tempo.TempoChain
      const sponsor = chain.accounts[3]!.address
      const before = yield* chain.balance(sponsor)
      const { body, got, paid, status } = yield* pay("/sponsored")
      assert.deepStrictEqual([status, got, paid], [200, 10_000n, 10_000n], JSON.stringify(body))
      assert.isTrue((yield* chain.balance(sponsor)) < before)
    }))

  it.effect("pays everybody among whom a price is split", () =>
    Effect.gen(function*() {
      const chain = yield* Tempo.TempoChain
      const { body, got, status } = yield* pay("/split")
      assert.deepStrictEqual([status, got], [200, 7_500n], JSON.stringify(body))
      assert.strictEqual(yield* chain.balance(affiliate), 2_500n)
    }))

  it.effect("proves its account where nothing is charged", () =>
    Effect.gen(function*() {
      const { account, body, got, paid, receipt, status } = yield* pay("/free")
      assert.deepStrictEqual([status, got, paid], [200, 0n, 0n], JSON.stringify(body))
      assert.strictEqual(body["payer"], `did:pkh:eip155:1337:${account.address.toLowerCase()}`)
      const { members, reference } = Option.getOrThrow(receipt) as Receipt.Standard
      assert.strictEqual(reference, members["challengeId"] as string)
    }))

  const crowd = [["/any", "pull"], ["/any", "push"], ["/sponsored", "pull"], ["/split", "pull"], [
    "/free",
    "pull"
  ]] as const
  for (const [path, mode] of crowd) {
    it.effect(`pays ten times at once at ${path} (${mode}), by ten accounts`, () =>
      Effect.gen(function*() {
        const chain = yield* Tempo.TempoChain
        const to = payee(chain.accounts)
        const before = yield* chain.balance(to)
        const ten = yield* Effect.replicateEffect(pay(path, { mode }), 10, { concurrency: "unbounded" })
        assert.deepStrictEqual(ten.map(({ status }) => status), Array.from({ length: 10 }, () => 200))
        const references = ten.map(({ receipt }) => (Option.getOrThrow(receipt) as Receipt.Standard).reference)
        assert.strictEqual(new Set(references).size, 10)
        const share = path === "/free" ? 0n : path === "/split" ? 7_500n : 10_000n
        assert.strictEqual((yield* chain.balance(to)) - before, 10n * share)
      }))
  }

  it.effect("pays for a request with a body", () =>
    Effect.gen(function*() {
      const { body, got, status } = yield* pay("/any", {
        init: { method: "POST", body: JSON.stringify({ question: 1 }), headers: { "content-type": "application/json" } }
      })
      assert.deepStrictEqual([status, got], [200, 10_000n], JSON.stringify(body))
    }))

  it.effect("pays where the resource needs its own authorisation", () =>
    Effect.gen(function*() {
      const { body, got, status } = yield* pay("/authorized", { init: { headers: { authorization: "Bearer me" } } })
      assert.deepStrictEqual([status, got, body["authorization"]], [200, 10_000n, "Bearer me"], JSON.stringify(body))
    }))
})

layer(Shop, { timeout: "60 seconds", excludeTestServices: true })("one route that sells in every way", (it) => {
  it.effect("is paid on Tempo by a client of mppx", () =>
    Effect.gen(function*() {
      const { body, got, status } = yield* pay("/everything")
      assert.deepStrictEqual([status, got], [200, 10_000n], JSON.stringify(body))
    }))

  const evmPayer = Effect.gen(function*() {
    const chain = yield* Evm.EvmChain
    yield* chain.mint(chain.accounts[1]!.address, 1_000_000n)
    return privateKeyToAccount(Redacted.value(chain.accounts[1]!.privateKey))
  })

  it.effect("is paid on an EVM chain by a client of mppx", () =>
    Effect.gen(function*() {
      const chain = yield* Evm.EvmChain
      const account = yield* evmPayer
      const before = yield* chain.balance(payee(chain.accounts))
      const mppx = Mppx.create({
        polyfill: false,
        methods: [evm.charge({ account, authorization: chain.asset.domain! })]
      })
      const url = `${yield* localUrl}/everything`
      const response = yield* Effect.promise(() => mppx.fetch(url))
      assert.strictEqual(response.status, 200, yield* Effect.promise(() => response.text()))
      assert.strictEqual((yield* chain.balance(payee(chain.accounts))) - before, 10_000n)
      const receipt = Option.getOrThrow(
        Receipt.decode(response.headers.get("payment-receipt") ?? "")
      ) as Receipt.Standard
      assert.strictEqual(receipt.method, "evm")
      assert.isTrue((yield* chain.transfers).some(({ transaction }) => transaction === receipt.reference))
    }))

  it.effect("is paid by the official client of x402", () =>
    Effect.gen(function*() {
      const chain = yield* Evm.EvmChain
      const account = yield* evmPayer
      const before = yield* chain.balance(payee(chain.accounts))
      const client = new x402Client().register("eip155:*", new ExactEvmScheme(account))
      const url = `${yield* localUrl}/everything`
      const response = yield* Effect.promise(() => wrapFetchWithPayment(fetch, client)(url))
      assert.strictEqual(response.status, 200)
      assert.strictEqual((yield* chain.balance(payee(chain.accounts))) - before, 10_000n)
    }))

  it.effect("is paid by the token of a session", () =>
    Effect.gen(function*() {
      const audience = yield* localUrl
      const url = `${audience}/everything`
      const demand = yield* Effect.promise(() => fetch(url))
      const outcomes = Challenge.parse(demand.headers.get("www-authenticate") ?? "")
      assert.deepStrictEqual(outcomes.map(({ _tag }) => _tag), ["Standard", "Standard", "Seed"])
      const seed = outcomes.find((outcome) => outcome._tag === "Seed")!
      const grant = yield* SessionAuthority.SessionAuthority.use(({ create }) =>
        create(credential, "key-1", {
          challenge: seed.challenge.raw,
          audience,
          spendingLimitUsdc: 10_000n,
          validitySeconds: 3600
        })
      )
      const authorization = Redacted.value(Credential.formatToken(grant.token))
      const response = yield* Effect.promise(() => fetch(url, { headers: { authorization } }))
      assert.strictEqual(response.status, 200)
      assert.strictEqual((yield* Effect.promise(() => fetch(url, { headers: { authorization } }))).status, 402)
    }))
})
