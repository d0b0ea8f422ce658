import { NodeHttpServer } from "@effect/platform-node"
import { assert, layer } from "@effect/vitest"
import { Effect, Layer, Option, Redacted } from "effect"
import { SecureRandom } from "effect/crypto"
import { FetchHttpClient, HttpRouter, HttpServerResponse } from "effect/http"
import { type Address, type Hex, keccak256 } from "viem"
import { generatePrivateKey, privateKeyToAccount } from "viem/accounts"
import * as Chain from "../../src/Chain.ts"
import * as Paywall from "../../src/merchant/Paywall.ts"
import * as Evm from "../../src/testing/chain/Evm.ts"
import * as LocalFacilitator from "../../src/testing/chain/LocalFacilitator.ts"
import * as Tempo from "../../src/testing/chain/Tempo.ts"
import * as Transport from "../../src/Transport.ts"
import type * as Challenge from "../../src/wire/mpp/Challenge.ts"
import * as EvmCharge from "../../src/wire/mpp/EvmCharge.ts"
import * as Source from "../../src/wire/mpp/Source.ts"
import { challengeOf, challengesOf, outcomeOf, present, receiptOf, secret } from "./charges.ts"
import { localUrl, sign as signAuthorization } from "./signedPayments.ts"
import { sign } from "./tempoChain.ts"

// ---------------------------------------------------------------------------------------------------------------------
// A shop on local chains
// ---------------------------------------------------------------------------------------------------------------------

const affiliate: Address = "0x00000000000000000000000000000000000a11ce"

const payee = (accounts: ReadonlyArray<Tempo.Account>): Address => accounts[2]!.address

const sells = (
  path: `/${string}`,
  options: (accounts: ReadonlyArray<Tempo.Account>) => Partial<Paywall.TempoOptions>
) =>
  Paywall.route("*", path, { price: "0.01" }, HttpServerResponse.json({ secret: 42 })).pipe(
    HttpRouter.provideRequest(Layer.unwrap(Effect.map(Tempo.TempoChain, ({ accounts, pathUsd }) =>
      Paywall.layer({
        ways: [
          Paywall.tempo({
            secret,
            accepts: [{ asset: pathUsd, payTo: payee(accounts) }],
            confirmationTimeout: "3 seconds",
            ...options(accounts)
          })
        ]
      }))))
  )

const sponsor = (accounts: ReadonlyArray<Tempo.Account>) => accounts[3]!

const routes = Layer.mergeAll(
  sells("/self", () => ({ splits: [{ payTo: affiliate, basisPoints: 1_000 }] })),
  sells("/sponsored", (accounts) => ({
    feePayer: { account: privateKeyToAccount(Redacted.value(sponsor(accounts).privateKey)) }
  }))
)

const ChainLive = Layer.unwrap(
  Effect.map(Tempo.TempoChain, ({ network, rpcUrl }) => Chain.layer({ rpc: { [network]: rpcUrl } }))
).pipe(
  Layer.provide(Layer.provide(Transport.layer, FetchHttpClient.layer))
)

const shop = (options: Tempo.Options = {}) =>
  HttpRouter.serve(routes, { disableLogger: true }).pipe(
    Layer.provideMerge(Layer.mergeAll(SecureRandom.layerWebCrypto, ChainLive, NodeHttpServer.layerTest)),
    Layer.provideMerge(Tempo.layer(options))
  )

// ---------------------------------------------------------------------------------------------------------------------
// Its customers
// ---------------------------------------------------------------------------------------------------------------------

const get = Effect.fnUntraced(function*(path: string, init?: RequestInit) {
  const url = `${yield* localUrl}${path}`
  return yield* Effect.promise(() => fetch(url, init))
})

const challenge = (path: string) => Effect.map(get(path), challengeOf)

/** An account of its own. */
const payer = Effect.fnUntraced(function*(units: bigint) {
  const chain = yield* Tempo.TempoChain
  const account = privateKeyToAccount(generatePrivateKey())
  if (units > 0n) yield* chain.fund(account.address, units)
  return account
})

/** The clients of this chain estimate nothing: what is left over is not paid. */
const fees = { gas: "1500000", maxFeePerGas: "30000000000", maxPriorityFeePerGas: "1000000000" }

const pull = (path: string, challenge: Challenge.Challenge, signature: Hex) =>
  get(path, present({ challenge, payload: { type: "transaction", signature } }))

const statusOf = <E, R>(asked: Effect.Effect<Response, E, R>) => Effect.map(asked, ({ status }) => status)

