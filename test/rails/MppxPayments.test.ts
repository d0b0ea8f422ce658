/**
 * A whole agent whose methods come from elsewhere: they fail, hang, and may have paid all the same.
 */
import { assert, describe, it } from "@effect/vitest"
import { Duration, Effect, Fiber, Layer, Option } from "effect"
import { HttpClient, HttpClientError, type HttpClientRequest, HttpClientResponse } from "effect/http"
import { TestClock } from "effect/testing"
import * as Agent from "../../src/Agent.ts"
import * as Ledger from "../../src/Ledger.ts"
import * as PayingClient from "../../src/PayingClient.ts"
import * as PaymentError from "../../src/PaymentError.ts"
import * as Mppx from "../../src/rails/Mppx.ts"
import * as Reconciler from "../../src/Reconciler.ts"
import * as Challenge from "../../src/wire/mpp/Challenge.ts"
import * as Credential from "../../src/wire/mpp/Credential.ts"
import * as PaymentReceipt from "../../src/wire/mpp/Receipt.ts"
import { answered, cents, challenge, foreignRequest, method } from "./mppx.ts"

type Reply = (
  request: HttpClientRequest.HttpClientRequest,
  method: string
) => Effect.Effect<Response, HttpClientError.HttpClientError>

const sells: Reply = (_, method) =>
  Effect.succeed(
    Response.json({ bought: true }, {
      headers: {
        "payment-receipt": PaymentReceipt.encode({
          method,
          reference: "ch_1",
          timestamp: "2026-01-01T00:00:00Z"
        })
      }
    })
  )

const breaks = (code: string): Reply => (request) =>
  Effect.fail(
    new HttpClientError.HttpClientError({
      reason: new HttpClientError.TransportError({
        request,
        cause: Object.assign(new Error(code), { code, syscall: code === "ECONNREFUSED" ? "connect" : "read" })
      })
    })
  )

const broken = breaks("ECONNRESET")
const down = breaks("ECONNREFUSED")

/** A merchant who takes two methods, and what came to it. */
const scene = (
  createCredential: Mppx.ClientMethod["createCredential"],
  { reply = sells, ...options }: Partial<Mppx.Options> & { readonly reply?: Reply } = {}
) => {
  const paid: Array<Credential.Credential> = []
  const other = { ...method(), name: "other" }
  const calls = { acme: 0, other: 0 }
  let challenges = 0
  const demand = (name: string, request: string) =>
    Effect.clockWith((clock) =>
      Effect.succeed(Challenge.format(challenge({
        id: `c${challenges++}`,
        method: name,
        request,
        expires: new Date(clock.currentTimeMillisUnsafe() + 300_000).toISOString()
      })))
    )
  const client = HttpClient.make(Effect.fnUntraced(function*(request) {
    const header = request.headers["authorization"]
    if (header === undefined) {
      const lines = [yield* demand("acme", foreignRequest), yield* demand("other", foreignRequest)]
      return HttpClientResponse.fromWeb(
        request,
        new Response(null, { status: 402, headers: { "www-authenticate": lines.join(", ") } })
      )
    }
    const presented = Option.getOrThrow(Credential.parse(header))
    if (presented._tag === "Standard") paid.push(presented.credential)
    return HttpClientResponse.fromWeb(request, yield* reply(request, paid.at(-1)?.challenge.method ?? ""))
  }))
  const counting = (made: Mppx.ClientMethod, name: "acme" | "other"): Mppx.ClientMethod => ({
    ...made,
    createCredential: (parameters) => (calls[name]++, made.createCredential(parameters))
  })
  const dear = Mppx.asset({ method: "other", currency: "usd", decimals: 2 })
  const layer = Agent.layer({
    rails: Mppx.layer({
      methods: [counting(method(createCredential), "acme"), counting(other, "other")],
      assets: { acme: [cents], other: [dear] },
      ...options
    }),
    assets: [cents, dear],
    ledger: Ledger.layerMemory({ quiet: true }),
    sweep: false
  }).pipe(Layer.provide(Layer.succeed(HttpClient.HttpClient, client)))
  return { layer, calls, paid }
}

