import { NodeHttpServer } from "@effect/platform-node"
import { assert, describe, it, layer } from "@effect/vitest"
import { Deferred, Effect, Fiber, Layer, Option, Redacted } from "effect"
import { FetchHttpClient, HttpClient, HttpClientResponse, HttpRouter } from "effect/http"
import { TestClock } from "effect/testing"
import * as Facilitator from "../../src/merchant/Facilitator.ts"
import * as Evm from "../../src/testing/chain/Evm.ts"
import * as LocalFacilitator from "../../src/testing/chain/LocalFacilitator.ts"
import * as Transport from "../../src/Transport.ts"
import { localUrl, nonceOf, sign } from "./signedPayments.ts"

const settle = (submission: Facilitator.Submission) => Facilitator.Facilitator.use((_) => _.settle(submission))
const verify = (submission: Facilitator.Submission) => Facilitator.Facilitator.use((_) => _.verify(submission))

const requirement = Effect.map(Evm.EvmChain, ({ accounts, asset, network }) => ({
  scheme: "exact",
  network,
  amount: 10_000n,
  asset: asset.address,
  payTo: accounts[2]!.address,
  maxTimeoutSeconds: 60,
  extra: { ...asset.domain }
}))

const payment = Effect.fnUntraced(function*(
  differing: Parameters<typeof sign>[2] = {},
  terms: Partial<Effect.Success<typeof requirement>> = {}
) {
  const { accounts } = yield* Evm.EvmChain
  const wanted = { ...(yield* requirement), ...terms }
  const payload = yield* sign(accounts[1]!, { payTo: wanted.payTo, units: wanted.amount }, differing)
  return Facilitator.submissionV2(
    { x402Version: 2, accepted: { scheme: "exact", network: wanted.network }, payload },
    wanted
  )
})

const reasonFor = (...args: Parameters<typeof payment>) =>
  Effect.map(Effect.flatMap(payment(...args), verify), ({ invalidReason }) => invalidReason)

const ChainLive = Evm.layer({ chainId: 84532 })

/** The local facilitator, asked over HTTP. */
const OverHttp = Layer.unwrap(Effect.map(localUrl, (url) => Facilitator.layerHttp({ url }))).pipe(
  Layer.provide(Transport.layer),
  Layer.provide(FetchHttpClient.layer),
  Layer.provide(
    HttpRouter.serve(Facilitator.routes, { disableLogger: true }).pipe(Layer.provide(LocalFacilitator.layer()))
  ),
  Layer.provideMerge(NodeHttpServer.layerTest),
  Layer.provideMerge(ChainLive)
)