/** What the payee gains by something. */
const earned = Effect.fnUntraced(function*<A, E, R>(effect: Effect.Effect<A, E, R>) {
  const chain = yield* Tempo.TempoChain
  const before = yield* chain.balance(payee(chain.accounts))
  const result = yield* effect
  return [result, (yield* chain.balance(payee(chain.accounts))) - before] as const
})

layer(shop(), { timeout: "60 seconds", excludeTestServices: true })("a charge on a Tempo chain", (it) => {
  it.effect("is paid by a transaction, once, with what is everybody's", () =>
    Effect.gen(function*() {
      const chain = yield* Tempo.TempoChain
      const signer = yield* payer(1_000_000n)
      const asked = yield* challenge("/self")
      const signed = yield* sign(asked, { signer, ...fees })
      const copies = Array.from({ length: 3 }, () => statusOf(pull("/self", asked, signed)))
      const [statuses, units] = yield* earned(Effect.all(copies, { concurrency: "unbounded" }))
      assert.deepStrictEqual(statuses.toSorted(), [200, 402, 402])
      assert.deepStrictEqual([units, yield* chain.balance(affiliate)], [9_000n, 1_000n])
      const hash = present({ challenge: asked, payload: { type: "hash", hash: keccak256(signed) } })
      assert.strictEqual(yield* statusOf(get("/self", hash)), 402)
    }))

  it.effect("is paid by the hash of a transaction, and by no transaction that paid for something else", () =>
    Effect.gen(function*() {
      const chain = yield* Tempo.TempoChain
      const signer = yield* payer(1_000_000n)
      const [own, other] = [yield* challenge("/self"), yield* challenge("/self")]
      const signed = yield* sign(own, { signer, ...fees })
      const hash = keccak256(signed)
      const answer = (challenge: Challenge.Challenge) =>
        get(
          "/self",
          present({
            challenge,
            source: Source.format(chain.chainId, signer.address),
            payload: { type: "hash", hash }
          })
        )
      const early = yield* answer(own)
      assert.deepStrictEqual([early.status, challengesOf(early)], [503, []])
      yield* chain.rpc("eth_sendRawTransaction", [signed])
      assert.deepStrictEqual(yield* outcomeOf(yield* answer(other)), [402, "verification-failed"])
      const [paid] = yield* earned(answer(own))
      assert.strictEqual(Option.getOrThrow(receiptOf(paid)).reference, hash)
      assert.strictEqual(yield* statusOf(answer(own)), 402)
    }))

  it.effect("is refused at once where the payer has no money, and nothing is sent", () =>
    Effect.gen(function*() {
      const chain = yield* Tempo.TempoChain
      const signer = yield* payer(9_999n)
      for (const path of ["/self", "/sponsored"]) {
        const asked = yield* challenge(path)
        const signed = yield* sign(asked, { signer, ...fees })
        const before = yield* chain.balance(sponsor(chain.accounts).address)
        const [refused, units] = yield* earned(pull(path, asked, signed))
        assert.notStrictEqual(challengeOf(refused).id, asked.id)
        assert.deepStrictEqual(yield* outcomeOf(refused), [402, "verification-failed"])
        assert.deepStrictEqual([units, yield* chain.balance(sponsor(chain.accounts).address)], [0n, before])
      }
    }))

  it.effect("takes nothing but the price from who pays no fee", () =>
    Effect.gen(function*() {
      const chain = yield* Tempo.TempoChain
      const signer = yield* payer(10_000n)
      const asked = yield* challenge("/sponsored")
      const before = yield* chain.balance(sponsor(chain.accounts).address)
      const [paid, units] = yield* earned(pull("/sponsored", asked, yield* sign(asked, { signer, ...fees })))
      assert.deepStrictEqual([paid.status, units, yield* chain.balance(signer.address)], [200, 10_000n, 0n])
      const fee = before - (yield* chain.balance(sponsor(chain.accounts).address))
      assert.isTrue(fee > 0n && fee <= 50_000n, `${fee}`)
      const { reference } = Option.getOrThrow(receiptOf(paid))
      assert.isTrue((yield* chain.transfers()).some(({ transaction }) => transaction === reference))
    }))

  it.effect("loses no more than one fee to an account that is emptied many times at once", () =>
    Effect.gen(function*() {
      const chain = yield* Tempo.TempoChain
      const signer = yield* payer(10_000n)
      const asked = yield* Effect.all(Array.from({ length: 5 }, () => challenge("/sponsored")))
      const signed = yield* Effect.forEach(asked, (it) => sign(it, { signer, ...fees }))
      const before = yield* chain.blockNumber
      const all = Effect.all(asked.map((it, at) => statusOf(pull("/sponsored", it, signed[at]!))), {
        concurrency: "unbounded"
      })
      const [statuses, units] = yield* earned(all)
      assert.deepStrictEqual([statuses.toSorted(), units], [[200, 402, 402, 402, 402], 10_000n])
      const blocks = yield* Effect.forEach(
        Array.from({ length: Number((yield* chain.blockNumber) - before) }, (_, at) => before + 1n + BigInt(at)),
        (number) => chain.rpc("eth_getBlockByNumber", [`0x${number.toString(16)}`, false])
      )
      const transactions = (blocks as ReadonlyArray<{ transactions: ReadonlyArray<string> }>)
        .flatMap(({ transactions }) => transactions)
      assert.strictEqual(transactions.length, 1)
    }))
})

