import { NodeHttpServer } from "@effect/platform-node"
import { assert, describe, it, layer } from "@effect/vitest"
import { Context, Data, Deferred, Effect, Fiber, Layer, Option, Redacted, Ref, Result } from "effect"
import { SecureRandom } from "effect/crypto"
import {
  HttpClient,
  HttpClientRequest,
  type HttpClientResponse,
  HttpRouter,
  HttpServerRequest,
  HttpServerResponse
} from "effect/http"
import { TestClock } from "effect/testing"
import * as Asset from "../../src/Asset.ts"
import type * as Claims from "../../src/merchant/Claims.ts"
import * as Facilitator from "../../src/merchant/Facilitator.ts"
import * as Paywall from "../../src/merchant/Paywall.ts"
import * as SessionAuthority from "../../src/merchant/SessionAuthority.ts"
import * as Evm from "../../src/testing/chain/Evm.ts"
import * as LocalFacilitator from "../../src/testing/chain/LocalFacilitator.ts"
import * as AuthScheme from "../../src/wire/mpp/AuthScheme.ts"
import * as Credential from "../../src/wire/mpp/Credential.ts"
import * as Receipt from "../../src/wire/mpp/Receipt.ts"
import * as SeedChallenge from "../../src/wire/mpp/SeedChallenge.ts"
import * as Settlement from "../../src/wire/x402/Settlement.ts"
import * as V1 from "../../src/wire/x402/V1.ts"
import * as V2 from "../../src/wire/x402/V2.ts"
import { localUrl, nonceOf, sign } from "./signedPayments.ts"

// ---------------------------------------------------------------------------------------------------------------------
// A shop
// ---------------------------------------------------------------------------------------------------------------------

class Broken extends Data.TaggedError("Broken")<{}> {}

/** How often the handler of each route ran. */
class Runs extends Context.Service<Runs, Ref.Ref<number>>()("test/Runs") {
  static readonly layer = Layer.effect(Runs, Ref.make(0))
}

const answer = Effect.gen(function*() {
  yield* Ref.update(yield* Runs, (runs) => runs + 1)
  return HttpServerResponse.jsonUnsafe({ secret: 42 })
})

/** Refuses once, then answers. */
const refusesOnce = Effect.gen(function*() {
  const runs = yield* Ref.getAndUpdate(yield* Runs, (runs) => runs + 1)
  return runs === 0 ? HttpServerResponse.empty({ status: 503 }) : HttpServerResponse.jsonUnsafe({ secret: 42 })
})

const terms = { price: "0.01", description: "An answer", mimeType: "application/json" }

const routes = Layer.mergeAll(
  HttpRouter.add("GET", "/free", HttpServerResponse.text("free")),
  Paywall.route("GET", "/data/:id", terms, answer),
  Paywall.route("GET", "/status", terms, Effect.succeed(HttpServerResponse.empty({ status: 404 }))),
  Paywall.route("GET", "/broken", terms, Effect.fail(new Broken())),
  HttpRouter.add("GET", "/wholesale", answer).pipe(Layer.provide(Paywall.middleware({ price: "0.50" }).layer))
)

const credential = Redacted.make("tempo_live_1")

const Authority = SessionAuthority.layer({ accounts: [{ credential, balanceUsd: 1_000_000n }] }).pipe(
  Layer.provideMerge(SecureRandom.layerWebCrypto)
)

const PaywallLive = Layer.unwrap(Effect.map(Evm.EvmChain, ({ accounts, asset }) =>
  Paywall.layer({
    ways: [
      Paywall.sessions({ endpoint: "https://pay.example.com/session" }),
      Paywall.x402({ accepts: [{ asset, payTo: accounts[2]!.address }] })
    ]
  })))

const Shop = HttpRouter.serve(routes, { disableLogger: true }).pipe(
  Layer.provideMerge(PaywallLive),
  Layer.provideMerge(Layer.mergeAll(Runs.layer, Authority, LocalFacilitator.layer(), NodeHttpServer.layerTest)),
  Layer.provideMerge(Evm.layer({ chainId: 84532 }))
)

// ---------------------------------------------------------------------------------------------------------------------
// Its customers
// ---------------------------------------------------------------------------------------------------------------------