layer(OverHttp, { timeout: "60 seconds" })("a local facilitator over HTTP", (it) => {
  it.effect("says what it settles, with the network's name for version 1", () =>
    Effect.gen(function*() {
      const { kinds } = yield* Facilitator.Facilitator.use((_) => _.supported)
      assert.deepStrictEqual(kinds, [
        { x402Version: 2, scheme: "exact", network: "eip155:84532" },
        { x402Version: 1, scheme: "exact", network: "base-sepolia" }
      ])
    }))

  it.effect("verifies without taking anything, and settles exactly the price, once", () =>
    Effect.gen(function*() {
      const chain = yield* Evm.EvmChain
      const [, payer, payee] = chain.accounts
      yield* chain.mint(payer!.address, 1_000_000n)
      const before = yield* chain.balance(payee!.address)
      const submission = yield* payment()
      assert.deepStrictEqual(yield* verify(submission), { isValid: true, payer: payer!.address })
      assert.strictEqual(yield* chain.balance(payee!.address), before)

      const settled = yield* settle(submission)
      assert.isTrue(settled.success)
      assert.strictEqual(settled.network, "eip155:84532")
      assert.strictEqual((yield* chain.balance(payee!.address)) - before, 10_000n)
      assert.isTrue((yield* chain.transfers).some(({ transaction }) => transaction === settled.transaction))

      assert.deepStrictEqual(yield* settle(submission), settled)
      assert.strictEqual((yield* chain.balance(payee!.address)) - before, 10_000n)
    }))

  it.effect("settles a payment of version 1", () =>
    Effect.gen(function*() {
      const chain = yield* Evm.EvmChain
      const [, payer, payee] = chain.accounts
      yield* chain.mint(payer!.address, 1_000_000n)
      const before = yield* chain.balance(payee!.address)
      const { amount, ...terms } = yield* requirement
      const payload = yield* sign(payer!, { payTo: terms.payTo, units: amount })
      const settled = yield* settle(Facilitator.submissionV1(
        { x402Version: 1, scheme: "exact", network: "base-sepolia", payload },
        { ...terms, network: "base-sepolia", maxAmountRequired: amount }
      ))
      assert.isTrue(settled.success)
      assert.strictEqual(settled.network, "base-sepolia")
      assert.strictEqual((yield* chain.balance(payee!.address)) - before, 10_000n)
    }))

  it.effect("settles many payments at the same time", () =>
    Effect.gen(function*() {
      const chain = yield* Evm.EvmChain
      const [, payer, payee] = chain.accounts
      yield* chain.mint(payer!.address, 1_000_000n)
      const before = yield* chain.balance(payee!.address)
      const payments = yield* Effect.all(Array.from({ length: 8 }, () => payment()))
      const settled = yield* Effect.forEach(payments, settle, { concurrency: "unbounded" })
      assert.isTrue(settled.every(({ success }) => success))
      assert.strictEqual((yield* chain.balance(payee!.address)) - before, 80_000n)
    }))

  it.effect("refuses what would not settle, and says why", () =>
    Effect.gen(function*() {
      const chain = yield* Evm.EvmChain
      yield* chain.mint(chain.accounts[1]!.address, 1_000_000n)
      const now = yield* chain.now
      assert.isUndefined(yield* reasonFor())
      assert.strictEqual(yield* reasonFor({}, { scheme: "upto" }), "invalid_exact_evm_scheme")
      assert.strictEqual(
        yield* reasonFor({}, { extra: {} as { name: string; version: string } }),
        "invalid_exact_evm_missing_eip712_domain"
      )
      assert.strictEqual(yield* reasonFor({}, { network: "eip155:1" }), "invalid_exact_evm_network_mismatch")
      assert.strictEqual(
        yield* reasonFor({ domain: { name: "USD Coin", version: "2" } }),
        "invalid_exact_evm_signature"
      )
      assert.strictEqual(
        yield* reasonFor({ to: chain.accounts[5]!.address }),
        "invalid_exact_evm_recipient_mismatch"
      )
      assert.strictEqual(
        yield* reasonFor({ validBefore: now + 2n }),
        "invalid_exact_evm_payload_authorization_valid_before"
      )
      assert.strictEqual(
        yield* reasonFor({ validAfter: now + 100n }),
        "invalid_exact_evm_payload_authorization_valid_after"
      )
      assert.strictEqual(
        yield* reasonFor({ value: 9_999n }),
        "invalid_exact_evm_payload_authorization_value_mismatch"
      )
      assert.strictEqual(
        yield* reasonFor({}, { amount: 10n ** 30n }),
        "invalid_exact_evm_insufficient_balance"
      )
    }))

  it.effect("refuses an authorisation that was cancelled", () =>
    Effect.gen(function*() {
      const chain = yield* Evm.EvmChain
      yield* chain.mint(chain.accounts[1]!.address, 1_000_000n)
      const submission = yield* payment()
      const payload = submission.paymentPayload["payload"] as ReturnType<typeof Object>
      yield* chain.cancelAuthorization(chain.accounts[1]!, nonceOf(payload))
      assert.strictEqual((yield* verify(submission)).invalidReason, "invalid_exact_evm_nonce_already_used")
      assert.isFalse((yield* settle(submission)).success)
    }))

  it.effect("refuses what is no payment", () =>
    Effect.gen(function*() {
      const submission = yield* payment()
      const refused = yield* verify({ ...submission, paymentPayload: { x402Version: 2 } })
      assert.deepStrictEqual(refused, { isValid: false, invalidReason: "invalid_payload" })
    }))
})

describe("a local facilitator on a chain that makes no blocks", () => {
  it.live("answers that a settlement is pending, and joins it when it is asked again", () =>
    Effect.gen(function*() {
      const chain = yield* Evm.EvmChain
      const [, payer, payee] = chain.accounts
      yield* chain.mint(payer!.address, 1_000_000n)
      const submission = yield* payment()
      const pending = yield* settle(submission)
      assert.isFalse(pending.success)
      assert.strictEqual(pending.errorReason, "settlement_pending")
      const again = yield* Effect.forkChild(settle(submission), { startImmediately: true })
      yield* chain.mine()
      const settled = yield* Fiber.join(again)
      assert.isTrue(settled.success)
      assert.strictEqual(settled.transaction, pending.transaction)
      assert.strictEqual(yield* chain.balance(payee!.address), 10_000n)
    }).pipe(
      Effect.provide(
        LocalFacilitator.layer({ confirmationTimeout: "300 millis" }).pipe(
          Layer.provideMerge(Evm.layer({ chainId: 84532, noMining: true }))
        )
      )
    ))
})

