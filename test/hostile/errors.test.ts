/**
 * Every reason for which a payment fails: where it comes from, what it means for the money, and what is tried before.
 */
import { assert, describe, it } from "@effect/vitest"
import * as Effect from "effect/Effect"
import * as HttpClient from "effect/http/HttpClient"
import * as HttpClientError from "effect/http/HttpClientError"
import * as Layer from "effect/Layer"
import * as Schedule from "effect/Schedule"
import * as Schema from "effect/Schema"
import type * as Ledger from "../../src/Ledger.ts"
import * as Payment from "../../src/Payment.ts"
import * as PaymentError from "../../src/PaymentError.ts"
import * as Rails from "../../src/Rails.ts"
import * as RetryPolicy from "../../src/RetryPolicy.ts"
import * as Wallet from "../../src/Wallet.ts"
import {
  cuts,
  demandsAgain,
  honest,
  refuses,
  refusesConnection,
  status,
  type Step,
  takes,
  withoutReceipt
} from "./merchant.ts"
import * as World from "./world.ts"

const { buy, failure, hostile, outcome, patiently, price, standing, states } = World

const crawl = Payment.with({ expect: 10 })

/** Seconds between the requests that carried a credential. */
const pauses = (world: World.World) => world.paid().slice(1).map((it, n) => (it.at - world.paid()[n]!.at) / 1000)

const expires: Step = ({ demand }) =>
  new Response("{}", { status: 401, headers: { "www-authenticate": demand().headers.get("www-authenticate")! } })

const rateLimits = (retryAfter?: string): Step =>
  withoutReceipt(429, retryAfter === undefined ? {} : { "retry-after": retryAfter })

const policy = (change: Partial<RetryPolicy.Policy>) =>
  Effect.updateService(RetryPolicy.RetryPolicy, (policy) => ({ ...policy, ...change }))

const encode = Schema.encodeSync(Schema.toCodecJson(PaymentError.PaymentError))
const decode = Schema.decodeUnknownSync(Schema.toCodecJson(PaymentError.PaymentError))

/** What failed; survives its own JSON, and says what happened and what that means for the money. */
const failed = <A, E, R>(effect: Effect.Effect<A, E, R>) =>
  Effect.map(failure(effect), (error) => {
    const copy = decode(JSON.parse(JSON.stringify(encode(error))))
    assert.strictEqual(copy.reason._tag, error.reason._tag)
    assert.strictEqual(copy.message, error.message)
    assert.isAbove(error.message.length, 40)
    assert.include(error.message, error.origin)
    return error
  })

const shown = ({ money, reason }: PaymentError.PaymentError) => `${reason._tag} (${money})`

describe("SessionRequired", () => {
  it.effect("says that only a session is sold, and none may be opened", () =>
    hostile(
      { sells: ["session"], sessionOrigins: ["https://other.test"] },
      Effect.fnUntraced(function*() {
        assert.strictEqual(shown(yield* failed(buy())), "SessionRequired (unspent)")
      })
    ))

  it.effect("is mended by a session where one may be opened", () =>
    hostile(
      { sells: ["session"] },
      Effect.fnUntraced(function*() {
        assert.strictEqual(yield* outcome(buy()), "content")
      })
    ))

  it.effect("is avoided by paying per request where that is sold too", () =>
    hostile(
      { sells: ["session", "x402"], sessionOrigins: ["https://other.test"] },
      Effect.fnUntraced(function*({ chain }) {
        assert.strictEqual(yield* outcome(crawl(buy())), "content")
        assert.deepStrictEqual(chain.moved, [price])
      })
    ))
})

describe("TokenExpired", () => {
  it.effect("is mended by one renewal, which draws again", () =>
    hostile(
      { sells: ["session"], paid: [expires, honest] },
      Effect.fnUntraced(function*({ moved }) {
        assert.strictEqual(yield* outcome(buy()), "content")
        assert.strictEqual(yield* moved, price)
      })
    ))

  for (const renewals of [0, 1, 3]) {
    it.effect(`stops after ${renewals} renewals where the program says so`, () =>
      hostile(
        { sells: ["session"], paid: [expires] },
        Effect.fnUntraced(function*({ paid }) {
          const error = yield* failed(policy({ TokenExpired: Schedule.recurs(renewals) })(buy()))
          assert.strictEqual(shown(error), "TokenExpired (unspent)")
          assert.strictEqual(paid().length, renewals + 1)
          assert.deepStrictEqual(yield* standing(), { spent: 0n, exposed: 0n })
        })
      ))
  }
})