const buy = Effect.flatMap(PayingClient.PayingClient, (client) => client.get("https://a.test/data"))

/** Lets time pass until the fiber has ended. */
const elapse = <A, E>(fiber: Fiber.Fiber<A, E>) =>
  Effect.gen(function*() {
    for (let second = 0; second < 120 && fiber.pollUnsafe() === undefined; second++) yield* TestClock.adjust("1 second")
    return yield* Fiber.join(fiber)
  })

const fails = Effect.flatMap(Effect.forkChild(Effect.flip(buy)), elapse).pipe(
  Effect.map((error) => Option.getOrThrow(PaymentError.find(error))),
  Effect.map(({ money, reason }) => `${reason._tag} (${money})`)
)

const standing = Effect.map(
  Ledger.Ledger.use((ledger) => ledger.standing("agent:default", Duration.toMillis("1 day"))),
  ({ exposed, spent }) => ({ exposed, spent })
)

const states = Effect.map(
  Ledger.Ledger.use((ledger) => ledger.purchases({})),
  (all) => all.map(({ authorizations, purchase }) => [purchase.delivery, ...authorizations.map(({ state }) => state)])
)

const sweep = Reconciler.Reconciler.use((reconciler) => reconciler.sweep)

const refuses = () => Promise.reject(new Error("it was paid, and then something failed"))

