/** Our whole agent pays servers of mppx by channel sessions: what the chain says and what the ledger says are the same. */
import { assert, layer } from "@effect/vitest"
import { Effect, Layer } from "effect"
import { join } from "node:path"
import * as Session from "../../src/Session.ts"
import * as LedgerSql from "../../src/sql/LedgerSql.ts"
import * as Tempo from "../../src/testing/chain/Tempo.ts"
import * as Temporary from "../sql/temporary.ts"
import { buyAt, payer, standing } from "./channelPayer.ts"
import * as Shops from "./official/mppxSessions.ts"

const buy = (path: string) => Effect.flatMap(Shops.MppxSessions, ({ url }) => buyAt(`${url}${path}`))

const content = { status: 200, json: { secret: 42 } }

const World = Shops.layer.pipe(Layer.provideMerge(Tempo.layer()))

layer(World, { excludeTestServices: true, timeout: "60 seconds" })("channel sessions at mppx", (it) => {
  it.effect("open once, pay by voucher in one round trip, and close to the unit", () =>
    Effect.gen(function*() {
      const chain = yield* Tempo.TempoChain
      const { seen } = yield* Shops.MppxSessions
      const { agent, gone } = yield* payer()
      const before = yield* chain.balance(Shops.payee)
      const requests = 20
      const from = seen.length
      yield* Effect.gen(function*() {
        for (let nth = 0; nth < requests; nth++) assert.deepStrictEqual(yield* buy("/metered"), content)
        yield* Session.Session.use((session) => session.closeAll)
        assert.deepStrictEqual(yield* standing, { exposed: 0n, spent: yield* gone })
      }).pipe(Effect.provide(agent))
      const walk = seen.slice(from).map(({ action, method, status }) => `${method} ${action ?? "-"} ${status}`)
      assert.deepStrictEqual(walk.slice(0, 2), ["GET - 402", "HEAD open 204"])
      assert.deepStrictEqual(walk.slice(2, 2 + requests), Array.from({ length: requests }, () => "GET voucher 200"))
      assert.isTrue((yield* chain.balance(Shops.payee)) > before)
    }), { timeout: 60_000 })

  it.effect("go on in the next process with the channel of the one before", () =>
    Effect.gen(function*() {
      const { seen } = yield* Shops.MppxSessions
      const filename = join(yield* Temporary.directory, "ledger.sqlite")
      const { agent, gone } = yield* payer(LedgerSql.layerSqlite({ filename }))
      const from = seen.length
      const buyTwice = Effect.andThen(buy("/metered"), buy("/metered"))
      yield* buyTwice.pipe(Effect.provide(agent))
      yield* buyTwice.pipe(Effect.provide(Layer.fresh(agent)))
      yield* Effect.gen(function*() {
        assert.deepStrictEqual(yield* buy("/metered"), content)
        yield* Session.Session.use((session) => session.closeAll)
        assert.deepStrictEqual(yield* standing, { exposed: 0n, spent: yield* gone })
      }).pipe(Effect.provide(Layer.fresh(agent)))
      const walk = seen.slice(from).map(({ action, cumulative, status }) =>
        `${action ?? "-"} ${cumulative ?? ""} ${status}`
      )
      assert.deepStrictEqual(walk.filter((line) => !line.startsWith("-")), [
        "open 10000 204",
        ...[10000, 20000, 30000, 40000, 50000].map((cumulative) => `voucher ${cumulative} 200`),
        "close 50000 204"
      ])
    }), { timeout: 60_000 })
})