const get = (path: string, headers: Record<string, string> = {}) =>
  HttpClient.execute(HttpClientRequest.setHeaders(HttpClientRequest.get(path), headers))

const demandV2 = (response: HttpClientResponse.HttpClientResponse) =>
  Option.getOrThrow(V2.decodeHeader(response.headers[V2.requiredHeader] ?? ""))

const settlementOf = (response: HttpClientResponse.HttpClientResponse, header: string = V2.responseHeader) =>
  Option.getOrThrow(Settlement.decode(response.headers[header] ?? ""))

const receiptOf = (response: HttpClientResponse.HttpClientResponse) =>
  Option.getOrThrow(Receipt.decode(response.headers["payment-receipt"] ?? ""))

const challengeOf = (response: HttpClientResponse.HttpClientResponse) => {
  const [challenge = Result.fail("absent")] = AuthScheme.parse(response.headers["www-authenticate"] ?? "", "payment")
  const raw = Result.getOrThrow(challenge).get("challenge")!
  return { raw, terms: Option.getOrThrow(SeedChallenge.decode(raw)) }
}

const payment = Effect.gen(function*() {
  const { accounts, asset, network } = yield* Evm.EvmChain
  const payload = yield* sign(accounts[1]!, { payTo: accounts[2]!.address, units: 10_000n })
  const accepted = {
    scheme: "exact",
    network,
    amount: "10000",
    asset: asset.address,
    payTo: accounts[2]!.address,
    maxTimeoutSeconds: 60,
    extra: { ...asset.domain }
  }
  return { payload, header: { [V2.paymentHeader]: V2.encodePayment({ accepted, payload }) } }
})

/** What the payee gains by something. */
const earned = Effect.fnUntraced(function*<A, E, R>(effect: Effect.Effect<A, E, R>) {
  const chain = yield* Evm.EvmChain
  yield* chain.mint(chain.accounts[1]!.address, 100_000n)
  const payee = chain.accounts[2]!.address
  const before = yield* chain.balance(payee)
  const result = yield* effect
  return [result, (yield* chain.balance(payee)) - before] as const
})

const openSession = Effect.fnUntraced(function*(spendingLimitUsdc: bigint, validitySeconds = 3600) {
  const { raw } = challengeOf(yield* get("/data/1"))
  const grant = yield* SessionAuthority.SessionAuthority.use(({ create }) =>
    Effect.flatMap(
      localUrl,
      (audience) =>
        create(credential, `key-${raw.slice(12, 60)}`, { challenge: raw, audience, spendingLimitUsdc, validitySeconds })
    )
  )
  return { authorization: Redacted.value(Credential.formatToken(grant.token)) }
})

