import { assert, describe, it } from "@effect/vitest"
import { Cause, Context, Effect, Exit, Fiber, Layer, Option, Redacted, Ref, Result } from "effect"
import { HttpClient, HttpClientError, type HttpClientRequest, HttpClientResponse } from "effect/http"
import { TestClock } from "effect/testing"
import * as Agent from "../src/Agent.ts"
import * as Budget from "../src/Budget.ts"
import * as Ledger from "../src/Ledger.ts"
import * as PayingClient from "../src/PayingClient.ts"
import * as PaymentError from "../src/PaymentError.ts"
import * as Rails from "../src/Rails.ts"
import * as AgentTest from "../src/testing/AgentTest.ts"

/**
 * A payer that broadcasts its own transactions, a chain that mines them as it is told, and a merchant that takes the hash of
 * each mined one once.
 */
interface World {
  /** What the next broadcast does. */
  readonly chain: "mines" | "is silent" | "undoes" | "hangs"
  readonly merchant: "sells" | "is down" | "cuts" | "fails" | "takes at once and works for long" | "hangs"
  /** Who sends the transaction to the chain. */
  readonly sentBy: "payer" | "merchant"
  readonly mined: ReadonlyArray<string>
  readonly signed: number
  readonly presented: ReadonlyArray<string>
  readonly events: ReadonlyArray<string>
  readonly expiresAt: number
  /** Whether the signer is a person who does not answer. */
  readonly waits: boolean
}

class Scene extends Context.Service<Scene, Ref.Ref<World>>()("test/Scene") {}

const change = (update: Partial<World>) => Effect.flatMap(Scene, Ref.update((world) => ({ ...world, ...update })))
const world = Effect.flatMap(Scene, Ref.get)
const evidence = (rank: Rails.Rank, what: string) => new Rails.Evidence({ rank, what })
const price = 10_000n
const feeUsd = 500n

const railOf = (scene: Ref.Ref<World>): Rails.Rail => ({
  name: "test/push",
  payer: "0x00000000000000000000000000000000000000a1",
  steps: 1,
  repeats: false,
  session: Option.none(),
  accepts: () => Result.succeed(AgentTest.asset),
  plan: (offer) =>
    Effect.map(Ref.get(scene), ({ expiresAt }) =>
      new Rails.Plan({
        rail: "test/push",
        kind: "charge",
        network: AgentTest.asset.network,
        asset: AgentTest.asset.address,
        units: offer.units,
        feeUsd: 2_000n,
        payer: "0x00000000000000000000000000000000000000a1",
        payee: offer.payee,
        spendableUntil: 60_000,
        presentableUntil: expiresAt,
        data: {}
      })),
  sign: Effect.fnUntraced(function*(plan, before) {
    if ((yield* Ref.get(scene)).waits) return yield* Effect.never
    const { signed } = yield* Ref.updateAndGet(
      scene,
      (it) => before === undefined ? { ...it, signed: it.signed + 1 } : it
    )
    const transaction = before ?? `0x0${signed}`
    const run: Effect.Effect<Rails.Verdict> = Effect.gen(function*() {
      const { chain, mined } = yield* Ref.updateAndGet(scene, (it) => ({ ...it, events: [...it.events, "broadcast"] }))
      if (chain === "hangs") return yield* Effect.never
      if (chain === "mines" && !mined.includes(transaction)) {
        yield* Ref.update(scene, (it) => ({ ...it, mined: [...it.mined, transaction] }))
      }
      if (chain === "mines") {
        return { _tag: "Settled", units: plan.units, feeUsd, content: false, evidence: evidence("observed", "mined") }
      }
      return chain === "undoes"
        ? { _tag: "Void", feeUsd, evidence: evidence("proven", "reverted") }
        : {
          _tag: "Unknown",
          content: false,
          evidence: evidence("presumed", "no receipt"),
          next: { _tag: "reconcile" }
        }
    })
    return {
      envelopes: [{ "payment-signature": Redacted.make(transaction) }],
      ...((yield* Ref.get(scene)).sentBy === "payer" ? { broadcast: { transaction, run } } : {})
    }
  }),
  judge: (plan, { status }) =>
    status < 300
      ? { _tag: "Settled", units: plan.units, content: true, evidence: evidence("claimed", "receipt") }
      : { _tag: "Unknown", content: false, evidence: evidence("claimed", "status"), next: { _tag: "reconcile" } },
  reconcile: (plan) =>
    Effect.map(Ref.get(scene), ({ mined, sentBy }): Rails.Verdict =>
      sentBy === "merchant" && mined.length > 0
        ? { _tag: "Settled", units: plan.units, content: false, evidence: evidence("observed", "mined") }
        : { _tag: "Unknown", content: false, evidence: evidence("presumed", "?"), next: { _tag: "reconcile" } })
})