describe("RateLimited", () => {
  it.effect("is waited for as the server says, with the same payment", () =>
    hostile(
      { paid: [rateLimits("7"), rateLimits("Fri, 15 Jan 2027 08:00:12 GMT"), honest] },
      Effect.fnUntraced(function*(world) {
        assert.strictEqual(yield* outcome(buy()), "content")
        assert.deepStrictEqual(pauses(world), [7, 5])
        assert.strictEqual(world.signatures(), 1)
      })
    ))

  it.effect("is waited for half a second, one and two where the server does not say", () =>
    hostile(
      { paid: [rateLimits()] },
      Effect.fnUntraced(function*(world) {
        assert.strictEqual(shown(yield* failed(buy())), "PaymentUncertain (unknown)")
        assert.deepStrictEqual(pauses(world), [0.5, 1, 2])
        assert.deepStrictEqual(yield* standing(), { spent: 0n, exposed: price })
      })
    ))

  it.effect("is not waited for beyond the time in which the payment can be taken", () =>
    hostile(
      { paid: [rateLimits("58"), honest] },
      Effect.fnUntraced(function*(world) {
        assert.strictEqual(shown(yield* failed(buy())), "PaymentUncertain (unknown)")
        assert.deepStrictEqual(pauses(world), [])
      })
    ))

  it.effect("is waited for a minute at most, whatever the server says; each draw follows the proof that the last took nothing", () =>
    hostile(
      { sells: ["session"], paid: [rateLimits("3600"), honest] },
      Effect.fnUntraced(function*(world) {
        assert.strictEqual(yield* outcome(buy()), "content")
        assert.deepStrictEqual(pauses(world), [60])
        assert.strictEqual(yield* world.moved, price)
        assert.include(yield* states, "draw released (attested)")
      })
    ))

  it.effect("is also a 402 with Retry-After while a token is attached", () =>
    hostile(
      {
        sells: ["session"],
        paid: [({ demand }) => {
          const answer = demand()
          answer.headers.set("retry-after", "2")
          return answer
        }, honest]
      },
      Effect.fnUntraced(function*(world) {
        assert.strictEqual(yield* outcome(buy()), "content")
        assert.deepStrictEqual(pauses(world), [2])
      })
    ))

  it.effect("of an endpoint that opens sessions reaches the caller, or another way to pay is used", () =>
    hostile(
      {
        sells: ["session"],
        endpoint: () => Effect.succeed(new Response("{}", { status: 429, headers: { "retry-after": "9" } }))
      },
      Effect.fnUntraced(function*() {
        const error = yield* failed(buy())
        assert.strictEqual(shown(error), "RateLimited (unspent)")
        assert.deepInclude(error.reason, { retryAfter: 9_000 })
        assert.isTrue(error.isRetryable)
        assert.deepStrictEqual(yield* standing(), { spent: 0n, exposed: 0n })
      })
    ))

  it.effect("of an endpoint that may have opened a session before holds its limit, and is not called unspent", () =>
    hostile(
      {
        sells: ["session"],
        endpoint: ({ nth }) => Effect.succeed(nth === 0 ? "cut" : new Response("{}", { status: 429 }))
      },
      Effect.fnUntraced(function*() {
        const error = yield* failed(buy())
        assert.strictEqual(shown(error), "Unavailable (held)")
        assert.deepInclude(error.reason, { service: "session endpoint", status: 429, notSent: false })
        assert.isFalse(error.isRetryable)
        assert.deepStrictEqual(yield* standing(), { spent: 0n, exposed: 2n * price })
      })
    ))

  it.effect("obeys the program's own schedule", () =>
    hostile(
      { paid: [rateLimits(), rateLimits(), honest] },
      Effect.fnUntraced(function*(world) {
        assert.strictEqual(yield* outcome(policy({ RateLimited: Schedule.spaced("3 seconds") })(buy())), "content")
        assert.deepStrictEqual(pauses(world), [3, 3])
      })
    ))
})