layer(Shop, { timeout: "60 seconds" })("a paywall", (it) => {
  it.effect("leaves free routes alone", () =>
    Effect.gen(function*() {
      const response = yield* get("/free")
      assert.strictEqual(response.status, 200)
      assert.strictEqual(yield* response.text, "free")
      assert.strictEqual((yield* get("/nowhere")).status, 404)
    }))

  it.effect("demands payment in every protocol that it sells by", () =>
    Effect.gen(function*() {
      const { accounts, asset } = yield* Evm.EvmChain
      const url = `${yield* localUrl}/data/1`
      const response = yield* get("/data/1?token=secret")
      assert.strictEqual(response.status, 402)
      assert.strictEqual(response.headers["cache-control"], "no-store")

      const { terms } = challengeOf(response)
      assert.strictEqual(terms.priceUsdc, 10_000n)
      assert.strictEqual(terms.resource, url)
      assert.strictEqual(terms.realm, new URL(url).host)
      assert.strictEqual(terms.sessionEndpoint, "https://pay.example.com/session")

      const { entries, resource } = demandV2(response)
      assert.deepStrictEqual(resource, { url, description: "An answer", mimeType: "application/json" })
      assert.deepStrictEqual(entries.map(({ received }) => received), [{
        scheme: "exact",
        network: "eip155:84532",
        amount: "10000",
        asset: asset.address,
        payTo: accounts[2]!.address,
        maxTimeoutSeconds: 60,
        extra: { name: "USDC", version: "2" }
      }])

      const text = yield* response.text
      const body = JSON.parse(text) as Record<string, unknown>
      assert.strictEqual(body["type"], "https://paymentauth.org/problems/payment-required")
      assert.strictEqual(body["status"], 402)
      assert.deepStrictEqual(body["protocols_supported"], ["mpp", "x402"])
      const [first] = Option.getOrThrow(V1.decodeBody(text)).entries
      assert.strictEqual(first?.received["network"], "base-sepolia")
      assert.strictEqual(first?.received["maxAmountRequired"], "10000")
    }))

  it.effect("settles a payment of version 2, which moves exactly the price and buys one answer", () =>
    Effect.gen(function*() {
      const chain = yield* Evm.EvmChain
      const { header } = yield* payment
      const [response, units] = yield* earned(get("/data/1", header))
      assert.strictEqual(response.status, 200)
      assert.deepStrictEqual(yield* response.json, { secret: 42 })
      assert.strictEqual(response.headers["cache-control"], "private")
      assert.strictEqual(units, 10_000n)
      const { amount, network, payer, success, transaction } = settlementOf(response)
      assert.deepStrictEqual(
        { amount, network, payer, success },
        { amount: 10_000n, network: "eip155:84532", payer: chain.accounts[1]!.address, success: true }
      )
      assert.isTrue((yield* chain.transfers).some((transfer) => transfer.transaction === transaction))

      const [again, more] = yield* earned(get("/data/2", header))
      assert.strictEqual(again.status, 402)
      assert.strictEqual(demandV2(again).error, "invalid_exact_evm_nonce_already_used")
      assert.strictEqual(more, 0n)
    }))

  it.effect("settles a payment of version 1", () =>
    Effect.gen(function*() {
      const { payload } = yield* payment
      const header = { [V1.paymentHeader]: V1.encodePayment({ scheme: "exact", network: "base-sepolia", payload }) }
      const [response, units] = yield* earned(get("/data/1", header))
      assert.strictEqual(response.status, 200)
      assert.strictEqual(units, 10_000n)
      assert.isTrue(settlementOf(response, V1.responseHeader).success)
      assert.strictEqual((yield* get("/data/1", header)).status, 402)
    }))

  it.effect("gives one answer to three copies of a payment", () =>
    Effect.gen(function*() {
      const { header } = yield* payment
      const copies = Effect.all([get("/data/1", header), get("/data/2", header), get("/data/3", header)], {
        concurrency: "unbounded"
      })
      const [responses, units] = yield* earned(copies)
      assert.deepStrictEqual(responses.map(({ status }) => status).toSorted(), [200, 402, 402])
      assert.strictEqual(units, 10_000n)
    }))

  it.effect("takes nothing for what the handler refuses", () =>
    Effect.gen(function*() {
      const chain = yield* Evm.EvmChain
      const { header, payload } = yield* payment
      const [statuses, units] = yield* earned(
        Effect.all([get("/status", header), get("/broken", header)]).pipe(
          Effect.map((responses) => responses.map(({ status }) => status))
        )
      )
      assert.deepStrictEqual(statuses, [404, 500])
      assert.strictEqual(units, 0n)
      assert.isFalse(yield* chain.authorizationState(chain.accounts[1]!.address, nonceOf(payload)))
      assert.strictEqual((yield* get("/data/1", header)).status, 200)
    }))

  it.effect("runs no handler for a payment that does not verify, and says why", () =>
    Effect.gen(function*() {
      const { accounts, asset, network } = yield* Evm.EvmChain
      const { payload } = yield* payment
      const forged = { ...payload, signature: `0x${"11".repeat(64)}1b` }
      const accepted = { scheme: "exact", network, amount: "10000", asset: asset.address, payTo: accounts[2]!.address }
      const runs = yield* Ref.get(yield* Runs)
      const refused = yield* get("/data/1", { [V2.paymentHeader]: V2.encodePayment({ accepted, payload: forged }) })
      assert.strictEqual(refused.status, 402)
      assert.strictEqual(demandV2(refused).error, "invalid_exact_evm_signature")
      const cheap = { ...accepted, amount: "1" }
      const unmatched = yield* get("/data/1", { [V2.paymentHeader]: V2.encodePayment({ accepted: cheap, payload }) })
      assert.strictEqual(demandV2(unmatched).error, "invalid_payment_requirements")
      const dear = yield* get("/wholesale", {
        [V2.paymentHeader]: V2.encodePayment({ accepted: { ...accepted, amount: "500000" }, payload })
      })
      assert.strictEqual(demandV2(dear).error, "invalid_exact_evm_payload_authorization_value_mismatch")
      assert.strictEqual(yield* Ref.get(yield* Runs), runs)
    }))

  it.effect("sells the routes of a middleware", () =>
    Effect.gen(function*() {
      const { terms } = challengeOf(yield* get("/wholesale"))
      assert.strictEqual(terms.priceUsdc, 500_000n)
    }))

  it.effect("debits the session of a token, until its limit is used up", () =>
    Effect.gen(function*() {
      const token = yield* openSession(20_000n)
      const first = yield* get("/data/1", token)
      assert.strictEqual(first.status, 200)
      assert.strictEqual(first.headers["cache-control"], "private")
      const receipt = receiptOf(first)
      assert.deepInclude(receipt, { protocol: "mpp/1.0", amount: 10_000n, remaining: 10_000n })
      assert.strictEqual((yield* get("/data/1", token)).status, 200)

      const over = yield* get("/data/1", token)
      assert.strictEqual(over.status, 402)
      assert.strictEqual(challengeOf(over).terms.priceUsdc, 10_000n)
      assert.match(yield* over.text, /payment-insufficient/)
    }))

  it.effect("answers an expired token with 401 and a challenge", () =>
    Effect.gen(function*() {
      const token = yield* openSession(20_000n, 60)
      assert.strictEqual((yield* get("/data/1", token)).status, 200)
      yield* TestClock.adjust("61 seconds")
      const response = yield* get("/data/1", token)
      assert.strictEqual(response.status, 401)
      assert.strictEqual(challengeOf(response).terms.priceUsdc, 10_000n)
    }))

  it.effect("answers credentials that cannot be read with 402, and never breaks", () =>
    Effect.gen(function*() {
      const base64 = (value: unknown) => Buffer.from(JSON.stringify(value)).toString("base64")
      const hostile = [
        { authorization: "Payment" },
        { authorization: "Payment short" },
        { authorization: `Payment ${"a".repeat(9_000)}` },
        { authorization: `Payment ${base64({ challenge: {}, payload: {} })}` },
        { authorization: "Payment a b c" },
        { "payment-signature": "" },
        { "payment-signature": "%%%" },
        { "payment-signature": "[".repeat(9_000) },
        { "payment-signature": base64([]) },
        { "payment-signature": base64({ x402Version: 2, accepted: null, payload: { __proto__: 1 } }) },
        { "x-payment": base64({ x402Version: 1, scheme: "exact", network: "base-sepolia", payload: {} }) },
        { "x-payment": base64({ x402Version: 1, scheme: {}, network: [] }) }
      ]
      const runs = yield* Ref.get(yield* Runs)
      for (const headers of hostile) {
        const response = yield* get("/data/1", headers as Record<string, string>)
        assert.strictEqual(response.status, 402, JSON.stringify(headers).slice(0, 80))
        assert.strictEqual(challengeOf(response).terms.priceUsdc, 10_000n)
      }
      assert.strictEqual(yield* Ref.get(yield* Runs), runs)
    }))

  it.effect("does not take its origin from a request that comes from elsewhere", () =>
    Effect.gen(function*() {
      const ask = (url: string) =>
        Effect.map(
          Effect.provideService(
            Paywall.sell(terms)(answer),
            HttpServerRequest.HttpServerRequest,
            HttpServerRequest.fromWeb(new Request(url))
          ),
          ({ status }) => status
        )
      assert.strictEqual(yield* ask("http://127.0.0.1:4021/data"), 402)
      assert.strictEqual(yield* ask("https://shop.example.com/data"), 500)
    }))
})