const submission: Facilitator.Submission = { x402Version: 2, paymentPayload: {}, paymentRequirements: {} }

/** A remote facilitator that answers as told. */
const remote = (
  answer: (request: Request) => Response | Promise<Response>,
  options: Partial<Facilitator.HttpOptions> = {}
) =>
  Facilitator.layerHttp({ url: "http://127.0.0.1:1/base/", ...options }).pipe(
    Layer.provide(Transport.layer),
    Layer.provide(Layer.succeed(
      HttpClient.HttpClient,
      HttpClient.make((request, url) =>
        Effect.map(
          Effect.promise(async () => answer(new Request(url, { method: request.method, headers: request.headers }))),
          (response) => HttpClientResponse.fromWeb(request, response)
        )
      )
    ))
  )

const outcome = (answer: Parameters<typeof remote>[0]) =>
  Effect.flip(settle(submission)).pipe(Effect.map(({ _tag }) => _tag), Effect.provide(remote(answer)))

describe("a remote facilitator", () => {
  it.effect("is believed under any status if its answer can be read, nulls included", () =>
    Effect.gen(function*() {
      const settled = yield* settle(submission)
      assert.deepStrictEqual(settled, {
        success: false,
        errorReason: "insufficient_funds",
        transaction: "",
        network: "eip155:8453"
      })
    }).pipe(Effect.provide(remote(() =>
      Response.json(
        { success: false, errorReason: "insufficient_funds", payer: null, transaction: "", network: "eip155:8453" },
        { status: 400 }
      )
    ))))

  it.effect("has settled nothing where it refused the request", () =>
    Effect.gen(function*() {
      assert.strictEqual(
        yield* outcome(() => new Response("unauthorized", { status: 401 })),
        "FacilitatorUnavailable"
      )
    }))

  it.effect("leaves the outcome unknown where its answer cannot be read", () =>
    Effect.gen(function*() {
      assert.strictEqual(yield* outcome(() => new Response("bad gateway", { status: 502 })), "SettlementUnknown")
      assert.strictEqual(yield* outcome(() => Response.json({ success: "yes" })), "SettlementUnknown")
      assert.strictEqual(yield* outcome(() => new Response("x".repeat(300_000))), "SettlementUnknown")
      assert.strictEqual(yield* outcome(() => new Response("[".repeat(100_000))), "SettlementUnknown")
      assert.strictEqual(
        yield* outcome(() => Promise.reject(new Error("reset"))).pipe(
          Effect.catchDefect(() => Effect.succeed("SettlementUnknown"))
        ),
        "SettlementUnknown"
      )
    }))

  it.effect("leaves the outcome unknown where it does not answer in time", () =>
    Effect.gen(function*() {
      const asked = yield* Deferred.make<void>()
      const settling = yield* Effect.flip(settle(submission)).pipe(
        Effect.provide(remote(() => {
          Deferred.doneUnsafe(asked, Effect.void)
          return new Promise<Response>(() => {})
        })),
        Effect.forkChild
      )
      yield* Deferred.await(asked)
      yield* TestClock.adjust("90 seconds")
      assert.strictEqual((yield* Fiber.join(settling))._tag, "SettlementUnknown")
    }))

  it.effect("is asked with the credential that it wants", () =>
    Effect.gen(function*() {
      const seen: Array<string | null> = []
      yield* Facilitator.Facilitator.use((_) => _.supported).pipe(Effect.provide(remote((request) => {
        seen.push(request.url, request.headers.get("authorization"))
        return Response.json({ kinds: [] })
      }, { authorize: (operation) => Effect.succeed(Redacted.make(`Bearer for-${operation}`)) })))
      assert.deepStrictEqual(seen, ["http://127.0.0.1:1/base/supported", "Bearer for-supported"])
    }))

  it.effect("is not asked over plain http beyond this machine", () =>
    Effect.gen(function*() {
      const error = yield* settle(submission).pipe(
        Effect.provide(remote(() => new Response(), { url: "http://facilitator.example.com" })),
        Effect.flip,
        Effect.map(Option.some)
      )
      assert.strictEqual(Option.getOrThrow(error)._tag, "FacilitatorUnavailable")
    }))
})