describe("Unavailable", () => {
  const about = (pause: number, expected: number) =>
    assert.isTrue(pause >= 0.79 * expected && pause <= 1.21 * expected + 0.001, `${pause} is not about ${expected}`)

  for (
    const [name, step] of [["502", withoutReceipt(502)], ["503", withoutReceipt(503)], ["504", withoutReceipt(504)], [
      "a cut connection",
      cuts
    ]] as const
  ) {
    it.effect(`is tried four times more, further and further apart, with the same payment: ${name}`, () =>
      hostile(
        { paid: [step] },
        Effect.fnUntraced(function*(world) {
          assert.strictEqual(shown(yield* failed(buy())), "PaymentUncertain (unknown)")
          const waited = pauses(world)
          assert.strictEqual(waited.length, 4)
          for (const [n, pause] of waited.entries()) about(pause, 0.2 * 2 ** n)
          assert.strictEqual(world.signatures(), 1)
        })
      ))
  }

  it.effect("honours Retry-After", () =>
    hostile(
      { paid: [withoutReceipt(503, { "retry-after": "4" }), honest] },
      Effect.fnUntraced(function*(world) {
        assert.strictEqual(yield* outcome(buy()), "content")
        assert.deepStrictEqual(pauses(world), [4])
      })
    ))

  it.effect("proves that nothing was spent where the connection was refused, and returns the hold", () =>
    hostile(
      { paid: [refusesConnection] },
      Effect.fnUntraced(function*({ paid }) {
        const error = yield* failed(buy())
        assert.strictEqual(shown(error), "Unavailable (unspent)")
        assert.isTrue(error.isRetryable)
        assert.strictEqual(paid().length, 5)
        assert.deepStrictEqual(yield* standing(), { spent: 0n, exposed: 0n })
      })
    ))

  it.effect("leads to another rail where nothing can have left for the first", () =>
    hostile(
      {
        sells: ["x402", "session"],
        paid: [(sale) => sale.token === undefined ? "refused" : honest(sale)]
      },
      Effect.fnUntraced(function*({ chain, moved }) {
        assert.strictEqual(yield* outcome(buy()), "content")
        assert.deepStrictEqual(chain.moved, [])
        assert.strictEqual(yield* moved, price)
      })
    ))

  it.effect("does not lead to another rail where something may have left", () =>
    hostile(
      { sells: ["x402", "session"], paid: [cuts] },
      Effect.fnUntraced(function*({ calls }) {
        assert.strictEqual(yield* outcome(buy()), "PaymentUncertain (unknown)")
        assert.strictEqual(calls.length, 0)
      })
    ))

  it.effect("does not take a refused connection for proof once an attempt has left", () =>
    hostile(
      { paid: [cuts, refusesConnection] },
      Effect.fnUntraced(function*() {
        assert.strictEqual(yield* outcome(buy()), "PaymentUncertain (unknown)")
        assert.deepStrictEqual(yield* standing(), { spent: 0n, exposed: price })
      })
    ))

  it.effect("before a demand is the caller's own failure, and nothing of ours", () =>
    hostile(
      { unpaid: () => "cut" },
      Effect.fnUntraced(function*({ seen }) {
        const error = yield* Effect.flip(buy())
        assert.isTrue(HttpClientError.isHttpClientError(error))
        assert.strictEqual(seen.length, 1)
      })
    ))
})

describe("BudgetExceeded", () => {
  it.effect("of one way to pay leads to the next that fits", () =>
    hostile(
      {
        sells: ["session", "x402"],
        challenge: { priceUsdc: 40_000n },
        requirement: { amount: "10000" }
      },
      Effect.fnUntraced(function*({ chain }) {
        assert.strictEqual(yield* outcome(Payment.with(buy(), { expect: 10, max: "0.02" })), "content")
        assert.deepStrictEqual(chain.moved, [price])
      })
    ))

  it.effect("says by how much", () =>
    hostile(
      { price: "0.06" },
      Effect.fnUntraced(function*() {
        const error = yield* failed(buy())
        assert.strictEqual(shown(error), "BudgetExceeded (unspent)")
        assert.deepInclude(error.reason, { scope: "request", limit: 50_000n, requested: 60_000n })
        assert.isFalse(error.isRetryable)
      })
    ))
})

