import { assert, describe, it } from "@effect/vitest"
import { Effect, Fiber, Layer, Logger, Option, Ref } from "effect"
import { TestClock } from "effect/testing"
import * as Asset from "../src/Asset.ts"
import * as Ledger from "../src/Ledger.ts"
import * as PayingClient from "../src/PayingClient.ts"
import * as PaymentError from "../src/PaymentError.ts"
import * as Rails from "../src/Rails.ts"
import * as Reconciler from "../src/Reconciler.ts"
import * as Session from "../src/Session.ts"
import * as AgentTest from "../src/testing/AgentTest.ts"
import {
  authorization,
  authorize,
  charge,
  deliver,
  evidence,
  hour,
  judge,
  live,
  money,
  opening,
  session,
  update
} from "./ledger.ts"

const get = Effect.flatMap(PayingClient.PayingClient, (client) => client.get("https://merchant.test/a"))
const sweep = Effect.flatMap(Reconciler.Reconciler, (reconciler) => reconciler.sweep)
const expire = Effect.flatMap(AgentTest.Merchant, (merchant) => merchant.expireAuthorizations)
const standing = Effect.map(
  Effect.flatMap(Ledger.Ledger, (ledger) => ledger.standing("agent:default", 3_600_000)),
  ({ exposed, spent }) => ({ exposed, spent })
)
const states = Effect.map(
  Effect.flatMap(Ledger.Ledger, (ledger) => ledger.purchases({})),
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

// ---------------------------------------------------------------------------------------------------------------------
// Over a rail that says what the test says
// ---------------------------------------------------------------------------------------------------------------------

type Verdict = ReturnType<Rails.Rail["reconcile"]>

const asset = new Asset.Asset({
  network: "eip155:1337",
  address: "0xaa",
  symbol: "TEST",
  decimals: 6,
  usd: true,
  testnet: true
})

const isVoid: Verdict = Effect.succeed({ _tag: "Void", evidence: evidence("proven") })
const isUnknown: Verdict = Effect.succeed({
  _tag: "Unknown",
  content: false,
  evidence: evidence("observed"),
  next: { _tag: "reconcile" }
})

const handle = new Rails.SessionHandle({ wireId: "wire", limit: 100n, expiresAt: hour, data: {} })

const over = (
  reconcile: Rails.Rail["reconcile"],
  options: {
    readonly name?: string
    readonly close?: Rails.SessionOps["close"]
    readonly sessions?: Partial<Session.Session["Service"]>
  } = {}
) => {
  const unused = () => Effect.die("not asked for")
  const rail: Rails.Rail = {
    name: options.name ?? "test",
    payer: "0x1",
    steps: 1,
    repeats: true,
    accepts: () => assert.fail(),
    plan: unused,
    sign: unused,
    judge: () => assert.fail(),
    reconcile,
    session: Option.some({
      key: () => "",
      inOrder: false,
      attests: true,
      planOpen: unused,
      establish: unused,
      planDraw: () => assert.fail(),
      inspect: unused,
      close: options.close ?? unused
    })
  }
  return Reconciler.layer.pipe(
    Layer.provide(Layer.provideMerge(Rails.layerAdd(Effect.succeed(rail)), Rails.Rails.layer)),
    Layer.provide(Layer.mock(Session.Session, { find: () => Effect.succeedNone, ...options.sessions })),
    Layer.provideMerge(Ledger.layerMemory({ quiet: true })),
    Layer.provide(Layer.succeed(Asset.Table, Asset.makeTable([asset])))
  )
}

/** Sweeps, while time goes by until it is done. */
const sweepFor = (time: Parameters<typeof TestClock.adjust>[0]) =>
  Effect.gen(function*() {
    const sweeping = yield* Effect.forkChild(sweep)
    yield* TestClock.adjust(time)
    return yield* Fiber.join(sweeping)
  })

const undelivered = Effect.fnUntraced(function*(id: string, usd: bigint, spendableUntil?: number) {
  yield* authorize(charge(id, usd, spendableUntil === undefined ? {} : { spendableUntil }))
  yield* judge(id, "rejected", "claimed")
  yield* deliver(`p-${id}`, "undelivered")
})

describe("a sweep", () => {
  it.effect("waits for nobody, and says of whom", () => {
    const warnings: Array<string> = []
    const logger = Logger.make(({ message }) => void warnings.push(String(message)))
    return Effect.gen(function*() {
      for (let number = 1; number <= 12; number++) yield* undelivered(`a${number}`, BigInt(number))
      assert.deepStrictEqual(yield* sweepFor("30 seconds"), { settled: 0, released: 10, presumed: 0, open: 2 })
      assert.deepStrictEqual(warnings.toSorted(), [
        "could not reconcile,a1,no answer in time",
        "could not reconcile,a2,its rail is defective"
      ])
    }).pipe(Effect.provide([
      over(({ units }) => units === 1n ? Effect.never : units === 2n ? Effect.die("merchant text") : isVoid),
      Logger.layer([logger])
    ]))
  })

  it.effect("goes on after what the ledger refuses to write", () =>
    Effect.gen(function*() {
      yield* undelivered("a1", 1n)
      yield* undelivered("a2", 2n)
      assert.deepStrictEqual(yield* sweep, { settled: 0, released: 1, presumed: 0, open: 1 })
    }).pipe(
      Effect.provide(over(({ units }) =>
        units === 2n ? isVoid : Effect.succeed({ _tag: "Void", evidence: evidence("claimed", "merely said") })
      )),
      Effect.provide(Logger.layer([]))
    ))

  it.effect("asks about four at a time", () =>
    Effect.gen(function*() {
      const asked = yield* Ref.make(0)
      const slow = Ref.update(asked, (count) => count + 1).pipe(
        Effect.andThen(Effect.sleep("1 second")),
        Effect.andThen(isVoid)
      )
      yield* Effect.gen(function*() {
        for (let number = 1; number <= 9; number++) yield* undelivered(`a${number}`, 1n)
        const sweeping = yield* Effect.forkChild(sweep)
        const counts: Array<number> = []
        for (let second = 0; second < 3; second++) {
          yield* TestClock.adjust(second === 0 ? 0 : "1 second")
          counts.push(yield* Ref.get(asked))
        }
        assert.deepStrictEqual(counts, [4, 8, 9])
        yield* TestClock.adjust("1 second")
        assert.strictEqual((yield* Fiber.join(sweeping)).released, 9)
      }).pipe(Effect.provide(over(() => slow)))
    }))

  it.effect("comes to every claim in turn, however many can never be proven", () =>
    Effect.gen(function*() {
      const asked = yield* Ref.make<ReadonlyArray<bigint>>([])
      const note = ({ units }: Rails.Plan) =>
        Effect.andThen(Ref.update(asked, (all) => [...all, units]), units === 199n ? isVoid : isUnknown)
      const pass = Effect.andThen(sweep, Ref.getAndSet(asked, []))
      const from = (first: number, count: number) => Array.from({ length: count }, (_, at) => BigInt(first + at))
      yield* Effect.gen(function*() {
        for (let number = 0; number < 250; number++) {
          const id = `a${String(number).padStart(3, "0")}`
          yield* authorize(charge(id, BigInt(number)))
          yield* judge(id, "settled", "claimed")
        }
        assert.deepStrictEqual(yield* pass, from(0, 100))
        assert.deepStrictEqual(yield* pass, from(100, 100))
        assert.deepStrictEqual(yield* pass, [...from(200, 50), ...from(0, 50)])
        assert.deepStrictEqual(yield* pass, from(50, 100))
      }).pipe(Effect.provide(over(note)))
    }))
})

describe("a merchant that hangs", () => {
  const hanging = Effect.fnUntraced(function*(after: number) {
    yield* authorize(charge("a", 100n, { spendableUntil: hour }))
    yield* TestClock.setTime(hour + after)
    yield* sweepFor("1 minute")
    return (yield* authorization("a")).state
  })

  it.effect("keeps a hold until a minute after its authorisation expired, and then proof returns it", () =>
    Effect.gen(function*() {
      assert.strictEqual(yield* hanging(59_999), "signed")
      yield* sweepFor(0)
      assert.strictEqual((yield* authorization("a")).state, "released")
      assert.deepStrictEqual(yield* money(), { spent: 0n, exposed: 0n })
    }).pipe(Effect.provide(over(() => isVoid))))

  it.effect("has taken it, if nobody can be asked for an hour", () =>
    Effect.gen(function*() {
      assert.strictEqual(yield* hanging(60_000), "signed")
      yield* TestClock.setTime(2 * hour)
      yield* sweepFor("1 minute")
      assert.strictEqual((yield* authorization("a")).state, "presumed")
      assert.deepStrictEqual(yield* money(), { spent: 100n, exposed: 0n })
    }).pipe(Effect.provide(over(() => Effect.never)), Effect.provide(Logger.layer([]))))
})

describe("what was paid on a rail that is not set up any more", () => {
  const other = over(() => Effect.die("not asked for"), { name: "another" })

  it.effect("is presumed spent in the end: nothing is held for ever", () =>
    Effect.gen(function*() {
      yield* undelivered("a", 100n, hour)
      yield* TestClock.setTime(2 * hour - 1)
      assert.strictEqual((yield* sweep).open, 1)
      yield* TestClock.setTime(2 * hour)
      assert.strictEqual((yield* sweep).presumed, 1)
      assert.deepStrictEqual(yield* money(), { spent: 100n, exposed: 0n })
    }).pipe(Effect.provide(other)))

  it.effect("is so with all of a session's limit", () =>
    Effect.gen(function*() {
      yield* live("s", 100n, { spendableUntil: hour })
      yield* update("s", { handle })
      yield* TestClock.setTime(hour + 60_000)
      assert.strictEqual((yield* sweep).open, 1)
      assert.strictEqual((yield* session("s")).state, "closing")
      yield* TestClock.setTime(2 * hour)
      assert.strictEqual((yield* sweep).presumed, 1)
      assert.deepStrictEqual(yield* money(), { spent: 100n, exposed: 0n })
    }).pipe(Effect.provide(other)))
})

describe("a session that is over", () => {
  const figures = Effect.succeed({ spent: 30n, remaining: 70n, open: false })
  const expired = Effect.gen(function*() {
    yield* live("s", 100n)
    yield* update("s", { handle })
    yield* TestClock.setTime(hour + 59_999)
    yield* sweep
    assert.strictEqual((yield* session("s")).state, "live")
    yield* TestClock.adjust(1)
    return yield* sweep
  })

  it.effect("is closed a minute after it expired, and returns what it did not spend", () =>
    Effect.gen(function*() {
      assert.deepStrictEqual(yield* expired, { settled: 1, released: 0, presumed: 0, open: 0 })
      assert.deepInclude(yield* session("s"), { state: "closed", spentUsd: 30n })
      assert.deepStrictEqual(yield* money(), { spent: 30n, exposed: 0n })
    }).pipe(Effect.provide(over(() => isUnknown, { close: () => figures }))))

  const away = new PaymentError.Unavailable({ service: "session endpoint", notSent: false })

  it.effect("is closed by who still draws on it", () =>
    Effect.gen(function*() {
      const ended = yield* Ref.make<ReadonlyArray<string>>([])
      const sessions: Partial<Session.Session["Service"]> = {
        find: (id) =>
          Effect.succeedSome({ id, handle, ops: { inspect: () => Effect.fail(away) } } as unknown as Session.Live),
        expire: ({ id }) => Ref.update(ended, (all) => [...all, id])
      }
      assert.strictEqual((yield* Effect.provide(expired, over(() => isUnknown, { sessions }))).open, 1)
      assert.deepStrictEqual(yield* Ref.get(ended), ["s"])
    }))

  it.effect("is not drawn on any more, although its endpoint does not answer, and in the end all of it is spent", () =>
    Effect.gen(function*() {
      yield* live("s", 100n, { spendableUntil: hour })
      yield* update("s", { handle })
      yield* TestClock.setTime(hour + 60_000)
      assert.strictEqual((yield* sweepFor("30 seconds")).open, 1)
      assert.strictEqual((yield* session("s")).state, "closing")
      assert.deepStrictEqual(yield* money(), { spent: 0n, exposed: 100n })
      yield* TestClock.setTime(2 * hour)
      assert.strictEqual((yield* sweepFor("30 seconds")).presumed, 1)
      assert.deepStrictEqual(yield* money(), { spent: 100n, exposed: 0n })
    }).pipe(Effect.provide(over(() => isUnknown, { close: () => Effect.never })), Effect.provide(Logger.layer([]))))

  it.effect("and was never opened, as far as anybody knows, is asked about by its opening", () =>
    Effect.gen(function*() {
      yield* authorize(opening("s", 100n))
      yield* TestClock.setTime(hour + 60_000)
      assert.strictEqual((yield* sweep).released, 1)
      assert.strictEqual((yield* session("s")).state, "closed")
      assert.deepStrictEqual(yield* money(), { spent: 0n, exposed: 0n })
    }).pipe(Effect.provide(over(() => isVoid))))
})
