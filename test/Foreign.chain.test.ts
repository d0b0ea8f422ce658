/**
 * One wallet and two ledgers: a copy, or an earlier state put back, finds out on the chain what it does not know.
 */
import { assert, layer } from "@effect/vitest"
import { Effect, Layer, Logger } from "effect"
import { FetchHttpClient, HttpClient } from "effect/http"
import { copyFileSync } from "node:fs"
import { join } from "node:path"
import * as Agent from "../src/Agent.ts"
import * as Budget from "../src/Budget.ts"
import * as Ledger from "../src/Ledger.ts"
import * as Payment from "../src/Payment.ts"
import * as EvmCharge from "../src/rails/EvmCharge.ts"
import * as ExactEvm from "../src/rails/ExactEvm.ts"
import * as LedgerSql from "../src/sql/LedgerSql.ts"
import * as Evm from "../src/testing/chain/Evm.ts"
import * as TestWallet from "../src/testing/TestWallet.ts"
import { evmServer } from "./interop/official/mppxEvm.ts"
import { OfficialServer } from "./interop/official/servers.ts"
import { chain, finalize, reasonOf, standing, sweep, transfersDuring } from "./interop/payer.ts"
import { directory } from "./sql/temporary.ts"

/** An agent over a file; everything that it warns of is kept. */
const agent = (filename: string, warnings: Array<string>) =>
  Layer.unwrap(Effect.map(Evm.EvmChain, ({ asset, network, rpcUrl }) =>
    Agent.layer({
      budget: Budget.make({ limit: "0.10", window: "1 hour", perDay: "0.04" }),
      rails: Layer.merge(ExactEvm.layer(), EvmCharge.layer()).pipe(Layer.provide(TestWallet.layer)),
      ledger: LedgerSql.layerSqlite({ filename }),
      assets: [asset],
      rpc: { [network]: rpcUrl },
      sweep: false
    }))).pipe(
      Layer.provide(FetchHttpClient.layer),
      Layer.provideMerge(Logger.layer([
        Logger.make(({ logLevel, message }) => void (logLevel === "Warn" && warnings.push([message].flat().join(" "))))
      ])),
      Layer.orDie,
      Layer.fresh
    )

const buy = Effect.gen(function*() {
  const { url } = yield* OfficialServer
  const response = yield* HttpClient.get(`${url}/paid`)
  yield* response.json
  return "paid"
})
const refused = Effect.map(
  reasonOf(buy),
  ({ money, reason }) => `${reason._tag === "PolicyDenied" ? reason.rule : reason._tag} (${money})`
)

const state = Effect.gen(function*() {
  const ledger = yield* Ledger.Ledger
  const { generation } = yield* ledger.about
  const wallet = yield* ledger.standing(`wallet:${TestWallet.address.toLowerCase()}`, 24 * 3_600_000)
  return {
    generation,
    spent: (yield* standing).spent,
    ofWallet: wallet.spent,
    foreign: (yield* ledger.foreigns({})).map(({ payee, units }) => [payee, units])
  }
})

const world = Effect.gen(function*() {
  const { accounts, mint } = yield* Evm.EvmChain
  yield* mint(TestWallet.address, 1_000_000n)
  return { folder: yield* directory, payee: accounts[2]!.address.toLowerCase() }
})