describe("the other reasons", () => {
  const cases: ReadonlyArray<readonly [string, World.Options, string]> = [
    ["PolicyDenied names the rule", { policy: { denyOrigins: ["merchant.test"] } }, "PolicyDenied (unspent)"],
    ["NoPayableOffer says why each is refused", { requirement: { network: "eip155:5" } }, "NoPayableOffer (unspent)"],
    ["PaymentRejected holds the amount", { paid: [refuses("invalid_exact_evm_signature")] }, "PaymentRejected (held)"],
    ["PaidUndelivered carries the evidence", { paid: [takes(status(500))] }, "PaidUndelivered (spent)"],
    [
      "PaymentUncertain says until when it may be spent",
      { nodes: 0, paid: [demandsAgain] },
      "PaymentUncertain (unknown)"
    ],
    [
      "ProtocolError is the session endpoint's",
      { sells: ["session"], endpoint: () => Effect.succeed(new Response("<html>", { status: 200 })) },
      "ProtocolError (held)"
    ],
    [
      "WalletError signs nothing and holds nothing",
      {
        wallet: Layer.succeed(Wallet.Wallet, {
          address: "0x70997970C51812dc3A010C7d01b50e0d17dc79C8",
          resign: "no",
          signTransaction: () =>
            Effect.fail(
              new PaymentError.WalletError({ operation: "sign a transaction", detail: "the person said no" })
            ),
          signTypedData: () =>
            Effect.fail(new PaymentError.WalletError({ operation: "sign typed data", detail: "the person said no" }))
        })
      },
      "WalletError (unspent)"
    ]
  ]
  for (const [name, options, expected] of cases) {
    it.effect(name, () =>
      hostile(
        options,
        Effect.fnUntraced(function*() {
          const error = yield* failed(buy())
          assert.strictEqual(shown(error), expected)
          assert.isFalse(error.isRetryable)
          const { exposed } = yield* standing()
          assert.strictEqual(exposed > 0n, error.money === "held" || error.money === "unknown")
        })
      ))
  }

  describe("InsufficientFunds", () => {
    const broke = refuses("insufficient_funds")

    it.effect("says what is missing where a refusal and the chain agree, and holds what can still be taken", () =>
      hostile(
        { paid: [broke, honest] },
        Effect.fnUntraced(function*({ chain, paid }) {
          chain.balance = 9_999n
          const error = yield* failed(buy())
          assert.strictEqual(shown(error), "InsufficientFunds (held)")
          assert.deepInclude(error.reason, {
            network: "eip155:84532",
            asset: "USDC",
            needed: 10_000n,
            available: 9_999n
          })
          assert.deepStrictEqual(yield* standing(), { spent: 0n, exposed: price })
          chain.balance = 10_000n
          assert.strictEqual(yield* outcome(buy()), "content")
          assert.deepStrictEqual(chain.moved, [price])
          assert.strictEqual(new Set(paid().map(({ authorization }) => authorization?.nonce)).size, 1)
        })
      ))

    it.effect("is not what a merchant says, but what the chain says", () =>
      hostile(
        { paid: [broke] },
        Effect.fnUntraced(function*({ chain }) {
          chain.balance = 10_000n
          assert.strictEqual(shown(yield* failed(buy())), "PaymentRejected (held)")
        })
      ))

    for (const manner of ["down", "hangs", "stranger"] as const) {
      it.effect(`is not known where the node is no help: ${manner}`, () =>
        hostile(
          { paid: [broke] },
          Effect.fnUntraced(function*({ chain }) {
            chain.balance = 0n
            chain.manners.set("rpc.test", manner)
            assert.strictEqual(shown(yield* failed(buy())), "PaymentRejected (held)")
          })
        ))
    }

    it.effect("is not asked about while payments go well, nor where no node is configured", () =>
      Effect.forEach(
        [{}, { nodes: 0, paid: [broke] }],
        (options) =>
          hostile(
            options,
            Effect.fnUntraced(function*(world) {
              world.chain.manners.set("rpc.test", "honest")
              const expected = "paid" in options ? "PaymentRejected (held)" : "content"
              assert.strictEqual(yield* outcome(buy()), expected)
              assert.isFalse(world.spans().some(({ name }) => name === "Chain.eth_call"))
            })
          ),
        { discard: true }
      ))
  })

  it.effect("ChainError is a node's: what it leaves open is PaymentUncertain, and is asked again", () =>
    hostile(
      { paid: [cuts] },
      Effect.fnUntraced(function*({ chain }) {
        chain.manners.set("rpc.test", "down")
        assert.strictEqual(shown(yield* failed(buy())), "PaymentUncertain (unknown)")
        const rails = yield* Effect.flatMap(Rails.Rails, ({ all }) => all)
        const rail = rails.find(({ name }) => name === "x402/exact")
        const [{ plan }] = (yield* World.authorizations) as [Ledger.Authorization]
        const asked: ReadonlyArray<Effect.Effect<unknown, PaymentError.Reason>> = [
          rail!.reconcile(plan),
          rail!.balance!(plan)
        ]
        for (const error of yield* Effect.forEach(asked, (it) => patiently(Effect.flip(it)))) {
          assert.strictEqual(error._tag, "ChainError")
          assert.notInclude(error.message, "key-of-the-first-node")
        }
      })
    ))

  it.effect("LedgerUnavailable signs nothing that could not be written", () =>
    hostile(
      {
        ledger: (inner) => ({
          ...inner,
          authorize: () =>
            Effect.fail(new PaymentError.LedgerUnavailable({ operation: "authorize", detail: "the disk is full" }))
        })
      },
      Effect.fnUntraced(function*({ paid, signatures }) {
        assert.strictEqual(shown(yield* failed(buy())), "LedgerUnavailable (unspent)")
        assert.deepStrictEqual([paid().length, signatures()], [0, 0])
      })
    ))

  it.effect("PaymentUncertain of a wallet that cannot sign again is reconciled, and not sent again", () =>
    hostile(
      {
        nodes: 0,
        paid: [cuts],
        wallet: Layer.effect(
          Wallet.Wallet,
          Effect.map(Wallet.Wallet, (wallet) => Wallet.Wallet.of({ ...wallet, resign: "no" }))
        ).pipe(Layer.provide(World.wallet))
      },
      Effect.fnUntraced(function*({ paid, signatures }) {
        assert.strictEqual(yield* outcome(buy()), "PaymentUncertain (unknown)")
        const before = paid().length
        assert.strictEqual(yield* outcome(buy()), "PaymentUncertain (unknown)")
        assert.deepStrictEqual([paid().length, signatures()], [before, 1])
      })
    ))
})

