/** Our paywall is paid out of channels, by the client of mppx and by our own agent: the payee gets what was delivered for. */
import { NodeHttpServer } from "@effect/platform-node"
import { assert, layer } from "@effect/vitest"
import { Effect, Layer, Option, Redacted, Schedule } from "effect"
import { SecureRandom } from "effect/crypto"
import { FetchHttpClient, HttpRouter, HttpServerResponse } from "effect/http"
import { Mppx, tempo } from "mppx/client"
import { type Address, createClient, defineChain, http } from "viem"
import { generatePrivateKey, privateKeyToAccount } from "viem/accounts"
import { tempoLocalnet } from "viem/tempo/chains"
import * as Chain from "../../src/Chain.ts"
import * as ChannelBooks from "../../src/merchant/ChannelBooks.ts"
import * as Paywall from "../../src/merchant/Paywall.ts"
import * as Session from "../../src/Session.ts"
import * as Tempo from "../../src/testing/chain/Tempo.ts"
import * as Transport from "../../src/Transport.ts"
import * as Receipt from "../../src/wire/mpp/Receipt.ts"
import { localUrl } from "../merchant/signedPayments.ts"
import { buyAt, payer, standing, wealth } from "./channelPayer.ts"

const secret = Redacted.make("0123456789abcdef0123456789abcdef")

/** The payee is an account of its own: nobody else pays it, and its fees are paid in another token. */
const payee = privateKeyToAccount(generatePrivateKey())

const units = 10_000n

const answer = Effect.flatMap(
  Paywall.Paid,
  (paid) =>
    HttpServerResponse.json({ secret: 42, payer: Option.getOrUndefined(Option.map(paid, ({ source }) => source)) })
)

const shop = (
  path: `/${string}`,
  options: (chain: Tempo.TempoChain["Service"]) => Partial<Paywall.ChannelsOptions>
) =>
  Paywall.route("*", path, { price: "0.01" }, answer).pipe(
    HttpRouter.provideRequest(
      Layer.unwrap(Effect.map(Tempo.TempoChain, (chain) =>
        Paywall.layer({
          ways: [Paywall.channels({
            secret,
            account: payee,
            feeToken: chain.alphaUsd.address as Address,
            accepts: [{ asset: chain.pathUsd }],
            suggestedDeposit: "1",
            ...options(chain)
          })]
        }))).pipe(Layer.provide(Layer.fresh(ChannelBooks.layerMemory)))
    )
  )

const ChainLive = Layer.unwrap(
  Effect.map(Tempo.TempoChain, ({ network, rpcUrl }) => Chain.layer({ rpc: { [network]: rpcUrl } }))
).pipe(
  Layer.provide(Layer.provide(Transport.layer, FetchHttpClient.layer))
)

const Funded = Layer.effectDiscard(
  Tempo.TempoChain.use((chain) => chain.fund(payee.address, 1_000_000n, chain.alphaUsd.address))
)

const Shop = HttpRouter.serve(
  Layer.mergeAll(
    shop("/metered", () => ({})),
    shop("/sponsored", ({ accounts }) => ({
      feePayer: { account: privateKeyToAccount(Redacted.value(accounts[3]!.privateKey)) }
    })),
    shop("/settled", () => ({ settleAt: "0.03", sweepEvery: "200 millis" }))
  ),
  { disableLogger: true }
).pipe(
  Layer.provideMerge(
    Layer.mergeAll(SecureRandom.layerWebCrypto, ChainLive, Funded, NodeHttpServer.layerTest)
  ),
  Layer.provideMerge(Tempo.layer())
)

// ---------------------------------------------------------------------------------------------------------------------
// Payers
// ---------------------------------------------------------------------------------------------------------------------

const clientOf = ({ chainId, rpcUrl }: Tempo.TempoChain["Service"]) => {
  const chain = defineChain({ ...tempoLocalnet, id: chainId, rpcUrls: { default: { http: [rpcUrl] } } })
  return createClient({ chain, transport: http(rpcUrl), pollingInterval: 20 })
}

/** A client of mppx that pays by channels, out of an account with ten dollars. */
const mppxPayer = Effect.gen(function*() {
  const chain = yield* Tempo.TempoChain
  const account = privateKeyToAccount(generatePrivateKey())
  yield* chain.fund(account.address, wealth)
  const client = clientOf(chain)
  const manager = tempo.session.manager({
    account,
    client,
    maxDeposit: "1",
    decimals: 6,
    allowedChainIds: [chain.chainId]
  })
  return { account, manager }
})

const receiptOf = (headers: Headers) =>
  (Option.getOrThrow(Receipt.decode(headers.get("payment-receipt") ?? "")) as Receipt.Standard).members