layer(shop({ noMining: true }), { timeout: "60 seconds", excludeTestServices: true })(
  "a charge on a Tempo chain that makes no blocks",
  (it) => {
    it.effect("is uncertain until there is a block, and buys its answer then", () =>
      Effect.gen(function*() {
        const chain = yield* Tempo.TempoChain
        const signer = yield* payer(1_000_000n)
        yield* chain.mine()
        const asked = yield* challenge("/self")
        const signed = yield* sign(asked, { signer, ...fees })
        const [uncertain, nothing] = yield* earned(pull("/self", asked, signed))
        assert.deepStrictEqual([uncertain.status, nothing, challengesOf(uncertain)], [503, 0n, []])
        assert.strictEqual(yield* statusOf(pull("/self", asked, signed)), 503)
        const [paid, units] = yield* earned(Effect.andThen(chain.mine(), pull("/self", asked, signed)))
        assert.deepStrictEqual([paid.status, units], [200, 9_000n])
        const [again, more] = yield* earned(Effect.andThen(chain.mine(), pull("/self", asked, signed)))
        assert.deepStrictEqual([again.status, more], [402, 0n])
      }))
  }
)

// ---------------------------------------------------------------------------------------------------------------------
// On an EVM chain
// ---------------------------------------------------------------------------------------------------------------------

const EvmShop = HttpRouter.serve(
  Paywall.route("GET", "/evm", { price: "0.01" }, HttpServerResponse.json({ secret: 42 })),
  { disableLogger: true }
).pipe(
  Layer.provideMerge(
    Layer.unwrap(
      Effect.map(
        Evm.EvmChain,
        ({ accounts, asset }) =>
          Paywall.layer({ ways: [Paywall.evm({ secret, accepts: [{ asset, payTo: payee(accounts) }] })] })
      )
    )
  ),
  Layer.provideMerge(
    Layer.mergeAll(SecureRandom.layerWebCrypto, LocalFacilitator.layer(), NodeHttpServer.layerTest)
  ),
  Layer.provideMerge(Evm.layer({ chainId: 84532 }))
)

layer(EvmShop, { timeout: "60 seconds", excludeTestServices: true })("a charge on an EVM chain", (it) => {
  it.effect("is settled by the facilitator, once", () =>
    Effect.gen(function*() {
      const chain = yield* Evm.EvmChain
      const from = chain.accounts[1]!
      const to = payee(chain.accounts)
      yield* chain.mint(from.address, 1_000_000n)
      const asked = yield* challenge("/evm")
      const payload = yield* signAuthorization(from, { payTo: to, units: 10_000n }, { nonce: EvmCharge.nonce(asked) })
      const { authorization, signature } = payload as { authorization: Record<string, string>; signature: string }
      const init = present({
        challenge: asked,
        source: Source.format(84532, from.address),
        payload: { type: "authorization", signature, ...authorization }
      })
      const before = yield* chain.balance(to)
      const copies = Effect.all([get("/evm", init), get("/evm", init), get("/evm", init)], { concurrency: "unbounded" })
      const answers = yield* copies
      assert.deepStrictEqual(answers.map(({ status }) => status).toSorted(), [200, 402, 402])
      assert.strictEqual((yield* chain.balance(to)) - before, 10_000n)
      const { reference } = Option.getOrThrow(receiptOf(answers.find(({ status }) => status === 200)!))
      assert.isTrue((yield* chain.transfers).some(({ transaction }) => transaction === reference))
    }))
})