// ---------------------------------------------------------------------------------------------------------------------
// Facilitators that fail
// ---------------------------------------------------------------------------------------------------------------------

type Settling = Effect.Effect<
  Facilitator.Settlement,
  Facilitator.SettlementUnknown | Facilitator.FacilitatorUnavailable
>

const asset = Option.getOrThrow(
  Asset.makeTable(Asset.known).find("eip155:84532", "0x036CbD53842c5426634e7929541eC2318f3dCF7e")
)
const payTo = "0x3c44cdddb6a900fa2b585dd299e03d12fa4293bc"

const settled: Facilitator.Settlement = { success: true, transaction: "0x1", network: asset.network }
const pending: Facilitator.Settlement = { ...settled, success: false, errorReason: "settlement_pending" }
const lost = Effect.fail(new Facilitator.SettlementUnknown({ detail: "no answer" }))

interface ShopOptions extends Pick<Paywall.X402Options, "claims" | "flow"> {
  readonly handler?: typeof answer
  readonly verify?: Facilitator.Facilitator["Service"]["verify"]
}

/** A shop whose facilitator settles as it is told, in order; the last one repeats. */
const shop = (script: ReadonlyArray<Settling>, options: ShopOptions = {}) =>
  HttpRouter.serve(Paywall.route("GET", "/data", terms, options.handler ?? answer), { disableLogger: true }).pipe(
    Layer.provideMerge(Paywall.layer({
      ways: [Paywall.x402({ accepts: [{ asset, payTo }], flow: options.flow, claims: options.claims })]
    })),
    Layer.provide(Layer.effect(
      Facilitator.Facilitator,
      Effect.map(Ref.make(script), (left) =>
        Facilitator.Facilitator.of({
          verify: options.verify ?? (() => Effect.succeed({ isValid: true })),
          settle: () =>
            Effect.flatten(Ref.modify(left, ([first, ...rest]) => [first!, rest.length === 0 ? [first!] : rest])),
          supported: Effect.succeed({ kinds: [] })
        }))
    )),
    Layer.provideMerge(Layer.mergeAll(Runs.layer, NodeHttpServer.layerTest))
  )

