import { assert, describe, it } from "@effect/vitest"
import { Effect, Layer } from "effect"
import { TestClock } from "effect/testing"
import * as Ledger from "../src/Ledger.ts"
import * as PayingClient from "../src/PayingClient.ts"
import * as Reconciler from "../src/Reconciler.ts"
import * as AgentTest from "../src/testing/AgentTest.ts"

const get = Effect.flatMap(PayingClient.PayingClient, (client) => client.get("https://merchant.test/a"))
const sweep = Effect.flatMap(Reconciler.Reconciler, (reconciler) => reconciler.sweep)
const expire = Effect.flatMap(AgentTest.Merchant, (merchant) => merchant.expireAuthorizations)
const standing = Effect.map(
  Effect.flatMap(Ledger.Ledger, (ledger) => ledger.standing("agent:default", 3_600_000)),
  ({ exposed, spent }) => ({ exposed, spent })
)
const states = Effect.map(
  Effect.flatMap(Ledger.Ledger, (ledger) => ledger.purchases),
  (all) => all.flatMap(({ authorizations }) => authorizations.map((it) => it.state))
)

const selling = (...faults: ReadonlyArray<AgentTest.Fault>) =>
  AgentTest.layer({ merchant: [{ path: "/a", price: "0.01", answer: {}, faults }] })

describe("Reconciler", () => {
  it.effect("leaves open what nobody knows yet", () =>
    Effect.gen(function*() {
      yield* Effect.flip(get)
      assert.deepStrictEqual(yield* sweep, { settled: 0, released: 0, presumed: 0, open: 1 })
      assert.deepStrictEqual(yield* standing, { exposed: 10_000n, spent: 0n })
    }).pipe(Effect.provide(selling("refuse"))))

  it.effect("returns a hold when it is proven that it can never be taken", () =>
    Effect.gen(function*() {
      yield* Effect.flip(get)
      yield* expire
      assert.deepStrictEqual(yield* sweep, { settled: 0, released: 1, presumed: 0, open: 0 })
      assert.deepStrictEqual(yield* standing, { exposed: 0n, spent: 0n })
    }).pipe(Effect.provide(selling("refuse"))))

  it.effect("presumes spent what can no longer be taken and has no evidence for an hour", () =>
    Effect.gen(function*() {
      yield* Effect.flip(get)
      yield* TestClock.adjust("60 minutes")
      assert.strictEqual((yield* sweep).open, 1)
      yield* TestClock.adjust("1 minute")
      assert.strictEqual((yield* sweep).presumed, 1)
      assert.deepStrictEqual(yield* standing, { exposed: 0n, spent: 10_000n })
    }).pipe(Effect.provide(selling("refuse"))))

  it.effect("corrects what it presumed when evidence comes", () =>
    Effect.gen(function*() {
      yield* Effect.flip(get)
      yield* TestClock.adjust("61 minutes")
      yield* sweep
      assert.deepStrictEqual(yield* states, ["presumed"])
      yield* expire
      yield* sweep
      assert.deepStrictEqual(yield* states, ["released"])
      assert.deepStrictEqual(yield* standing, { exposed: 0n, spent: 0n })
    }).pipe(Effect.provide(selling("refuse"))))

  it.effect("believes the chain and not a receipt", () =>
    Effect.gen(function*() {
      yield* get
      assert.deepStrictEqual(yield* states, ["settled"])
      yield* sweep
      assert.deepStrictEqual(yield* states, ["settled"])
      yield* expire
      yield* sweep
      assert.deepStrictEqual(yield* states, ["released"])
      assert.deepStrictEqual(yield* standing, { exposed: 0n, spent: 0n })
    }).pipe(Effect.provide(selling("receipt-only"))))

  it.effect("asks about one authorisation, and knows none that does not exist", () =>
    Effect.gen(function*() {
      const reconciler = yield* Reconciler.Reconciler
      assert.isTrue((yield* reconciler.reconcile("aut_none"))._tag === "None")
    }).pipe(Effect.provide(selling())))

  it.effect("sweeps by itself, for as long as its layer lives", () =>
    Effect.gen(function*() {
      yield* Effect.flip(get)
      yield* expire
      yield* TestClock.adjust("31 seconds")
      assert.deepStrictEqual(yield* states, ["released"])
    }).pipe(Effect.provide(Layer.provideMerge(Reconciler.layerSweeping(), selling("refuse")))))
})
