import { afterAll, assert, describe, it } from "@effect/vitest"
import { Cause, Context, Effect, Exit, Fiber, Layer, ManagedRuntime, Redacted, Scope } from "effect"
import { SqlClient } from "effect/sql"
import { TestClock } from "effect/testing"
import { setTimeout as sleep } from "node:timers/promises"
import * as Ledger from "../../src/Ledger.ts"
import * as LedgerSql from "../../src/sql/LedgerSql.ts"
import * as steps from "../ledger.ts"
import { market, standing } from "./faults.ts"
import * as Line from "./faultsLine.ts"
import * as Postgres from "./postgres.ts"
import { eventually } from "./processes.ts"
import { price } from "./processesRail.ts"

const runtime = ManagedRuntime.make(Postgres.layerServer)
afterAll(() => runtime.dispose())

const database = Effect.flatMap(
  Effect.scope,
  (scope) => Effect.promise(() => runtime.runPromise(Effect.provideService(Postgres.database, Scope.Scope, scope)))
)

const server = Effect.promise(() => runtime.runPromise(Postgres.Server))

const ledgerIn = (at: Postgres.Database, options?: Postgres.ClientOptions) =>
  LedgerSql.layer().pipe(Layer.provide(Postgres.layerClientOf(at, options)))

/** Runs statements on a connection of their own. */
const query = <A extends object>(at: Postgres.Database, statement: string) =>
  Effect.flatMap(SqlClient.SqlClient, (sql) => sql.unsafe<A>(statement)).pipe(
    Effect.provide(Layer.fresh(Postgres.layerClientOf(at)))
  )

const use = <A, E>(f: (ledger: Ledger.Ledger["Service"]) => Effect.Effect<A, E>) => Effect.flatMap(Ledger.Ledger, f)

/** Lets seconds of the test's clock go by, until something is done in real time. */
const hurrying = <A, E, R>(effect: Effect.Effect<A, E, R>) =>
  Effect.raceFirst(
    effect,
    Effect.forever(Effect.andThen(TestClock.adjust("1 second"), Effect.promise(() => sleep(10))))
  )

