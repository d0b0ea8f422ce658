/** What goes wrong between our agent and servers of mppx that sell by channel: nothing is paid twice, and nothing is left. */
import { assert, layer } from "@effect/vitest"
import { Clock, Effect, Exit, Layer, Schedule, Scope } from "effect"
import * as Reconciler from "../../src/Reconciler.ts"
import * as Session from "../../src/Session.ts"
import * as Tempo from "../../src/testing/chain/Tempo.ts"
import { buyAt, payer, standing } from "./channelPayer.ts"
import * as Shops from "./official/mppxSessions.ts"

const buy = (path: string) => Effect.flatMap(Shops.MppxSessions, ({ url }) => buyAt(`${url}${path}`))

const content = { status: 200, json: { secret: 42 } }

const sweep = Reconciler.Reconciler.use((reconciler) => reconciler.sweep)

/** Everything that is open is asked after, until nothing is. */
const settled = Effect.gen(function*() {
  yield* sweep
  const { exposed } = yield* standing
  if (exposed > 0n) return yield* Effect.fail("something is still held")
}).pipe(Effect.retry(Schedule.spaced("500 millis").pipe(Schedule.upTo({ times: 100 }))))

/** What the shop was sent since, in words. */
const since = (seen: ReadonlyArray<Shops.Seen>, from: number) =>
  seen.slice(from).map(({ action, cumulative, method, status }) =>
    `${method} ${action ?? "-"} ${cumulative ?? ""} ${status}`
  )

const World = Shops.layer.pipe(Layer.provideMerge(Tempo.layer()))

layer(World, { excludeTestServices: true, timeout: "60 seconds" })("faults of channel sessions at mppx", (it) => {
  it.effect("an opening that the merchant pays for costs the payer no fee", () =>
    Effect.gen(function*() {
      const { agent, gone } = yield* payer()
      yield* Effect.gen(function*() {
        for (let nth = 0; nth < 3; nth++) assert.deepStrictEqual(yield* buy("/sponsored"), content)
        yield* Session.Session.use((session) => session.closeAll)
        assert.deepStrictEqual(yield* standing, { exposed: 0n, spent: 3n * Shops.units })
        assert.strictEqual(yield* gone, 3n * Shops.units)
      }).pipe(Effect.provide(agent))
    }), { timeout: 60_000 })

  it.effect(
    "answers that are lost are asked for with the same voucher, and each request is paid once",
    () =>
      Effect.gen(function*() {
        const { seen, spoil } = yield* Shops.MppxSessions
        const { agent, gone } = yield* payer()
        yield* Effect.gen(function*() {
          yield* buy("/metered")
          const from = seen.length
          spoil(500)
          yield* Effect.exit(buy("/metered?lost"))
          const lost = seen.slice(from).flatMap(({ action, cumulative }) => action === "voucher" ? [cumulative] : [])
          assert.isAtLeast(lost.length, 2)
          assert.deepStrictEqual(new Set(lost), new Set([2n * Shops.units]))
          // The server has counted one request, and the next one is one more.
          for (const nth of [3n, 4n]) {
            const before = seen.length
            assert.deepStrictEqual(yield* buy(`/metered?${nth}`), content)
            const highest = seen.slice(before).at(-1)?.cumulative
            assert.strictEqual(highest, nth * Shops.units)
          }
          yield* Session.Session.use((session) => session.closeAll)
          yield* settled
          const { spent } = yield* standing
          assert.strictEqual(spent, yield* gone)
        }).pipe(Effect.provide(agent))
      }),
    { timeout: 60_000 }
  )

  it.effect(
    "many fibers at once send vouchers that rise one by one, of which none is refused",
    () =>
      Effect.gen(function*() {
        const { seen } = yield* Shops.MppxSessions
        const { agent, gone } = yield* payer()
        const from = seen.length
        yield* Effect.gen(function*() {
          const bought = yield* Effect.all(Array.from({ length: 32 }, (_, nth) => buy(`/metered?${nth}`)), {
            concurrency: "unbounded"
          })
          assert.deepStrictEqual(bought, Array.from({ length: 32 }, () => content))
          yield* Session.Session.use((session) => session.closeAll)
          const { exposed, spent } = yield* standing
          assert.deepStrictEqual([exposed, spent], [0n, yield* gone])
        }).pipe(Effect.provide(agent))
        assert.deepStrictEqual(
          since(seen, from).filter((line) => !line.includes("-")),
          [
            `HEAD open ${Shops.units} 204`,
            ...Array.from({ length: 32 }, (_, nth) => `GET voucher ${BigInt(nth + 1) * Shops.units} 200`),
            `HEAD close ${32n * Shops.units} 204`
          ]
        )
      }),
    { timeout: 60_000 }
  )

  it.effect(
    "a channel whose opening was not answered is closed, and its deposit comes back",
    () =>
      Effect.gen(function*() {
        const { seen, spoil } = yield* Shops.MppxSessions
        const { agent, gone } = yield* payer()
        const from = seen.length
        yield* Effect.gen(function*() {
          spoil(500)
          assert.isTrue(Exit.isFailure(yield* Effect.exit(buy("/metered"))))
          assert.isTrue((yield* standing).exposed > 0n)
          yield* settled
          const { spent } = yield* standing
          assert.strictEqual(spent, yield* gone)
          assert.isBelow(Number(spent), Number(Shops.units))
        }).pipe(Effect.provide(agent))
        assert.deepStrictEqual(since(seen, from).slice(0, 2), ["GET -  402", `HEAD open ${Shops.units} 500`])
      }),
    { timeout: 60_000 }
  )
})

/** A clock that is ahead of the computer's. */
const ahead = (clock: Clock.Clock) => {
  const now = { ahead: 0 }
  const shifted = Object.create(clock, {
    currentTimeMillisUnsafe: { value: () => clock.currentTimeMillisUnsafe() + now.ahead },
    currentTimeMillis: { value: Effect.sync(() => clock.currentTimeMillisUnsafe() + now.ahead) }
  }) as Clock.Clock
  return { now, shifted }
}

layer(Tempo.layer(), { excludeTestServices: true, timeout: "60 seconds" })("a merchant who has vanished", (it) => {
  it.effect(
    "keeps nothing of the deposit: the payer ends the channel alone, and the books are exact",
    () =>
      Effect.gen(function*() {
        const chain = yield* Tempo.TempoChain
        const { agent, gone } = yield* payer()
        const { now, shifted } = ahead(yield* Clock.Clock)
        const scope = yield* Scope.make()
        const shops = yield* Layer.build(Layer.fresh(Shops.layer)).pipe(Scope.provide(scope))
        yield* Effect.gen(function*() {
          for (let nth = 0; nth < 3; nth++) yield* buy(`/metered?${nth}`)
          yield* Scope.close(scope, Exit.void)
          yield* Session.Session.use((session) => session.closeAll)
          for (let nth = 0; nth < 3; nth++) yield* sweep
          assert.isTrue((yield* standing).exposed > 0n)
          // He has had his time.
          now.ahead = 11 * 60_000
          yield* sweep
          yield* chain.setNextTimestamp((yield* chain.now) + 16n * 60n + 5n)
          yield* chain.mine(1)
          yield* settled
          const { exposed, spent } = yield* standing
          assert.deepStrictEqual([exposed, spent], [0n, yield* gone])
          // Three transactions of the payer's own, and nothing else.
          assert.isBelow(Number(spent), 50_000)
        }).pipe(Effect.provide(agent), Effect.provide(shops), Effect.provideService(Clock.Clock, shifted))
      }),
    { timeout: 90_000 }
  )
})