const signedBy = (byte: string, validBefore = "4000000000") => ({
  [V2.paymentHeader]: V2.encodePayment({
    accepted: { scheme: "exact", network: asset.network, amount: "10000", asset: asset.address, payTo },
    payload: {
      signature: `0x${byte.repeat(65)}`,
      authorization: {
        from: "0x70997970c51812dc3a010c7d01b50e0d17dc79c8",
        to: payTo,
        value: "10000",
        validAfter: "0",
        validBefore,
        nonce: `0x${"22".repeat(32)}`
      }
    }
  })
})

const unsigned = signedBy("11")

const statuses = (times: number) =>
  Effect.map(
    Effect.all(Array.from({ length: times }, () => get("/data", unsigned))),
    (responses) => responses.map(({ status }) => status)
  )

describe("a paywall whose facilitator fails", () => {
  it.effect("sends nothing while the outcome is unknown, and owes the answer to the same payment, once", () =>
    Effect.gen(function*() {
      const response = yield* get("/data", unsigned)
      assert.strictEqual(response.status, 503)
      assert.strictEqual(response.headers["retry-after"], "2")
      assert.isUndefined(response.headers[V2.requiredHeader])
      assert.notInclude(yield* response.text, "secret")
      assert.deepStrictEqual(yield* statuses(2), [200, 402])
    }).pipe(Effect.provide(shop([lost, lost, Effect.succeed(settled)]))))

  it.effect("asks once more for a settlement that is pending, and shows the transaction", () =>
    Effect.gen(function*() {
      const response = yield* get("/data", unsigned)
      assert.strictEqual(response.status, 503)
      assert.deepInclude(settlementOf(response), {
        success: false,
        errorReason: "settlement_pending",
        transaction: "0x1"
      })
      assert.deepStrictEqual(yield* statuses(2), [200, 402])
    }).pipe(Effect.provide(shop([Effect.succeed(pending), Effect.succeed(pending), Effect.succeed(settled)]))))

  const failed: Settling = Effect.succeed({ ...pending, errorReason: "invalid_exact_evm_nonce_already_used" })
  const down = Effect.fail(new Facilitator.FacilitatorUnavailable({ operation: "settle", detail: "refused" }))
  const doubtful: ReadonlyArray<readonly [what: string, script: ReadonlyArray<Settling>]> = [
    ["is called failed after no answer", [lost, failed]],
    ["cannot be asked for again after no answer", [lost, down]],
    ["is called failed after it was under way", [Effect.succeed(pending), failed]],
    ["cannot be asked for again after it was under way", [Effect.succeed(pending), down]]
  ]
  for (const [what, script] of doubtful) {
    it.effect(`owes the answer where a settlement ${what}: the money may have moved`, () =>
      Effect.gen(function*() {
        const response = yield* get("/data", unsigned)
        assert.strictEqual(response.status, 503)
        assert.isUndefined(response.headers[V2.requiredHeader])
        assert.deepStrictEqual(yield* statuses(4), [503, 503, 200, 402])
      }).pipe(Effect.provide(shop([...script, failed, down, Effect.succeed(settled)]))))
  }

  it.effect("owes an answer of the price that was paid, and none that is dearer", () => {
    const ask = (price: string, amount: string) => {
      const payload = Option.getOrThrow(V2.decodePayment(unsigned[V2.paymentHeader])).payload
      const accepted = { scheme: "exact", network: asset.network, amount, asset: asset.address, payTo }
      return Effect.provideService(
        Paywall.sell({ price })(answer),
        HttpServerRequest.HttpServerRequest,
        HttpServerRequest.fromWeb(
          new Request("http://127.0.0.1/data", {
            headers: { [V2.paymentHeader]: V2.encodePayment({ accepted, payload }) }
          })
        )
      )
    }
    return Effect.gen(function*() {
      assert.strictEqual((yield* ask("0.01", "10000")).status, 503)
      assert.strictEqual((yield* ask("5", "5000000")).status, 402)
      assert.strictEqual((yield* ask("0.01", "10000")).status, 200)
    }).pipe(Effect.provide(shop([lost, lost, Effect.succeed(settled)])))
  })

  it.effect("keeps what was paid for out of shared caches, whatever the handler says", () =>
    Effect.gen(function*() {
      assert.strictEqual((yield* get("/data", unsigned)).headers["cache-control"], "private")
    }).pipe(Effect.provide(shop([Effect.succeed(settled)], {
      handler: Effect.map(answer, HttpServerResponse.setHeader("cache-control", "public, max-age=60"))
    }))))

  it.effect("demands no other payment where a settlement failed", () =>
    Effect.gen(function*() {
      const response = yield* get("/data", unsigned)
      assert.strictEqual(response.status, 402)
      assert.isFalse(settlementOf(response).success)
      assert.isUndefined(response.headers[V2.requiredHeader])
      assert.notInclude(yield* response.text, "secret")
    }).pipe(
      Effect.provide(shop([Effect.succeed({ ...pending, errorReason: "invalid_exact_evm_transaction_failed" })]))
    ))

  it.effect("answers 502 where the facilitator is down, and keeps the payment good", () =>
    Effect.gen(function*() {
      assert.deepStrictEqual(yield* statuses(2), [502, 200])
    }).pipe(Effect.provide(shop([
      Effect.fail(new Facilitator.FacilitatorUnavailable({ operation: "settle", detail: "refused" })),
      Effect.succeed(settled)
    ]))))

  it.effect("owes the answer to an asker who went away while the payment was settled", () =>
    Effect.gen(function*() {
      const settling = yield* Deferred.make<void>()
      const release = yield* Deferred.make<void>()
      const ask = Effect.provideService(
        Paywall.sell(terms)(answer),
        HttpServerRequest.HttpServerRequest,
        HttpServerRequest.fromWeb(new Request("http://127.0.0.1/data", { headers: unsigned }))
      )
      const slow = Effect.andThen(
        Deferred.succeed(settling, undefined),
        Effect.as(Deferred.await(release), settled)
      )
      yield* Effect.gen(function*() {
        const asker = yield* Effect.forkChild(ask)
        yield* Deferred.await(settling)
        const leaving = yield* Effect.forkChild(Fiber.interrupt(asker), { startImmediately: true })
        assert.strictEqual((yield* get("/data", unsigned)).status, 402)
        yield* Deferred.succeed(release, undefined)
        yield* Fiber.join(leaving)
        assert.deepStrictEqual(yield* statuses(2), [200, 402])
      }).pipe(Effect.provide(shop([slow, Effect.succeed(settled)])))
    }))
})