describe("a payment over a ledger in PostgreSQL", () => {
  it.live("is not signed while the database is gone, and is when it is there again", () =>
    Effect.gen(function*() {
      const { agent, beforeSending, fails, pay, refusal, shop, signed } = yield* market
      const at = yield* database
      const { kill, restart, start } = yield* server
      yield* Effect.gen(function*() {
        assert.strictEqual(yield* pay("/a"), "/a")
        // What became of a payment is written without waiting for the disk.
        yield* query(at, "CHECKPOINT")
        yield* kill
        yield* fails("/b", /cannot be reached/)
        yield* start
        assert.strictEqual(yield* pay("/b"), "/b")
        yield* restart("fast")
        assert.strictEqual(yield* pay("/c"), "/c")
        // Gone between the writing and the sending: the guard of the lease went with it.
        yield* beforeSending(kill)
        const lost = yield* refusal("/d")
        assert.deepStrictEqual([lost.reason._tag, signed.length, shop.presented.length], ["LedgerUnavailable", 4, 3])
        yield* start
        yield* use((it) => it.orphans)
        assert.deepStrictEqual(yield* standing, {
          spent: 3n * price,
          exposed: price,
          states: ["settled", "settled", "settled", "unknown"]
        })
        // The same request sends the same again.
        assert.strictEqual(yield* pay("/d"), "/d")
        assert.deepStrictEqual([shop.taken.size, (yield* standing).spent], [4, 4n * price])
      }).pipe(Effect.provide(agent(ledgerIn(at))))
    }), 60_000)

  it.live("is not signed when the answer to its commit is lost, and its hold is given back", () =>
    Effect.gen(function*() {
      const { agent, fails, pay, shop } = yield* market
      const at = yield* database
      const line = yield* Line.make(at)
      yield* Effect.gen(function*() {
        yield* pay("/a")
        line.loseAnswer("cut")
        yield* fails("/b", /cannot be reached|did not do/)
        assert.strictEqual(line.lost(), 1)
        assert.strictEqual(yield* pay("/c"), "/c")
        assert.deepStrictEqual(yield* standing, {
          spent: 2n * price,
          exposed: 0n,
          states: ["settled", "released", "settled"]
        })
        // It was written, and is void: the next equal request is a new purchase.
        const deliveries = (yield* use((it) => it.purchases({}))).map(({ purchase }) => purchase.delivery)
        assert.deepStrictEqual(deliveries.toSorted(), ["delivered", "delivered", "void"])
        assert.strictEqual(yield* pay("/b"), "/b")
        assert.strictEqual(shop.taken.size, 3)
      }).pipe(Effect.provide(agent(ledgerIn(line.database))))
    }))

  it.live("is not written when the line breaks before its commit", () =>
    Effect.gen(function*() {
      const { agent, fails, pay } = yield* market
      const line = yield* Line.make(yield* database)
      yield* Effect.gen(function*() {
        yield* pay("/a")
        line.cutBefore("COMMIT\0")
        yield* fails("/b", /cannot be reached/)
        assert.strictEqual(yield* pay("/b"), "/b")
        assert.deepStrictEqual(yield* standing, { spent: 2n * price, exposed: 0n, states: ["settled", "settled"] })
      }).pipe(Effect.provide(agent(ledgerIn(line.database, { prepare: false }))))
    }))

  it.live("leaves its rows when the program's own transaction is undone, with three connections in all", () =>
    Effect.gen(function*() {
      const { agent, pay, shop } = yield* market
      const at = yield* database
      const client = Layer.fresh(Postgres.layerClientOf(at, { maxConnections: 3 }))
      yield* Effect.gen(function*() {
        const sql = yield* SqlClient.SqlClient
        yield* sql`CREATE TABLE mine (n int)`
        yield* sql.withTransaction(Effect.gen(function*() {
          yield* sql`INSERT INTO mine VALUES (1)`
          // The tables of the ledger are made in here, too.
          yield* Effect.provide(
            Effect.andThen(pay("/a"), pay("/b")),
            agent(LedgerSql.layer().pipe(Layer.provide(Layer.succeed(SqlClient.SqlClient, sql))))
          )
          return yield* Effect.fail("undone")
        })).pipe(Effect.flip, Effect.map((error) => assert.strictEqual(error, "undone")))
        assert.deepStrictEqual(yield* sql`SELECT n FROM mine`, [])
      }).pipe(Effect.provide(client))
      assert.strictEqual(shop.taken.size, 2)
      assert.deepStrictEqual(
        yield* Effect.provide(standing, agent(ledgerIn(at))),
        { spent: 2n * price, exposed: 0n, states: ["settled", "settled"] }
      )
    }))

  it.live("is not kept from its own kind of transaction by what the program asks of its transactions", () =>
    Effect.gen(function*() {
      const { agent, pay } = yield* market
      yield* Effect.gen(function*() {
        assert.strictEqual(yield* pay("/a"), "/a")
      }).pipe(
        Effect.provideService(SqlClient.BeginTransaction, "BEGIN ISOLATION LEVEL SERIALIZABLE READ ONLY"),
        Effect.provide(agent(ledgerIn(yield* database)))
      )
    }))
})