layer(Shop, { timeout: "60 seconds", excludeTestServices: true })("a paywall that sells by channels", (it) => {
  for (const path of ["/metered", "/sponsored"]) {
    it.effect(`is paid by the session manager of mppx: open, ten requests, close (${path})`, () =>
      Effect.gen(function*() {
        const chain = yield* Tempo.TempoChain
        const { account, manager } = yield* mppxPayer
        const url = `${yield* localUrl}${path}`
        const before = yield* chain.balance(payee.address)
        for (let nth = 1; nth <= 10; nth++) {
          const response = yield* Effect.promise(() => manager.fetch(url))
          const body = yield* Effect.promise(() => response.json() as Promise<Record<string, unknown>>)
          assert.strictEqual(response.status, 200, JSON.stringify(body))
          assert.strictEqual(body["secret"], 42)
          const { acceptedCumulative, intent, reference, spent, units: count } = receiptOf(response.headers)
          assert.deepStrictEqual(
            [intent, reference, acceptedCumulative, spent, count],
            ["session", manager.channelId ?? "", `${units * BigInt(nth)}`, `${units * BigInt(nth)}`, nth]
          )
        }
        assert.strictEqual(yield* chain.balance(payee.address), before)
        const closed = yield* Effect.promise(() => manager.close())
        assert.strictEqual(closed?.status, "success")
        assert.strictEqual((yield* chain.balance(payee.address)) - before, units * 10n)
        const paid = wealth - (yield* chain.balance(account.address))
        if (path === "/sponsored") assert.strictEqual(paid, units * 10n)
        else assert.isAtLeast(Number(paid), Number(units) * 10)
      }))
  }

  it.effect("is paid by the method of mppx, which opens a channel by itself", () =>
    Effect.gen(function*() {
      const chain = yield* Tempo.TempoChain
      const account = privateKeyToAccount(generatePrivateKey())
      yield* chain.fund(account.address, wealth)
      const client = clientOf(chain)
      const mppx = Mppx.create({
        polyfill: false,
        methods: [tempo.session({
          account,
          getClient: () => client,
          maxDeposit: "1",
          allowedChainIds: [chain.chainId]
        })]
      })
      const url = `${yield* localUrl}/metered`
      for (let nth = 1; nth <= 3; nth++) {
        const response = yield* Effect.promise(() => mppx.fetch(url))
        const body = yield* Effect.promise(() => response.json() as Promise<Record<string, unknown>>)
        assert.deepStrictEqual(
          [response.status, body],
          [200, { secret: 42, payer: `did:pkh:eip155:${chain.chainId}:${account.address.toLowerCase()}` }]
        )
        assert.strictEqual(receiptOf(response.headers)["spent"], `${units * BigInt(nth)}`)
      }
    }))

  it.effect("takes what it has delivered for before a channel ends, where it is told to", () =>
    Effect.gen(function*() {
      const chain = yield* Tempo.TempoChain
      const { manager } = yield* mppxPayer
      const url = `${yield* localUrl}/settled`
      const before = yield* chain.balance(payee.address)
      const got = Effect.map(chain.balance(payee.address), (balance) => balance - before)
      for (let nth = 1; nth <= 3; nth++) {
        assert.strictEqual((yield* Effect.promise(() => manager.fetch(url))).status, 200)
      }
      yield* Effect.repeat(got, { schedule: Schedule.spaced("100 millis"), until: (all) => all === units * 3n })
      assert.strictEqual((yield* Effect.promise(() => manager.fetch(url))).status, 200)
      yield* Effect.promise(() => manager.close())
      assert.strictEqual(yield* got, units * 4n)
    }))

  it.effect("adds to a channel that is used up", () =>
    Effect.gen(function*() {
      const chain = yield* Tempo.TempoChain
      const { manager } = yield* mppxPayer
      const url = `${yield* localUrl}/metered`
      const before = yield* chain.balance(payee.address)
      assert.strictEqual((yield* Effect.promise(() => manager.fetch(url))).status, 200)
      const toppedUp = yield* Effect.promise(() => manager.topUp(500_000n))
      assert.strictEqual(toppedUp?.status, "success")
      assert.strictEqual((yield* Effect.promise(() => manager.fetch(url))).status, 200)
      yield* Effect.promise(() => manager.close())
      assert.strictEqual((yield* chain.balance(payee.address)) - before, units * 2n)
    }))

  for (const path of ["/metered", "/sponsored"]) {
    it.effect(`is paid by our own agent: open, twenty requests, close (${path})`, () =>
      Effect.gen(function*() {
        const chain = yield* Tempo.TempoChain
        const { address, agent, gone } = yield* payer()
        const url = `${yield* localUrl}${path}`
        const before = yield* chain.balance(payee.address)
        yield* Effect.gen(function*() {
          const json = { secret: 42, payer: `did:pkh:eip155:${chain.chainId}:${address.toLowerCase()}` }
          for (let nth = 0; nth < 20; nth++) assert.deepStrictEqual(yield* buyAt(url), { status: 200, json })
          yield* Session.Session.use((session) => session.closeAll)
          assert.deepStrictEqual(yield* standing, { exposed: 0n, spent: yield* gone })
        }).pipe(Effect.provide(agent))
        assert.strictEqual((yield* chain.balance(payee.address)) - before, units * 20n)
      }), { timeout: 60_000 })
  }
})