describe("the drop-in client", () => {
  it.effect("fails with a status error of 402 that carries the reason, and never with one that is retried", () =>
    hostile(
      { paid: [takes(demandsAgain)] },
      Effect.fnUntraced(function*({ paid }) {
        const client = (yield* HttpClient.HttpClient).pipe(HttpClient.retryTransient({ times: 5 }))
        const error = yield* patiently(Effect.flip(client.get(World.url)))
        assert.isTrue(HttpClientError.isHttpClientError(error))
        assert.strictEqual(error.reason._tag, "StatusCodeError")
        assert.strictEqual(error.response?.status, 402)
        assert.strictEqual(error.response?.headers["payment-required"], undefined)
        assert.strictEqual(paid().length, 1)
      })
    ))

  it.effect("hands back every answer that is not about payment, untouched", () =>
    Effect.forEach(
      [200, 204, 304, 400, 401, 402, 403, 404, 409, 429, 500, 503],
      (code) =>
        hostile(
          { unpaid: withoutReceipt(code) },
          Effect.fnUntraced(function*({ seen }) {
            const response = yield* Effect.flatMap(HttpClient.HttpClient, (client) => patiently(client.get(World.url)))
            assert.strictEqual(response.status, code)
            assert.strictEqual(seen.length, 1)
          })
        ),
      { discard: true }
    ))
})
