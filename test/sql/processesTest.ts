/**
 * What processes do that spend from one ledger at the same time, whatever keeps its rows.
 */
import { assert, it } from "@effect/vitest"
import { Effect, Exit, Fiber, type Layer, Ref, type Scope } from "effect"
import * as Ledger from "../../src/Ledger.ts"
import * as steps from "../ledger.ts"
import { eventually, type Process, type Refused } from "./processes.ts"
import * as Shop from "./processesRail.ts"

/** A place for a ledger, new and empty. */
export interface Place {
  readonly start: (leaseMillis: number) => Effect.Effect<Process, Refused, Scope.Scope>
  /** The same ledger in this process. */
  readonly layer: Layer.Layer<Ledger.Ledger, unknown>
  /** Whether it ends the transaction of a process that stands still. */
  readonly endsIdle: boolean
}

const lease = 30_000

/** So short that a test can wait until it has run out. */
const short = 1_000

const several = (place: Place, count: number) =>
  Effect.forEach(Array.from({ length: count }), () => place.start(lease), { concurrency: "unbounded" })

const together = <A, E, R>(all: ReadonlyArray<Process>, f: (one: Process, at: number) => Effect.Effect<A, E, R>) =>
  Effect.forEach(all, f, { concurrency: "unbounded" })

/** What a process says that does not do what it is told. */
const refusal = <A>(effect: Effect.Effect<A, Refused>) =>
  Effect.match(effect, { onSuccess: () => "it was done", onFailure: ({ tag }) => tag })

const isTrue = (effect: Effect.Effect<boolean, Refused>) => eventually(() => Effect.runPromise(effect))

/** All that was authorised, row by row. */
const audit = Effect.gen(function*() {
  const ledger = yield* Ledger.Ledger
  const sessions = yield* ledger.sessions({})
  const holders = yield* Effect.forEach(sessions, ({ authorization }) => steps.authorization(authorization))
  const paid = yield* ledger.purchases({})
  const all = [...holders, ...paid.flatMap(({ authorizations }) => authorizations)]
    .filter(({ plan }) => plan.kind !== "draw")
  return {
    spent: all.reduce((sum, { spentUsd }) => sum + spentUsd, 0n),
    exposed: all.reduce((sum, { exposedUsd }) => sum + exposedUsd, 0n),
    count: paid.filter(({ purchase }) => purchase.delivery !== "void").length
  }
})

const crowd = Effect.fnUntraced(function*(all: ReadonlyArray<Process>) {
  const limits = { limit: 9_001n, count: 150n }
  const over = yield* Ref.make<ReadonlyArray<Ledger.Standing>>([])
  const looks = yield* Ref.make(0)
  const look = Effect.gen(function*() {
    const standing = yield* steps.standing()
    yield* Ref.update(looks, (count) => count + 1)
    if (standing.spent + standing.exposed > limits.limit || standing.count > Number(limits.count)) {
      yield* Ref.update(over, (all) => [...all, standing])
    }
  })
  const reader = yield* Effect.forkChild(Effect.forever(Effect.andThen(look, Effect.sleep("2 millis"))))
  const shares = yield* together(all, (one, at) => one.ask("spend", { seed: at + 1, purchases: 30, ...limits }))
  yield* Fiber.interrupt(reader)
  const sum = shares.reduce((sum, share) => ({
    spent: sum.spent + share.spent,
    exposed: sum.exposed + share.exposed,
    count: sum.count + share.count
  }), { spent: 0n, exposed: 0n, count: 0 })
  assert.deepStrictEqual(yield* Ref.get(over), [])
  assert.isAbove(yield* Ref.get(looks), 5)
  assert.deepStrictEqual(yield* steps.standing(), sum)
  assert.deepStrictEqual(yield* audit, sum)
  // The limits have been in the way, one or the other, and no process was kept from spending at all.
  assert.isNotEmpty(shares.flatMap((share) => Object.keys(share.refused)))
  for (const share of shares) assert.isAbove(share.count, 0)
})

const claims = Effect.fnUntraced(function*(all: ReadonlyArray<Process>, round: string) {
  const claimed = yield* together(all, (one, at) => one.ask("claim", "the same", `${round} ${at}`))
  const winners = claimed.flatMap((id, at) => id === undefined ? [] : [at])
  assert.deepStrictEqual(claimed.filter((id) => id !== undefined), ["p-equal"])
  return winners[0] ?? 0
})