const failing = (request: HttpClientRequest.HttpClientRequest, code: string) =>
  Effect.fail(
    new HttpClientError.HttpClientError({
      reason: new HttpClientError.TransportError({
        request,
        cause: Object.assign(new Error(code), { code, syscall: code === "ECONNREFUSED" ? "connect" : "read" })
      })
    })
  )

const merchantOf = (scene: Ref.Ref<World>) =>
  HttpClient.make(Effect.fnUntraced(function*(request) {
    const credential = request.headers["payment-signature"]
    const respond = (status: number, body: unknown) =>
      HttpClientResponse.fromWeb(request, Response.json(body, { status }))
    if (credential === undefined) {
      return respond(402, {
        x402Version: 2,
        resource: { url: request.url },
        accepts: [{
          scheme: "exact",
          network: AgentTest.asset.network,
          amount: price.toString(),
          asset: AgentTest.asset.address,
          payTo: "0x00000000000000000000000000000000000000b2",
          maxTimeoutSeconds: 60,
          extra: {}
        }]
      })
    }
    const { merchant } = yield* Ref.get(scene)
    if (merchant === "is down") return yield* failing(request, "ECONNREFUSED")
    yield* Ref.update(scene, (it) => ({
      ...it,
      events: [...it.events, "presented"],
      presented: [...it.presented, credential]
    }))
    if (merchant === "takes at once and works for long") {
      yield* Ref.update(scene, (it) => ({ ...it, mined: [...it.mined, credential] }))
      yield* Effect.sleep("10 minutes")
    }
    if (merchant === "hangs") return yield* Effect.never
    if (merchant === "cuts") return yield* failing(request, "ECONNRESET")
    return merchant === "fails" ? respond(500, {}) : respond(200, { bought: true })
  }))

const layerOf = (start: Partial<World> = {}) => {
  const scene = Layer.effect(
    Scene,
    Ref.make<World>({
      chain: "mines",
      merchant: "sells",
      sentBy: "payer",
      mined: [],
      signed: 0,
      presented: [],
      events: [],
      expiresAt: 300_000,
      waits: false,
      ...start
    })
  )
  const agent = Layer.unwrap(Effect.map(Scene, (ref) =>
    Agent.layer({
      budget: Budget.research,
      rails: Rails.layerAdd(Effect.succeed(railOf(ref))),
      ledger: Ledger.layerMemory({ quiet: true }),
      policy: { networks: [AgentTest.asset.network] },
      assets: [AgentTest.asset],
      sweep: false
    }).pipe(Layer.provide(Layer.succeed(HttpClient.HttpClient, merchantOf(ref))))))
  return Layer.provideMerge(agent, scene)
}

const url = "https://merchant.test/a"
const buy = Effect.flatMap(
  PayingClient.PayingClient,
  (client) => Effect.flatMap(client.get(url), (response) => response.json)
)
const post = Effect.flatMap(
  PayingClient.PayingClient,
  (client) => Effect.flatMap(client.post(url), (response) => response.json)
)

const patiently = <A, E, R>(effect: Effect.Effect<A, E, R>) =>
  Effect.gen(function*() {
    const fiber = yield* Effect.forkChild(effect)
    for (let step = 0; step < 1_000 && fiber.pollUnsafe() === undefined; step++) yield* TestClock.adjust("1 second")
    return yield* Fiber.join(fiber)
  })

