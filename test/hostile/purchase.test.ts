/**
 * The same request again: after a failure, after an interruption, at the same time, and under other people's retries.
 */
import { assert, describe, it } from "@effect/vitest"
import * as Effect from "effect/Effect"
import * as Fiber from "effect/Fiber"
import * as HttpClient from "effect/http/HttpClient"
import * as HttpClientRequest from "effect/http/HttpClientRequest"
import * as Layer from "effect/Layer"
import * as Redacted from "effect/Redacted"
import * as Schedule from "effect/Schedule"
import type * as Ledger from "../../src/Ledger.ts"
import * as PayingClient from "../../src/PayingClient.ts"
import * as Payment from "../../src/Payment.ts"
import * as Wallet from "../../src/Wallet.ts"
import { breaksOff, cuts, demandsAgain, honest, replays, status, type Step, takes, withoutReceipt } from "./merchant.ts"
import * as World from "./world.ts"

const { buy, deliveries, get, hostile, idle, outcome, pass, patiently, price, standing, states, sweep } = World

const request = (headers: Record<string, string> = {}) =>
  Effect.flatMap(
    PayingClient.PayingClient,
    (client) =>
      Effect.flatMap(client.execute(HttpClientRequest.get(World.url, { headers })), (response) => response.json)
  )

describe("a body that is cut", () => {
  it.effect("98: leaves the purchase broken, and the same request gets the rest of it for the same payment", () =>
    hostile(
      { paid: [takes(breaksOff), replays] },
      Effect.fnUntraced(function*({ chain }) {
        assert.match(yield* outcome(buy()), /^HttpClientError/)
        assert.deepStrictEqual(yield* deliveries, ["broken"])
        assert.deepStrictEqual(yield* buy(), { bought: "content" })
        assert.deepStrictEqual(yield* deliveries, ["delivered"])
        assert.deepStrictEqual(chain.moved, [price])
      })
    ))

  it.effect("98: from a merchant that does not deliver again is paid and not delivered, once", () =>
    hostile(
      { paid: [takes(breaksOff), honest] },
      Effect.fnUntraced(function*({ chain }) {
        yield* outcome(buy())
        assert.strictEqual(yield* outcome(buy()), "PaidUndelivered (spent)")
        assert.deepStrictEqual(chain.moved, [price])
        assert.deepStrictEqual(yield* deliveries, ["abandoned"])
      })
    ))
})

describe("an answer to a payment that is neither content nor a refusal", () => {
  const answers: ReadonlyArray<readonly [number, string, string]> = [
    [204, "content", "content"],
    [206, "content", "content"],
    [304, "PaidUndelivered (spent)", "PaymentUncertain (unknown)"],
    [403, "PaidUndelivered (spent)", "PaymentUncertain (unknown)"],
    [404, "PaidUndelivered (spent)", "PaymentUncertain (unknown)"],
    [409, "PaidUndelivered (spent)", "PaymentUncertain (unknown)"],
    [412, "PaidUndelivered (spent)", "PaymentRejected (held)"]
  ]
  for (const [code, taken, untaken] of answers) {
    it.effect(`99: ${code} is judged by what became of the money`, () =>
      Effect.andThen(
        hostile({ paid: [takes(status(code))] }, () =>
          Effect.gen(function*() {
            assert.strictEqual(yield* outcome(get()), taken)
          })),
        hostile({ paid: [withoutReceipt(code)] }, () =>
          Effect.gen(function*() {
            assert.strictEqual(yield* outcome(get()), untaken)
            assert.deepStrictEqual(yield* standing(), { spent: 0n, exposed: price })
          }))
      ))
  }
})