describe("a payment whose nonce others know", () => {
  for (const flow of ["authorization", "upfront"] as const) {
    it.effect(`is answered while a forged copy of it is verified, and the copy gets nothing (${flow})`, () =>
      Effect.gen(function*() {
        const verifying = yield* Deferred.make<void>()
        const release = yield* Deferred.make<void>()
        const verify = ({ paymentPayload }: Facilitator.Submission) =>
          JSON.stringify(paymentPayload).includes("ff".repeat(65))
            ? Deferred.succeed(verifying, undefined).pipe(
              Effect.andThen(Deferred.await(release)),
              Effect.as({ isValid: false, invalidReason: "invalid_exact_evm_signature" })
            )
            : Effect.succeed({ isValid: true })
        yield* Effect.gen(function*() {
          const forger = yield* Effect.forkChild(get("/data", signedBy("ff")))
          yield* Deferred.await(verifying)
          assert.deepStrictEqual(yield* statuses(1), [200])
          yield* Deferred.succeed(release, undefined)
          const refused = yield* Fiber.join(forger)
          assert.strictEqual(refused.status, 402)
          assert.strictEqual(demandV2(refused).error, "invalid_exact_evm_signature")
        }).pipe(Effect.provide(shop([Effect.succeed(settled)], { flow, verify })))
      }))
  }

  it.effect("is still owed its answer after forged copies of it, whatever validity they claim", () =>
    Effect.gen(function*() {
      const failed: Facilitator.Settlement = { ...pending, errorReason: "invalid_exact_evm_signature" }
      const script = [lost, lost, Effect.succeed(failed), Effect.succeed(settled)]
      yield* Effect.gen(function*() {
        assert.deepStrictEqual(yield* statuses(1), [503])
        assert.strictEqual((yield* get("/data", signedBy("ff", "1"))).status, 503)
        assert.deepStrictEqual(yield* statuses(2), [200, 402])
      }).pipe(Effect.provide(shop(script)))
    }))
})