const outcome = <A, E, R>(effect: Effect.Effect<A, E, R>) =>
  Effect.match(patiently(effect), {
    onSuccess: () => "content",
    onFailure: (error) =>
      Option.match(PaymentError.find(error), {
        onNone: () => String(error),
        onSome: ({ money, reason }) => `${reason._tag} (${money})`
      })
  })

const authorizations = Effect.flatMap(
  Ledger.Ledger,
  (ledger) => Effect.map(ledger.purchases({}), (all) => all.flatMap(({ authorizations }) => authorizations))
)
const steps = Effect.map(authorizations, (all) => all.map(({ broadcast, state }) => `${state} ${broadcast?.step}`))
const standing = Effect.flatMap(
  Ledger.Ledger,
  (ledger) => Effect.map(ledger.standing("agent:default", 3_600_000), ({ exposed, spent }) => ({ exposed, spent }))
)

describe("a payment that its payer broadcasts", () => {
  it.effect("is mined first, and presented then", () =>
    Effect.gen(function*() {
      assert.deepStrictEqual(yield* patiently(buy), { bought: true })
      assert.deepStrictEqual((yield* world).events, ["broadcast", "presented"])
      assert.deepStrictEqual(yield* steps, ["settled presented"])
      // What was held for fees counts as spent until a finalized block says what they were.
      assert.deepStrictEqual(yield* standing, { exposed: 0n, spent: price + 2_000n })
    }).pipe(Effect.provide(layerOf())))

  it.effect("holds its fees besides the price", () =>
    Effect.gen(function*() {
      assert.strictEqual(yield* outcome(buy), "PaymentUncertain (unknown)")
      assert.deepStrictEqual(yield* standing, { exposed: price + 2_000n, spent: 0n })
      assert.deepStrictEqual((yield* world).presented, [])
    }).pipe(Effect.provide(layerOf({ chain: "is silent" }))))

  it.effect("costs its fees alone if the chain proves that it was undone", () =>
    Effect.gen(function*() {
      assert.strictEqual(yield* outcome(buy), "ChainError (unspent)")
      assert.deepStrictEqual(yield* standing, { exposed: 0n, spent: feeUsd })
      assert.deepStrictEqual((yield* world).presented, [])
    }).pipe(Effect.provide(layerOf({ chain: "undoes" }))))

  it.effect("is presented by the next equal request, without another signature, if it was interrupted before", () =>
    Effect.gen(function*() {
      const fiber = yield* Effect.forkChild(buy)
      yield* TestClock.adjust("1 second")
      yield* Fiber.interrupt(fiber)
      assert.deepStrictEqual(yield* steps, ["unknown broadcast"])
      yield* change({ chain: "mines" })
      assert.deepStrictEqual(yield* patiently(buy), { bought: true })
      assert.strictEqual((yield* world).signed, 1)
      assert.deepStrictEqual((yield* world).presented, ["0x01"])
    }).pipe(Effect.provide(layerOf({ chain: "hangs" }))))

  for (const [name, request] of [["GET", buy], ["POST", post]] as const) {
    it.effect(`is kept for later by a ${name} if the merchant was down, and then presented`, () =>
      Effect.gen(function*() {
        assert.strictEqual(yield* outcome(request), "PaidUndelivered (spent)")
        assert.deepStrictEqual(yield* steps, ["settled mined"])
        yield* change({ merchant: "sells" })
        assert.strictEqual(yield* outcome(request), "content")
        const { mined, presented, signed } = yield* world
        assert.deepStrictEqual({ mined, presented, signed }, { mined: ["0x01"], presented: ["0x01"], signed: 1 })
      }).pipe(Effect.provide(layerOf({ merchant: "is down" }))))
  }

  it.effect("is not presented a second time by a request that cannot be repeated", () =>
    Effect.gen(function*() {
      assert.strictEqual(yield* outcome(post), "PaidUndelivered (spent)")
      yield* change({ merchant: "sells" })
      assert.strictEqual(yield* outcome(post), "PaidUndelivered (spent)")
      const { presented, signed } = yield* world
      assert.deepStrictEqual({ presented, signed }, { presented: ["0x01"], signed: 1 })
    }).pipe(Effect.provide(layerOf({ merchant: "cuts" }))))

  it.effect("is not presented once its challenge has expired, and no other is signed", () =>
    Effect.gen(function*() {
      assert.strictEqual(yield* outcome(buy), "PaidUndelivered (spent)")
      assert.deepStrictEqual((yield* world).presented, [])
      assert.strictEqual((yield* world).signed, 1)
      yield* change({ expiresAt: 300_000 })
      assert.strictEqual(yield* outcome(buy), "PaidUndelivered (spent)")
      assert.strictEqual((yield* world).signed, 1)
      // That it was lost has been said twice: from here on the same request is a new purchase.
      assert.strictEqual(yield* outcome(buy), "content")
    }).pipe(Effect.provide(layerOf({ expiresAt: 0 }))))

  it.effect("never leaves if its hash cannot be written down", () =>
    Effect.gen(function*() {
      const exit = yield* Effect.exit(patiently(buy))
      assert.isTrue(Exit.isFailure(exit))
      assert.deepStrictEqual((yield* world).events, [])
      const error = Exit.isFailure(exit)
        ? Option.flatMap(Cause.findErrorOption(exit.cause), PaymentError.find)
        : Option.none()
      assert.deepStrictEqual(
        Option.map(error, ({ money, reason }) => [reason._tag, money]),
        Option.some([
          "LedgerUnavailable",
          "unspent"
        ])
      )
    }).pipe(Effect.provide(
      Layer.unwrap(Effect.map(
        Scene,
        (ref) =>
          Agent.layer({
            rails: Rails.layerAdd(Effect.succeed(railOf(ref))),
            ledger: Layer.effect(
              Ledger.Ledger,
              Effect.map(Ledger.Ledger, (ledger) => ({
                ...ledger,
                advanced: () =>
                  Effect.fail(new PaymentError.LedgerUnavailable({ operation: "advanced", detail: "full" }))
              }))
            ).pipe(Layer.provide(Ledger.layerMemory({ quiet: true }))),
            policy: { networks: [AgentTest.asset.network] },
            assets: [AgentTest.asset],
            sweep: false
          }).pipe(Layer.provide(Layer.succeed(HttpClient.HttpClient, merchantOf(ref))))
      )).pipe(Layer.provideMerge(Layer.effect(
        Scene,
        Ref.make<World>({
          chain: "mines",
          merchant: "sells",
          sentBy: "payer",
          mined: [],
          signed: 0,
          presented: [],
          events: [],
          expiresAt: 300_000,
          waits: false
        })
      )))
    )))
})