describe("equal requests", () => {
  it.effect("100: at the same time are as many purchases", () =>
    hostile(
      {},
      Effect.fnUntraced(function*({ chain }) {
        const results = yield* patiently(
          Effect.forEach(Array.from({ length: 25 }), () => request(), { concurrency: "unbounded" })
        )
        assert.strictEqual(results.length, 25)
        assert.strictEqual(chain.moved.length, 25)
        assert.strictEqual(new Set(chain.transfers.map((it) => it.authorization.nonce)).size, 25)
      })
    ))

  it.effect("100: do not resume what a living fiber works on", () => {
    let nth = 0
    const slow: Step = (sale) => nth++ === 0 ? "hangs" : honest(sale)
    return hostile(
      { paid: [slow] },
      Effect.fnUntraced(function*({ chain, signatures }) {
        const living = yield* Effect.forkChild(request())
        yield* idle
        assert.strictEqual(yield* outcome(buy()), "content")
        assert.strictEqual(signatures(), 2)
        assert.deepStrictEqual(chain.moved, [price])
        yield* Fiber.interrupt(living)
      })
    )
  })

  it.effect("101: of another cookie, language or agent are other purchases, and get none of its content", () =>
    hostile(
      { paid: [cuts] },
      Effect.fnUntraced(function*(world) {
        const others = [
          request({ cookie: "tenant=a" }),
          request({ cookie: "tenant=b" }),
          request({ accept: "text/csv" }),
          request({ range: "bytes=0-1" }),
          Payment.with(request(), { agent: "other" })
        ]
        for (const other of others) yield* outcome(patiently(other))
        assert.strictEqual(new Set(world.paid().map((it) => it.authorization!.nonce)).size, others.length)
      })
    ))

  it.effect("102: after a purchase that was never delivered resume it once, and then begin a new one", () =>
    hostile(
      { paid: [takes(status(500)), status(500), honest] },
      Effect.fnUntraced(function*({ chain }) {
        assert.strictEqual(yield* outcome(buy()), "PaidUndelivered (spent)")
        assert.strictEqual(yield* outcome(buy()), "PaidUndelivered (spent)")
        assert.deepStrictEqual(chain.moved, [price])
        assert.strictEqual(yield* outcome(buy()), "content")
        assert.strictEqual(chain.moved.length, 2)
      })
    ))

  it.effect("102: at an origin that delivers nothing three times find it closed, for an hour", () =>
    hostile(
      { paid: [takes(status(500))] },
      Effect.fnUntraced(function*({ chain }) {
        for (let n = 0; n < 6; n++) assert.strictEqual(yield* outcome(buy()), "PaidUndelivered (spent)")
        assert.strictEqual(yield* outcome(buy()), "PolicyDenied (unspent)")
        assert.strictEqual(chain.moved.length, 3)
        yield* pass("61 minutes")
        assert.strictEqual(yield* outcome(buy()), "PaidUndelivered (spent)")
      })
    ))
})

describe("somebody else's retry", () => {
  const stubborn = Effect.flatMap(HttpClient.HttpClient, (client) =>
    Effect.retry(
      client.pipe(HttpClient.retryTransient({ schedule: Schedule.spaced("10 millis"), times: 5 })).get(World.url),
      { times: 5 }
    ))

  for (
    const [name, step] of [
      ["cuts the connection", takes(cuts)],
      ["answers 503", takes(withoutReceipt(503))],
      ["demands again", takes(demandsAgain)]
    ] as const
  ) {
    it.effect(`103: charges once at a merchant that ${name} once`, () =>
      hostile(
        { paid: [step, replays] },
        Effect.fnUntraced(function*({ chain }) {
          assert.strictEqual(yield* outcome(patiently(stubborn)), "content")
          assert.deepStrictEqual(chain.moved, [price])
        })
      ))
  }

  it.effect("103: is charged once by a merchant that takes and never answers, however often it is asked", () =>
    hostile(
      { paid: [takes(cuts)] },
      Effect.fnUntraced(function*({ chain }) {
        for (let n = 0; n < 3; n++) {
          assert.strictEqual(yield* outcome(patiently(stubborn)), "PaidUndelivered (spent)")
        }
        assert.deepStrictEqual(chain.moved, [price])
      })
    ))

  it.effect("103: is charged three times at most by one that answers and never delivers, and then the origin is closed", () =>
    hostile(
      { paid: [takes(status(500))] },
      Effect.fnUntraced(function*({ chain }) {
        for (let n = 0; n < 3; n++) yield* outcome(patiently(stubborn))
        assert.strictEqual(yield* outcome(buy()), "PolicyDenied (unspent)")
        assert.strictEqual(chain.moved.length, 3)
      })
    ))

  it.effect("103: signs nothing anew at a merchant that does not even say whether it took the money", () =>
    hostile(
      { nodes: 0, paid: [takes(cuts)] },
      Effect.fnUntraced(function*({ chain, paid }) {
        assert.strictEqual(yield* outcome(patiently(stubborn)), "PaymentUncertain (unknown)")
        assert.strictEqual(new Set(paid().map((it) => it.authorization!.nonce)).size, 1)
        assert.deepStrictEqual(chain.moved, [price])
      })
    ))
})