describe("a ledger in PostgreSQL", () => {
  it.live("works over a client with two connections of its own", () =>
    Effect.gen(function*() {
      const at = yield* database
      yield* Effect.forEach(
        Array.from({ length: 32 }, (_, n) => `a-${n}`),
        (id) => Effect.andThen(steps.authorize(steps.charge(id, 3n)), use((it) => it.holding(id))),
        { concurrency: "unbounded", discard: true }
      ).pipe(
        Effect.andThen(steps.money()),
        Effect.map((money) => assert.deepStrictEqual(money, { spent: 0n, exposed: 96n })),
        Effect.provide(ledgerIn(at, { maxConnections: 2 }))
      )
    }))

  it.live("refuses a database that says that something is written before it is", () =>
    Effect.gen(function*() {
      const at = yield* database
      const name = new URL(Redacted.value(at.url)).pathname.slice(1)
      const set = (value: string) => query(at, `ALTER DATABASE ${name} SET synchronous_commit = ${value}`)
      for (const value of ["off", "local"]) {
        yield* set(value)
        const error = yield* Effect.flip(Layer.build(Layer.fresh(ledgerIn(at))))
        assert.deepInclude(error, { _tag: "LedgerUnavailable", operation: "open" })
        assert.include(String(error), `synchronous_commit is ${value}`)
      }
      for (const value of ["on", "remote_write", "remote_apply"]) {
        yield* set(value)
        yield* Layer.build(Layer.fresh(ledgerIn(at)))
      }
    }).pipe(Effect.scoped))

  it.effect("says that a client with one connection is not enough", () =>
    Effect.gen(function*() {
      const at = yield* database
      const exit = yield* hurrying(Effect.exit(Layer.build(ledgerIn(at, { maxConnections: 1 }))))
      assert.isTrue(Exit.isFailure(exit) && /two connections.*maxConnections/.test(Cause.pretty(exit.cause)))
    }))

  it.live(
    "keeps what it said was written, and gives back what it did not know of, when the database is killed",
    () =>
      Effect.gen(function*() {
        const at = yield* database
        const { kill, start } = yield* server
        const written = new Set<string>()
        const failed = new Set<string>()
        yield* Effect.gen(function*() {
          for (const [round, millis] of [3, 9, 20, 40].entries()) {
            const charges = yield* Effect.forkChild(
              Effect.forEach(Array.from({ length: 200 }, (_, n) => `${round}-${n}`), (id) =>
                steps.authorize(steps.charge(id, 3n)).pipe(
                  Effect.match({
                    onSuccess: () =>
                      void written.add(id),
                    onFailure: (error) => {
                      assert.strictEqual(error._tag, "LedgerUnavailable")
                      failed.add(id)
                    }
                  })
                ), { concurrency: 16 })
            )
            yield* Effect.sleep(millis)
            yield* kill
            yield* Fiber.join(charges)
            yield* start
            yield* steps.authorize(steps.charge(`after ${round}`, 3n))
            written.add(`after ${round}`)
            yield* use((it) =>
              it.holding(`after ${round}`)
            )
          }
          assert.isAbove(failed.size, 0)
          const paid = yield* use((it) => it.purchases({}))
          const states = new Map(paid.flatMap(({ authorizations }) => authorizations.map((one) => [one.id, one.state])))
          for (const id of written) assert.include(["signed", "unknown"], states.get(id), id)
          for (const id of failed) assert.include([undefined, "released"], states.get(id), id)
          assert.deepStrictEqual(yield* steps.money(), { spent: 0n, exposed: BigInt(written.size) * 3n })
          // What was begun under a lease that was lost is not this process's any more.
          const [old] = [...written]
          const lost = yield* Effect.exit(use((it) => it.holding(old ?? "")))
          assert.isTrue(Exit.isFailure(lost))
        }).pipe(Effect.provide(ledgerIn(at)))
      }),
    60_000
  )

  it.live("is not this process's any more at the moment when the guard of its lease is gone", () =>
    Effect.gen(function*() {
      const at = yield* database
      const owner = yield* Layer.build(Layer.fresh(ledgerIn(at)))
      const other = yield* Layer.build(Layer.fresh(ledgerIn(at)))
      const mine = Context.get(owner, Ledger.Ledger)
      yield* mine.authorize(steps.charge("a", 3n))
      yield* mine.holding("a")
      const [guard] = yield* query<{ pid: number }>(
        at,
        "SELECT pid FROM pg_locks JOIN effect_mpp_authorization ON objid::bigint = hashtextextended(lease, 0) & 4294967295 " +
          "WHERE locktype = 'advisory'"
      )
      yield* query(at, `SELECT pg_terminate_backend(${guard?.pid ?? 0})`)
      yield* eventually(async () => (await Effect.runPromiseExit(mine.holding("a")))._tag === "Failure")
      yield* Context.get(other, Ledger.Ledger).orphans
      yield* mine.authorize(steps.charge("b", 5n))
      yield* mine.holding("b")
      assert.include(yield* Effect.flip(mine.holding("a")), { _tag: "LedgerUnavailable" })
      assert.include(yield* Effect.flip(mine.resent("a")), { _tag: "LedgerUnavailable" })
    }))

  it.effect("gives up on a line that says nothing, and gives back what may have been written", () =>
    Effect.gen(function*() {
      const line = yield* Line.make(yield* database)
      yield* Effect.gen(function*() {
        yield* steps.authorize(steps.charge("a", 3n))
        line.loseAnswer("silent")
        const stuck = yield* Effect.forkChild(Effect.flip(steps.authorize(steps.charge("b", 5n))))
        yield* eventually(() => line.lost() === 1)
        const error = yield* hurrying(Fiber.join(stuck))
        assert.include(error, { _tag: "LedgerUnavailable", detail: "the database cannot be reached" })
        yield* steps.authorize(steps.charge("c", 7n))
        assert.strictEqual((yield* steps.authorization("b")).state, "released")
        assert.deepStrictEqual(yield* steps.money(), { spent: 0n, exposed: 10n })
      }).pipe(Effect.provide(ledgerIn(line.database)))
    }))
})