describe("an agent with methods of mppx", () => {
  it.effect("pays by one that nobody here knows, once, and counts it", () => {
    const { calls, layer, paid } = scene(({ challenge }) => Promise.resolve(answered(challenge)))
    return Effect.gen(function*() {
      const response = yield* buy
      assert.deepStrictEqual(yield* response.json, { bought: true })
      assert.deepStrictEqual(calls, { acme: 1, other: 0 })
      assert.deepStrictEqual(paid.map(({ challenge }) => challenge.request), [foreignRequest])
      assert.deepStrictEqual(yield* standing, { spent: 10_000n, exposed: 0n })
      assert.deepStrictEqual(yield* states, [["delivered", "settled"]])
    }).pipe(Effect.provide(layer))
  })

  it.effect("a method that fails may have paid: nothing else is tried, nothing is tried again", () => {
    const { calls, layer, paid } = scene(refuses)
    return Effect.gen(function*() {
      assert.strictEqual(yield* fails, "PaymentUncertain (unknown)")
      assert.deepStrictEqual(yield* standing, { spent: 0n, exposed: 10_000n })
      assert.strictEqual(yield* fails, "PaymentUncertain (unknown)")
      assert.deepStrictEqual(calls, { acme: 1, other: 0 })
      assert.lengthOf(paid, 0)
    }).pipe(Effect.provide(layer))
  })

  it.effect("what nobody can be asked about counts as spent in the end, and the next request is a new purchase", () => {
    let paying = false
    const { calls, layer } = scene(({ challenge }) => paying ? Promise.resolve(answered(challenge)) : refuses())
    return Effect.gen(function*() {
      yield* fails
      yield* TestClock.adjust("64 minutes")
      yield* sweep
      assert.deepStrictEqual(yield* states, [["undelivered", "unknown"]])
      yield* TestClock.adjust("1 minute")
      yield* sweep
      assert.deepStrictEqual(yield* states, [["undelivered", "presumed"]])
      assert.deepStrictEqual(yield* standing, { spent: 10_000n, exposed: 0n })
      paying = true
      assert.strictEqual(yield* fails, "PaidUndelivered (spent)")
      assert.deepStrictEqual(calls, { acme: 1, other: 0 })
      assert.strictEqual((yield* buy).status, 200)
      assert.deepStrictEqual(yield* standing, { spent: 20_000n, exposed: 0n })
    }).pipe(Effect.provide(layer))
  })

  it.effect("a method that does not answer in time may have paid, too", () => {
    const { calls, layer } = scene(() => new Promise(() => {}))
    return Effect.gen(function*() {
      assert.strictEqual(yield* fails, "PaymentUncertain (unknown)")
      assert.deepStrictEqual(calls, { acme: 1, other: 0 })
    }).pipe(Effect.provide(layer))
  })

  it.effect("a caller who goes away is not held up by a person who is asked, and the money stays held", () => {
    const { calls, layer } = scene(() => new Promise(() => {}))
    return Effect.gen(function*() {
      const fiber = yield* Effect.forkChild(buy)
      yield* TestClock.adjust("1 second")
      assert.strictEqual(calls.acme, 1)
      yield* Fiber.interrupt(fiber)
      assert.deepStrictEqual(yield* states, [["undelivered", "unknown"]])
      assert.deepStrictEqual(yield* standing, { spent: 0n, exposed: 10_000n })
    }).pipe(Effect.provide(layer))
  })

  it.effect("a payment that could not be sent is not void: the method may have made it", () => {
    const { calls, layer } = scene(({ challenge }) => Promise.resolve(answered(challenge)), { reply: down })
    return Effect.gen(function*() {
      assert.strictEqual(yield* fails, "PaymentUncertain (unknown)")
      assert.deepStrictEqual(calls, { acme: 1, other: 0 })
      assert.deepStrictEqual(yield* standing, { spent: 0n, exposed: 10_000n })
    }).pipe(Effect.provide(layer))
  })

  it.effect("neither is one that was made after its challenge had expired", () => {
    let answer = () => {}
    const { calls, layer, paid } = scene(
      ({ challenge }) => new Promise((resolve) => (answer = () => resolve(answered(challenge)))),
      { timeout: "10 minutes" }
    )
    return Effect.gen(function*() {
      const fiber = yield* Effect.forkChild(fails)
      yield* TestClock.adjust("301 seconds")
      answer()
      assert.strictEqual(yield* Fiber.join(fiber), "PaymentUncertain (unknown)")
      assert.deepStrictEqual(calls, { acme: 1, other: 0 })
      assert.lengthOf(paid, 0)
      assert.deepStrictEqual(yield* standing, { spent: 0n, exposed: 10_000n })
    }).pipe(Effect.provide(layer))
  })

  it.effect("the same credential is sent again where that is safe, and none is made anew", () => {
    let times = 0
    const reply: Reply = (request, method) => times++ < 2 ? broken(request, method) : sells(request, method)
    const { calls, layer, paid } = scene(({ challenge }) => Promise.resolve(answered(challenge)), { reply })
    return Effect.gen(function*() {
      const response = yield* Effect.flatMap(Effect.forkChild(buy), elapse)
      assert.strictEqual(response.status, 200)
      assert.deepStrictEqual(calls, { acme: 1, other: 0 })
      assert.deepStrictEqual(new Set(paid.map(({ challenge }) => challenge.id)).size, 1)
    }).pipe(Effect.provide(layer))
  })

  it.effect("methods that only sign have not paid when they fail: another one pays", () => {
    const { calls, layer, paid } = scene(refuses, { signsOnly: true })
    return Effect.gen(function*() {
      assert.strictEqual((yield* buy).status, 200)
      assert.deepStrictEqual(calls, { acme: 1, other: 1 })
      assert.deepStrictEqual(paid.map(({ challenge }) => challenge.method), ["other"])
      assert.deepStrictEqual(yield* standing, { spent: 10_000n, exposed: 0n })
    }).pipe(Effect.provide(layer))
  })

  it.effect("a currency that is in the rail's list and not in the agent's table is not paid in", () => {
    const { calls, layer } = scene(refuses, {
      assets: { acme: [Mppx.asset({ method: "acme", currency: "usd", decimals: 3 })] }
    })
    return Effect.gen(function*() {
      assert.strictEqual(yield* fails, "PolicyDenied (unspent)")
      assert.deepStrictEqual(calls, { acme: 0, other: 0 })
    }).pipe(Effect.provide(layer))
  })
})