export const suite = (name: string, place: Effect.Effect<Place, never, Scope.Scope>) => {
  const test = <A, E>(
    sentence: string,
    run: (place: Place) => Effect.Effect<A, E, Ledger.Ledger | Scope.Scope>
  ) =>
    it.live.skipIf(process.platform === "win32")(
      `${name}: ${sentence}`,
      () => Effect.flatMap(place, (at) => Effect.provide(run(at), at.layer)),
      180_000
    )

  test("eight processes spend one budget, never a unit over it, and share sessions and purchases with nobody", (place) =>
    Effect.gen(function*() {
      const all = yield* several(place, 8)
      yield* crowd(all)
      const [first, ...others] = all
      if (first === undefined) return assert.fail()

      // A session is drawn on by the process that keeps it.
      yield* first.ask("live", "mine", 100n)
      const drawn = yield* together(
        all,
        (one, at) => Effect.exit(one.ask("draw", `d-${at}`, "mine", 7n))
      )
      assert.deepStrictEqual(drawn.map(Exit.isSuccess), all.map((one) => one === first))
      const foreign = yield* Effect.flip(others[0]!.ask("draw", "d-again", "mine", 7n))
      assert.include(foreign, { tag: "LedgerUnavailable", detail: "another process keeps the session" })

      // An equal purchase is nobody's while its owner lives, and one claimant's when it has ended.
      yield* first.ask("charge", "equal", 5n, "the same")
      assert.deepStrictEqual(
        yield* together(others, (one) => one.ask("claim", "the same", "too early")),
        others.map(() => undefined)
      )
      yield* first.ask("judge", "equal", "unknown", "claimed")
      yield* first.ask("deliver", "p-equal", "undelivered")
      const winner = yield* claims(all, "first")
      const owner = all[winner]!
      const rest = all.filter((one) => one !== owner)
      assert.strictEqual(yield* refusal(rest[0]!.ask("resend", "equal")), "LedgerUnavailable")

      // The lock of a process that was killed is free at once, long before its lease has run out.
      yield* owner.ask("resend", "equal")
      yield* owner.ask("live", "orphan", 100n)
      const since = performance.now()
      yield* owner.kill
      yield* isTrue(
        Effect.as(rest[0]!.ask("orphans"), true).pipe(
          Effect.andThen(rest[0]!.ask("stateOf", "equal")),
          Effect.map((state) => state === "unknown")
        )
      )
      assert.isBelow(performance.now() - since, lease / 3)
      assert.strictEqual(yield* rest[1]!.ask("sessionState", "orphan"), "closing")
      yield* claims(rest, "second")
    }))

  test("a process that stood still for longer than its lease sends nothing, and goes on under another one", (place) =>
    Effect.gen(function*() {
      const [sleeper, other] = yield* Effect.all([place.start(short), place.start(lease)], { concurrency: 2 })
      for (const id of ["a", "b", "c", "d", "e"]) yield* sleeper.ask("charge", id, 11n, `key of ${id}`)
      yield* sleeper.ask("live", "s", 100n)
      yield* sleeper.ask("draw", "f", "s", 3n)
      yield* sleeper.ask("judge", "d", "settled", "claimed")
      yield* sleeper.ask("deliver", "p-d", "delivering")
      yield* sleeper.ask("holding", "a")
      yield* sleeper.stop

      // Its lock is held still: only time tells.
      yield* other.ask("orphans")
      assert.strictEqual(yield* other.ask("stateOf", "a"), "signed")
      assert.strictEqual(yield* refusal(other.ask("draw", "g", "s", 3n)), "LedgerUnavailable")
      yield* isTrue(Effect.andThen(
        other.ask("orphans"),
        Effect.map(other.ask("stateOf", "a"), (state) => state === "unknown")
      ))
      assert.strictEqual(yield* other.ask("sessionState", "s"), "closing")
      assert.strictEqual(yield* other.ask("claim", "key of b", "another"), "p-b")
      yield* other.ask("resend", "b")
      assert.strictEqual(yield* other.ask("claim", "key of d", "another"), "p-d")

      yield* sleeper.go
      for (const id of ["a", "b", "c", "d", "e", "f"]) {
        assert.strictEqual(yield* refusal(sleeper.ask("holding", id)), "LedgerUnavailable", id)
      }
      assert.strictEqual(yield* refusal(sleeper.ask("resend", "a")), "LedgerUnavailable")
      assert.strictEqual(yield* refusal(sleeper.ask("resend", "b")), "LedgerUnavailable")
      assert.strictEqual(yield* refusal(sleeper.ask("advance", "b")), "LedgerUnavailable")
      assert.strictEqual(yield* refusal(sleeper.ask("notSent", "b")), "LedgerUnavailable")
      assert.strictEqual(yield* refusal(sleeper.ask("notSent", "c")), "LedgerUnavailable")
      assert.strictEqual(yield* refusal(sleeper.ask("deliver", "p-a", "delivered")), "LedgerUnavailable")
      assert.strictEqual(yield* refusal(sleeper.ask("deliver", "p-b", "delivered")), "LedgerUnavailable")
      assert.strictEqual(yield* refusal(sleeper.ask("deliver", "p-d", "delivered")), "LedgerUnavailable")
      assert.strictEqual(yield* refusal(sleeper.ask("draw", "h", "s", 3n)), "LedgerUnavailable")
      // What it knows for certain is heard, whoever goes on with it.
      yield* sleeper.ask("judge", "b", "settled", "proven")
      yield* sleeper.ask("judge", "c", "released", "proven")
      assert.strictEqual(yield* other.ask("stateOf", "b"), "settled")
      assert.strictEqual(yield* other.ask("stateOf", "c"), "released")

      yield* sleeper.ask("charge", "new", 11n)
      yield* sleeper.ask("holding", "new")
      yield* other.ask("orphans")
      assert.strictEqual(yield* other.ask("stateOf", "new"), "signed")
      assert.strictEqual(yield* refusal(sleeper.ask("holding", "e")), "LedgerUnavailable")
    }))

  test("a payment that was stopped before it was sent is not sent when it is continued", (place) =>
    Effect.gen(function*() {
      const shop = yield* Shop.merchant
      const [sleeper, other] = yield* Effect.all([place.start(short), place.start(lease)], { concurrency: 2 })
      const url = `${shop.origin}/a`
      const paying = yield* Effect.forkChild(sleeper.ask("pay", url, true))
      yield* sleeper.stopped
      assert.deepStrictEqual(shop.presented, [])
      const ledger = yield* Ledger.Ledger
      const [paid] = yield* ledger.purchases({})
      const [authorization] = paid?.authorizations ?? []
      if (authorization === undefined) return assert.fail("nothing was authorised")
      yield* isTrue(Effect.andThen(
        other.ask("orphans"),
        Effect.map(other.ask("stateOf", authorization.id), (state) => state === "unknown")
      ))
      yield* sleeper.go
      assert.deepStrictEqual(yield* Fiber.join(paying), { reason: "LedgerUnavailable", money: "unknown" })
      assert.deepStrictEqual(shop.presented, [])
      // Whoever asks for the same sends what was signed first, and it is taken once.
      assert.deepStrictEqual(yield* other.ask("pay", url, false), { text: JSON.stringify({ sold: "/a" }) })
      assert.strictEqual(shop.taken.size, 1)
      assert.deepStrictEqual(shop.presented, [...shop.taken])
      assert.deepInclude(authorization.plan.data, { nonce: shop.presented[0] })
      assert.strictEqual(yield* other.ask("stateOf", authorization.id), "settled")
      assert.strictEqual((yield* ledger.purchases({})).length, 1)
    }))

  test("a process that stops in the middle of a step keeps the others waiting for so long, and they sign nothing", (place) =>
    Effect.gen(function*() {
      const shop = yield* Shop.merchant
      const [sleeper, other] = yield* Effect.all([place.start(short), place.start(lease)], { concurrency: 2 })
      // It has paid before the other one stops: a database ends the step that hangs after ten seconds, and what a first payment
      // takes on a busy machine is not to be longer.
      yield* other.ask("pay", `${shop.origin}/z`, false)
      const presented = shop.presented.length
      const stuck = yield* Effect.forkChild(Effect.exit(sleeper.ask("chargeAndStop", "a", 5n)))
      yield* sleeper.stopped
      const since = performance.now()
      const paid = yield* other.ask("pay", `${shop.origin}/a`, false)
      assert.deepStrictEqual(paid, { reason: "LedgerUnavailable", money: "unspent" })
      assert.isAbove(performance.now() - since, 4_000)
      assert.isBelow(performance.now() - since, 30_000)
      assert.strictEqual(shop.presented.length, presented)
      if (place.endsIdle) {
        yield* isTrue(Effect.map(Effect.exit(other.ask("charge", "c", 11n)), Exit.isSuccess))
        yield* sleeper.go
        assert.isTrue(Exit.isFailure(yield* Fiber.join(stuck)))
        assert.deepStrictEqual(yield* other.ask("money"), { spent: 0n, exposed: 11n })
      } else {
        yield* sleeper.go
        assert.isTrue(Exit.isSuccess(yield* Fiber.join(stuck)))
        // It was written under a lease that has run out since.
        assert.strictEqual(yield* refusal(sleeper.ask("holding", "a")), "LedgerUnavailable")
        yield* other.ask("charge", "c", 11n)
        assert.deepStrictEqual(yield* other.ask("money"), { spent: 0n, exposed: 16n })
      }
      assert.deepStrictEqual(yield* other.ask("pay", `${shop.origin}/a`, false), {
        text: JSON.stringify({ sold: "/a" })
      })
      yield* sleeper.ask("charge", "d", 13n)
      yield* sleeper.ask("holding", "d")
    }))
}
