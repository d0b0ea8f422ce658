/** Our whole agent pays servers of mppx by channel sessions: what the chain says and what the ledger says are the same. */
import { assert, layer } from "@effect/vitest"
import { Effect, Layer, Redacted } from "effect"
import { FetchHttpClient, HttpClientRequest } from "effect/http"
import { join } from "node:path"
import { generatePrivateKey, privateKeyToAddress } from "viem/accounts"
import * as Agent from "../../src/Agent.ts"
import * as Budget from "../../src/Budget.ts"
import * as Ledger from "../../src/Ledger.ts"
import * as PayingClient from "../../src/PayingClient.ts"
import * as Payment from "../../src/Payment.ts"
import * as TempoSession from "../../src/rails/TempoSession.ts"
import * as Session from "../../src/Session.ts"
import * as LedgerSql from "../../src/sql/LedgerSql.ts"
import * as Tempo from "../../src/testing/chain/Tempo.ts"
import * as Wallet from "../../src/Wallet.ts"
import * as Temporary from "../sql/temporary.ts"
import * as Shops from "./official/mppxSessions.ts"
import { impatient } from "./payer.ts"

const wealth = 10_000_000n

/** A payer with ten dollars. */
const payer = Effect.fnUntraced(
  function*(ledger: Layer.Layer<Ledger.Ledger, unknown> = Ledger.layerMemory({ quiet: true })) {
    const chain = yield* Tempo.TempoChain
    const privateKey = generatePrivateKey()
    const address = privateKeyToAddress(privateKey)
    yield* chain.fund(address, wealth)
    const agent = Agent.layer({
      budget: Budget.make({ limit: "5", window: "1 hour" }),
      rails: TempoSession.layer({ allowEphemeral: true }).pipe(
        Layer.provide(Wallet.layerPrivateKey(Redacted.make(privateKey)))
      ),
      ledger,
      assets: chain.assets,
      rpc: { [chain.network]: chain.rpcUrl },
      sweep: false
    }).pipe(Layer.provide(FetchHttpClient.layer), Layer.provideMerge(impatient))
    return { address, agent }
  }
)

const buy = Effect.fnUntraced(function*(path: string) {
  const { url } = yield* Shops.MppxSessions
  const client = yield* PayingClient.PayingClient
  const response = yield* client.execute(HttpClientRequest.get(`${url}${path}`))
  return { status: response.status, json: yield* response.json }
}, Payment.with({ expect: 100 }))

const content = { status: 200, json: { secret: 42 } }

const standing = Ledger.Ledger.use((ledger) => ledger.standing("agent:default", 3_600_000))

const World = Shops.layer.pipe(Layer.provideMerge(Tempo.layer()))

layer(World, { excludeTestServices: true, timeout: "60 seconds" })("channel sessions at mppx", (it) => {
  it.effect("open once, pay by voucher in one round trip, and close to the unit", () =>
    Effect.gen(function*() {
      const chain = yield* Tempo.TempoChain
      const { seen } = yield* Shops.MppxSessions
      const { address, agent } = yield* payer()
      const before = yield* chain.balance(Shops.payee)
      const requests = 20
      const from = seen.length
      yield* Effect.gen(function*() {
        for (let nth = 0; nth < requests; nth++) assert.deepStrictEqual(yield* buy("/metered"), content)
        yield* Session.Session.use((session) => session.closeAll)
        const { exposed, spent } = yield* standing
        assert.strictEqual(exposed, 0n)
        const gone = wealth - (yield* chain.balance(address))
        assert.strictEqual(spent, gone)
      }).pipe(Effect.provide(agent))
      const walk = seen.slice(from).map(({ action, method, status }) => `${method} ${action ?? "-"} ${status}`)
      assert.deepStrictEqual(walk.slice(0, 2), ["GET - 402", "HEAD open 204"])
      assert.deepStrictEqual(walk.slice(2, 2 + requests), Array.from({ length: requests }, () => "GET voucher 200"))
      assert.isTrue((yield* chain.balance(Shops.payee)) > before)
    }), { timeout: 60_000 })

  it.effect("go on in the next process with the channel of the one before", () =>
    Effect.gen(function*() {
      const chain = yield* Tempo.TempoChain
      const { seen } = yield* Shops.MppxSessions
      const filename = join(yield* Temporary.directory, "ledger.sqlite")
      const { address, agent } = yield* payer(LedgerSql.layerSqlite({ filename }))
      const from = seen.length
      const buyTwice = Effect.andThen(buy("/metered"), buy("/metered"))
      yield* buyTwice.pipe(Effect.provide(agent))
      yield* buyTwice.pipe(Effect.provide(Layer.fresh(agent)))
      yield* Effect.gen(function*() {
        assert.deepStrictEqual(yield* buy("/metered"), content)
        yield* Session.Session.use((session) => session.closeAll)
        const { exposed, spent } = yield* standing
        assert.deepStrictEqual([exposed, spent], [0n, wealth - (yield* chain.balance(address))])
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