describe("an interruption", () => {
  const slowly = <A extends ReadonlyArray<unknown>, B, E>(step: (...args: A) => Effect.Effect<B, E>) => (...args: A) =>
    Effect.andThen(Effect.sleep("1 second"), step(...args))

  const slowWallet = Layer.effect(
    Wallet.Wallet,
    Effect.map(Wallet.Wallet, (wallet) => Wallet.Wallet.of({ ...wallet, signTypedData: slowly(wallet.signTypedData) }))
  ).pipe(Layer.provide(Wallet.layerPrivateKey(Redacted.make(World.privateKey))))

  const first = (step: Step): ReadonlyArray<Step> => {
    let nth = 0
    return [(sale) => nth++ === 0 ? step(sale) : replays(sale)]
  }

  const late: Step = (sale) => Effect.delay(Effect.suspend(() => honest(sale) as Effect.Effect<Response>), "1 second")
  const takenLate = takes(late)

  const ledgerThat = (change: (it: Ledger.Ledger["Service"]) => Partial<Ledger.Ledger["Service"]>) =>
  (
    it: Ledger.Ledger["Service"]
  ) => ({ ...it, ...change(it) })

  const steps: ReadonlyArray<readonly [string, World.Options, held: bigint]> = [
    ["the hold is taken", { ledger: ledgerThat((it) => ({ authorize: slowly(it.authorize) })) }, 0n],
    ["the payment is signed", { wallet: slowWallet }, 0n],
    ["the request is sent", { paid: first(late) }, price],
    ["the headers are awaited", { paid: first(takenLate) }, price],
    ["another attempt is waited for", { paid: first(status(429, { "retry-after": "1" })) }, price],
    ["the outcome is written", {
      ledger: ledgerThat((it) => ({ judged: slowly(it.judged) })),
      paid: first(takes(status(500)))
    }, price]
  ]
  for (const [name, options, held] of steps) {
    it.effect(`104: while ${name} loses nothing, and the next run resumes the purchase`, () =>
      hostile(
        { ...options, paid: options.paid ?? [replays] },
        Effect.fnUntraced(function*({ chain, moved }) {
          const fiber = yield* Effect.forkChild(request())
          yield* pass("500 millis")
          assert.isUndefined(fiber.pollUnsafe(), "it has not ended yet")
          const interrupting = yield* Effect.forkChild(Fiber.interrupt(fiber))
          yield* pass("5 seconds")
          yield* Fiber.join(interrupting)
          const { exposed, spent } = yield* standing()
          assert.strictEqual(exposed + spent, held)
          assert.isTrue((yield* moved) <= held)
          assert.strictEqual(yield* outcome(buy()), "content")
          assert.deepStrictEqual(chain.moved, [price])
          assert.deepStrictEqual(yield* standing(), { spent: price, exposed: 0n })
        })
      ))
  }

  it.effect("104: while the body is read breaks it, and the next request gets it for the same payment", () => {
    const stalls: Step = ({ receipt }) =>
      new Response(
        new ReadableStream({
          start: (controller) => controller.enqueue(new TextEncoder().encode("{\"bought\":")),
          pull: () => new Promise(() => {})
        }, { highWaterMark: 0 }),
        { headers: receipt() }
      )
    return hostile(
      { paid: [takes(stalls), replays] },
      Effect.fnUntraced(function*({ chain }) {
        const fiber = yield* Effect.forkChild(request())
        yield* pass("1 second")
        yield* Fiber.interrupt(fiber)
        assert.deepStrictEqual(yield* deliveries, ["broken"])
        assert.strictEqual(yield* outcome(buy()), "content")
        assert.deepStrictEqual(yield* deliveries, ["delivered"])
        assert.deepStrictEqual(chain.moved, [price])
      })
    )
  })

  it.effect("104: while a purchase is resumed leaves it to the next request, which does not pay twice", () =>
    hostile(
      { paid: [cuts, cuts, cuts, cuts, cuts, replays] },
      Effect.fnUntraced(function*({ chain, paid }) {
        assert.strictEqual(yield* outcome(buy()), "PaymentUncertain (unknown)")
        chain.manners.set("rpc.test", "hangs")
        const fiber = yield* Effect.forkChild(request())
        yield* pass("1 second")
        yield* Fiber.interrupt(fiber)
        assert.deepStrictEqual(yield* deliveries, ["undelivered"])
        chain.manners.set("rpc.test", "honest")
        assert.strictEqual(yield* outcome(buy()), "content")
        assert.strictEqual(new Set(paid().map((it) => it.authorization!.nonce)).size, 1)
        assert.deepStrictEqual(chain.moved, [price])
      })
    ))

  it.effect("104: between two draws that took nothing ends the purchase", () =>
    hostile(
      { sells: ["session"], paid: [withoutReceipt(503)] },
      Effect.fnUntraced(function*() {
        const fiber = yield* Effect.forkChild(request())
        yield* pass("100 millis")
        yield* Fiber.interrupt(fiber)
        assert.deepStrictEqual(yield* deliveries, ["void"])
      })
    ))

  it.effect("115: twice while the payment is under way is resumed by the next run, and reconciled without one", () =>
    hostile(
      { paid: ["first", "second"].map((): Step => (sale) => Effect.as(sale.take(), "hangs" as const)).concat(replays) },
      Effect.fnUntraced(function*({ chain }) {
        for (let n = 0; n < 2; n++) {
          const fiber = yield* Effect.forkChild(request())
          yield* pass("1 second")
          yield* Fiber.interrupt(fiber)
          assert.match((yield* states).join(), /^charge (?:unknown|settled)/)
        }
        yield* sweep
        assert.deepStrictEqual(yield* standing(), { spent: price, exposed: 0n })
        assert.strictEqual(yield* outcome(buy()), "content")
        assert.deepStrictEqual(chain.moved, [price])
      })
    ))
})