describe("a paywall that settles upfront", () => {
  it.effect("sells no payment again that was settled before the paywall was started", () =>
    Effect.gen(function*() {
      const used = yield* Ref.make(false)
      const verify = () =>
        Effect.map(Ref.get(used), (isUsed) =>
          isUsed
            ? { isValid: false, invalidReason: "invalid_exact_evm_nonce_already_used" }
            : { isValid: true })
      const settle = Effect.as(Ref.set(used, true), settled)
      const statusesOfNewShop = Effect.provide(
        statuses(1),
        Layer.fresh(shop([settle], { flow: "upfront", verify }))
      )
      assert.deepStrictEqual([yield* statusesOfNewShop, yield* statusesOfNewShop], [[200], [402]])
    }))

  it.effect("sells no payment whose validity is over, since its claim may be forgotten, unless it is owed", () =>
    Effect.gen(function*() {
      const over = signedBy("11", "60")
      const forgetting = (found: Claims.Found) =>
        Effect.succeed<Claims.Claims>({
          look: () => Effect.succeed(found),
          take: () => Effect.succeed(found),
          leave: () => Effect.void
        })
      const statusOf = (found: Claims.Found) =>
        Effect.map(get("/data", over), ({ status }) => status).pipe(
          Effect.provide(shop([Effect.succeed(settled)], { flow: "upfront", claims: forgetting(found) }))
        )
      yield* TestClock.adjust("59 seconds")
      assert.strictEqual(yield* statusOf("fresh"), 200)
      yield* TestClock.adjust("1 second")
      assert.strictEqual(yield* statusOf("fresh"), 402)
      assert.strictEqual(yield* statusOf("owed"), 200)
    }))

  it.effect("says so, and owes the answer where the handler refused after the money was taken", () =>
    Effect.gen(function*() {
      assert.strictEqual(
        demandV2(yield* get("/data")).entries[0]?.received["extra"]?.["paymentFlow" as never],
        "upfront" as never
      )
      const response = yield* get("/data", unsigned)
      assert.strictEqual(response.status, 503)
      assert.isTrue(settlementOf(response).success)
      assert.deepStrictEqual(yield* statuses(2), [200, 402])
    }).pipe(Effect.provide(shop([Effect.succeed(settled)], { flow: "upfront", handler: refusesOnce }))))
})

describe("a price", () => {
  it("must be one in dollars", () => {
    for (const price of ["", "1e3", "-1", "free", "0.0000001"]) {
      assert.throws(() => Paywall.sell({ price }), RangeError)
    }
  })
})