layer(chain(), { excludeTestServices: true, timeout: "60 seconds" })(
  "a ledger that knows less than the chain",
  (it) => {
    it.layer(evmServer())("at a shop", (it) => {
      it.effect("was copied: it notices, counts, warns, stops an equal purchase once, and stays within the day's ceiling", () =>
        Effect.gen(function*() {
          const { folder, payee } = yield* world
          const warnings: Array<string> = []
          const [original, copy] = [join(folder, "ledger"), join(folder, "ledger-copy")]
          const before = yield* transfersDuring(
            Effect.andThen(buy, Effect.andThen(finalize, sweep)).pipe(Effect.provide(agent(original, warnings)))
          )
          assert.strictEqual(before.transfers.length, 1)
          copyFileSync(original, copy)
          yield* Effect.andThen(buy, finalize).pipe(Effect.provide(agent(original, warnings)))
          assert.deepStrictEqual(warnings, [])

          const { transfers } = yield* transfersDuring(
            Effect.gen(function*() {
              assert.strictEqual(yield* refused, "maybe-paid (unknown)")
              assert.strictEqual(yield* buy, "paid")
              yield* finalize
              for (let at = 0; at < 3; at++) yield* sweep
              assert.deepStrictEqual(yield* state, {
                generation: 2,
                spent: 30_000n,
                ofWallet: 30_000n,
                foreign: [[payee, 10_000n]]
              })
              assert.strictEqual(yield* buy, "paid")
              assert.strictEqual(yield* refused, "BudgetExceeded (unspent)")
            }).pipe(Effect.provide(agent(copy, warnings)))
          )
          assert.strictEqual(transfers.length, 2)
          assert.deepStrictEqual(
            warnings.map((warning) => /\(generation 2\)|1 payment of \$0\.01/.exec(warning)?.[0]),
            ["(generation 2)", "1 payment of $0.01"]
          )

          // The original finds out what the copy has paid; nobody had it forgotten.
          yield* finalize
          yield* Effect.gen(function*() {
            yield* sweep
            yield* sweep
            assert.deepStrictEqual(yield* state, {
              generation: 1,
              spent: 40_000n,
              ofWallet: 40_000n,
              foreign: [[payee, 10_000n], [payee, 10_000n]]
            })
            assert.strictEqual(yield* refused, "maybe-paid (unknown)")
            assert.strictEqual(yield* refused, "maybe-paid (unknown)")
            assert.strictEqual(yield* refused, "BudgetExceeded (unspent)")
          }).pipe(Effect.provide(agent(original, warnings)))
        }))

      it.effect("is of yesterday, put into the place of today's: what was paid since counts, and is not paid again unasked", () =>
        Effect.gen(function*() {
          const { folder, payee } = yield* world
          const warnings: Array<string> = []
          const [file, yesterday] = [join(folder, "ledger"), join(folder, "yesterday")]
          yield* Effect.andThen(buy, Effect.andThen(finalize, sweep)).pipe(Effect.provide(agent(file, warnings)))
          copyFileSync(file, yesterday)
          yield* Effect.andThen(buy, Effect.andThen(finalize, sweep)).pipe(Effect.provide(agent(file, warnings)))
          // The file is overwritten, and has the number that it had.
          copyFileSync(yesterday, file)
          const { transfers } = yield* transfersDuring(
            Effect.gen(function*() {
              yield* sweep
              yield* sweep
              assert.deepStrictEqual(yield* state, {
                generation: 1,
                spent: 20_000n,
                ofWallet: 20_000n,
                foreign: [[payee, 10_000n]]
              })
              assert.strictEqual(yield* refused, "maybe-paid (unknown)")
            }).pipe(Effect.provide(agent(file, warnings)))
          )
          assert.deepStrictEqual(transfers, [])
          assert.strictEqual(warnings.length, 1)
        }))

      it.effect("pays when it is asked once more, also where the shop hands out the same challenge again", () => {
        let first: Promise<Response> | undefined
        return Effect.gen(function*() {
          const { folder } = yield* world
          const [file, yesterday] = [join(folder, "ledger"), join(folder, "yesterday")]
          const ofMpp = Payment.with({ rails: ["evm/charge"] })
          yield* Effect.andThen(buy, Effect.andThen(finalize, sweep)).pipe(ofMpp, Effect.provide(agent(file, [])))
          copyFileSync(file, yesterday)
          first = undefined
          yield* Effect.andThen(buy, Effect.andThen(finalize, sweep)).pipe(ofMpp, Effect.provide(agent(file, [])))
          copyFileSync(yesterday, file)
          first = undefined
          yield* Effect.gen(function*() {
            assert.strictEqual(yield* refused, "maybe-paid (unknown)")
            assert.strictEqual(yield* buy, "paid")
          }).pipe(ofMpp, Effect.provide(agent(file, [])))
        }).pipe(Effect.provide(Layer.fresh(evmServer({
          around: async (request, answer) => {
            if (request.headers.has("authorization")) return answer()
            first ??= answer()
            return (await first).clone()
          }
        }))))
      })

      it.effect("cannot ask the chain after it was copied: nothing new is signed", () =>
        Effect.gen(function*() {
          const { folder } = yield* world
          const [file, copy] = [join(folder, "ledger"), join(folder, "copy")]
          yield* sweep.pipe(Effect.provide(agent(file, [])))
          copyFileSync(file, copy)
          const { asset, network } = yield* Evm.EvmChain
          const alone = Agent.layer({
            rails: ExactEvm.layer().pipe(Layer.merge(EvmCharge.layer()), Layer.provide(TestWallet.layer)),
            ledger: LedgerSql.layerSqlite({ filename: copy }),
            assets: [asset],
            rpc: { [network]: "http://127.0.0.1:9" },
            sweep: false
          }).pipe(Layer.provide(FetchHttpClient.layer))
          const { transfers } = yield* transfersDuring(
            Effect.gen(function*() {
              assert.strictEqual(yield* refused, "ledger-copied (unspent)")
            }).pipe(Effect.provide(alone))
          )
          assert.deepStrictEqual(transfers, [])
        }))
    })
  }
)