describe("an answer that takes its time", () => {
  it.effect("is waited for as long as it takes, once the money has moved", () =>
    Effect.gen(function*() {
      assert.strictEqual(yield* outcome(buy), "content")
      assert.strictEqual((yield* world).signed, 1)
      assert.deepStrictEqual((yield* authorizations).map(({ state }) => state), ["settled"])
    }).pipe(Effect.provide(layerOf({ sentBy: "merchant", merchant: "takes at once and works for long" }))))

  it.effect("is waited for no longer than the money can be taken, where it was not", () =>
    Effect.gen(function*() {
      assert.strictEqual(yield* outcome(buy), "PaymentUncertain (unknown)")
      assert.strictEqual((yield* world).signed, 1)
    }).pipe(Effect.provide(layerOf({ sentBy: "merchant", merchant: "hangs" }))))
})

describe("a signature that takes its time", () => {
  it.effect("is not waited for by a caller who has gone, and holds nothing", () =>
    Effect.gen(function*() {
      const fiber = yield* Effect.forkChild(buy)
      yield* TestClock.adjust("1 second")
      assert.deepStrictEqual(yield* standing, { exposed: price + 2_000n, spent: 0n })
      yield* Fiber.interrupt(fiber)
      assert.deepStrictEqual((yield* authorizations).map(({ state }) => state), ["released"])
      assert.deepStrictEqual(yield* standing, { exposed: 0n, spent: 0n })
      yield* change({ waits: false })
      assert.strictEqual(yield* outcome(buy), "content")
    }).pipe(Effect.provide(layerOf({ waits: true }))))
})
