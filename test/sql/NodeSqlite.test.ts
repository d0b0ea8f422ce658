import { assert, describe, it } from "@effect/vitest"
import * as Deferred from "effect/Deferred"
import * as Effect from "effect/Effect"
import * as Exit from "effect/Exit"
import * as Fiber from "effect/Fiber"
import * as Layer from "effect/Layer"
import * as Scope from "effect/Scope"
import * as SqlClient from "effect/sql/SqlClient"
import type { SqlError } from "effect/sql/SqlError"
import * as Stream from "effect/Stream"
import { mkdtempSync, readdirSync, rmSync, writeFileSync } from "node:fs"
import { tmpdir } from "node:os"
import { join } from "node:path"
import { performance } from "node:perf_hooks"
import * as NodeSqlite from "../../src/sql/NodeSqlite.ts"

/** A directory of its own, gone afterwards. */
const directory = Effect.acquireRelease(
  Effect.sync(() => mkdtempSync(join(tmpdir(), "effect-mpp-"))),
  (path) => Effect.sync(() => rmSync(path, { recursive: true, force: true }))
)

const file = Effect.map(directory, (path) => join(path, "ledger.sqlite"))

/** One more connection to a file. */
const open = (filename: string, options: Omit<NodeSqlite.Options, "filename"> = {}) =>
  Effect.map(
    Layer.build(Layer.fresh(NodeSqlite.layer({ filename, ...options }))),
    (context) => Effect.runSync(Effect.provide(SqlClient.SqlClient, context))
  )

const memory = open(":memory:")

const pragma = (sql: SqlClient.SqlClient, name: string) =>
  Effect.map(sql.unsafe<Record<string, unknown>>(`PRAGMA ${name}`), (rows) => Object.values(rows[0] ?? {})[0])

const numbers = (sql: SqlClient.SqlClient) =>
  Effect.map(sql<{ n: number }>`select n from t order by n`, (rows) => rows.map((row) => row.n))

const reason = (error: SqlError) => error.reason._tag

describe("values", () => {
  const kept: ReadonlyArray<readonly [string, unknown, string]> = [
    ["text", "grüezi 💶", "text"],
    ["an empty text", "", "text"],
    ["a whole number", 1, "integer"],
    ["the largest safe whole number", Number.MAX_SAFE_INTEGER, "integer"],
    ["a negative whole number", -7, "integer"],
    ["a fraction", 0.5, "real"],
    ["bytes", Uint8Array.of(0, 1, 255), "blob"],
    ["no bytes", new Uint8Array(), "blob"],
    ["null", null, "null"]
  ]
  it.effect.each(kept)("keep %s", ([, value, type]) =>
    Effect.gen(function*() {
      const sql = yield* memory
      yield* sql`create table t (v)`
      yield* sql.unsafe("insert into t values (?)", [value])
      assert.deepStrictEqual(
        (yield* sql<{ v: unknown; type: string }>`select v, typeof(v) as type from t`).map((row) => [row.v, row.type]),
        [[value, type]]
      )
    }))

  it.effect("are written as whole numbers into a column of texts, without a fraction", () =>
    Effect.gen(function*() {
      const sql = yield* memory
      yield* sql`create table t (v text)`
      yield* sql`insert into t values (${1})`
      assert.strictEqual((yield* sql<{ v: string }>`select v from t`)[0]?.v, "1")
    }))

  it.effect("that are too large for a number are read as bigints where that was asked for, and otherwise fail", () =>
    Effect.gen(function*() {
      const sql = yield* memory
      yield* sql`create table t (v integer)`
      yield* sql`insert into t values (${2n ** 62n})`
      const read = sql<{ v: number | bigint }>`select v, 1 as one from t`
      assert.match((yield* Effect.flip(read)).message, /too large/)
      const safe = yield* Effect.provideService(read, SqlClient.SafeIntegers, true)
      assert.deepStrictEqual({ ...safe[0] }, { v: 2n ** 62n, one: 1n })
      assert.deepStrictEqual({ ...(yield* sql`select 2 as v`)[0] }, { v: 2 })
    }))

  const refused: ReadonlyArray<readonly [string, unknown]> = [
    ["not a number", Number.NaN],
    ["a text with a zero character", "a\u0000b"],
    ["a boolean", true],
    ["a date", new Date(0)],
    ["a record", { a: 1 }],
    ["an integer of more than 64 bits", 2n ** 63n]
  ]
  it.effect.each(refused)("refuse %s", ([, value]) =>
    Effect.gen(function*() {
      const sql = yield* memory
      yield* sql`create table t (v)`
      const error = yield* Effect.flip(sql.unsafe("insert into t values (?)", [value]))
      assert.strictEqual(reason(error), "UnknownError")
      assert.deepStrictEqual(yield* sql`select * from t`, [])
    }))

  it.effect("come as rows, as arrays with columns of one name, and as the count of what changed", () =>
    Effect.gen(function*() {
      const sql = yield* memory
      yield* sql`create table t (n integer)`
      assert.deepStrictEqual(yield* sql`insert into t values (1), (2)`.raw, { changes: 2, lastInsertRowid: 2 })
      assert.deepStrictEqual({ ...(yield* sql`insert into t values (3) returning n`)[0] }, { n: 3 })
      assert.deepStrictEqual(yield* sql`select 1 as a, 2 as a`.values, [[1, 2]])
      assert.deepStrictEqual(yield* sql`select 1 as a, 2 as a`.valuesUnprepared, [[1, 2]])
      assert.deepStrictEqual({ ...(yield* sql`select 1 as a, 2 as a`)[0] }, { a: 2 })
      assert.deepStrictEqual(yield* numbers(sql), [1, 2, 3])
    }))
})

describe("statements", () => {
  it.effect("say what is wrong with them", () =>
    Effect.gen(function*() {
      const sql = yield* memory
      yield* sql`create table p (n integer primary key, u integer unique, c integer check (c > 0), o integer not null)`
      yield* sql`create table q (n integer references p (n))`
      yield* sql`insert into p values (1, 1, 1, 1)`
      const fails = (statement: string) => Effect.map(Effect.flip(sql.unsafe(statement)), reason)
      assert.strictEqual(yield* fails("selec"), "SqlSyntaxError")
      assert.strictEqual(yield* fails("select * from nowhere"), "SqlSyntaxError")
      assert.strictEqual(yield* fails(""), "UnknownError")
      assert.strictEqual(yield* fails("insert into p values (2, 1, 1, 1)"), "UniqueViolation")
      assert.strictEqual(yield* fails("insert into p values (2, 2, 0, 1)"), "ConstraintError")
      assert.strictEqual(yield* fails("insert into p values (2, 2, 1, null)"), "ConstraintError")
      assert.strictEqual(yield* fails("insert into q values (9)"), "ConstraintError")
      const error = yield* Effect.flip(sql`insert into p values (2, 1, 1, 1)`)
      assert.isTrue(error.reason._tag === "UniqueViolation" && error.reason.constraint === "p.u")
      assert.isFalse(NodeSqlite.isBusy(error))
    }))

  it.effect("that are two in one are refused, and a comment behind one is not", () =>
    Effect.gen(function*() {
      const sql = yield* memory
      yield* sql`create table t (n)`
      const error = yield* Effect.flip(sql`insert into t values (1); insert into t values (2)`)
      assert.match(error.message, /more than one statement/)
      yield* sql.unsafe("insert into t values (3); -- three\n /* and ; no more */ ;")
      assert.deepStrictEqual(yield* numbers(sql), [3])
    }))

  it.effect("are prepared again after the tables changed, and when many others came between", () =>
    Effect.gen(function*() {
      const sql = yield* open(":memory:", { prepareCacheSize: 2 })
      yield* sql`create table t (n)`
      yield* sql`insert into t values (1)`
      const read = sql`select * from t`
      assert.deepStrictEqual({ ...(yield* read)[0] }, { n: 1 })
      yield* sql`alter table t add column m default 2`
      assert.deepStrictEqual({ ...(yield* read)[0] }, { n: 1, m: 2 })
      for (let i = 0; i < 10; i++) yield* sql.unsafe(`select ${i}`)
      assert.deepStrictEqual({ ...(yield* read)[0] }, { n: 1, m: 2 })
    }))

  it.effect("stream rows as they are asked for, and let go of the table when nobody asks any more", () =>
    Effect.gen(function*() {
      const sql = yield* memory
      yield* sql`create table t (n integer)`
      yield* sql`insert into t with recursive c (n) as (select 1 union all select n + 1 from c where n < 1000) select n from c`
      const rows = sql<{ n: number }>`select n from t order by n`.stream
      const all = yield* Stream.runCollect(rows)
      assert.deepStrictEqual(all.map((row) => row.n), Array.from({ length: 1000 }, (_, i) => i + 1))
      assert.strictEqual((yield* Stream.runCollect(Stream.take(rows, 3))).length, 3)
      assert.strictEqual(yield* Stream.runFold(Stream.empty, () => 0, (n) => n), 0)
      // Would fail while a reader is under way.
      yield* sql`drop table t`
      assert.strictEqual(reason(yield* Effect.flip(Stream.runDrain(rows))), "SqlSyntaxError")
    }))

  it.effect("that fail in the middle of a stream fail it", () =>
    Effect.gen(function*() {
      const sql = yield* memory
      const rows = sql`with recursive c (n) as (select 1 union all select n + 1 from c where n < 500)
        select abs(case n when 300 then -9223372036854775807 - 1 else n end) from c`.stream
      let seen = 0
      const error = yield* Effect.flip(Stream.runForEach(rows, () => Effect.sync(() => seen++)))
      assert.match(error.message, /integer overflow/)
      assert.isAtLeast(seen, 128)
      assert.deepStrictEqual(yield* sql`select 1`.values, [[1]])
    }))
})

describe("transactions", () => {
  const table = Effect.tap(memory, (sql) => sql`create table t (n integer primary key)`)

  it.effect("keep what was done when they succeed, and nothing of it when they fail", () =>
    Effect.gen(function*() {
      const sql = yield* table
      yield* sql.withTransaction(Effect.andThen(sql`insert into t values (1)`, sql`insert into t values (2)`))
      const failed = sql.withTransaction(Effect.andThen(sql`insert into t values (3)`, sql`insert into t values (1)`))
      assert.strictEqual(reason(yield* Effect.flip(failed)), "UniqueViolation")
      assert.isTrue(Exit.isFailure(
        yield* Effect.exit(sql.withTransaction(Effect.andThen(sql`insert into t values (4)`, Effect.die("defect"))))
      ))
      assert.deepStrictEqual(yield* numbers(sql), [1, 2])
    }))

  it.effect("are rolled back when they are interrupted", () =>
    Effect.gen(function*() {
      const sql = yield* table
      const written = yield* Deferred.make<void>()
      const fiber = yield* Effect.forkChild(sql.withTransaction(
        sql`insert into t values (1)`.pipe(
          Effect.andThen(Deferred.succeed(written, undefined)),
          Effect.andThen(Effect.never)
        )
      ))
      yield* Deferred.await(written)
      yield* Fiber.interrupt(fiber)
      assert.deepStrictEqual(yield* numbers(sql), [])
    }))

  it.effect("in a transaction undo only what is theirs", () =>
    Effect.gen(function*() {
      const sql = yield* table
      yield* sql.withTransaction(Effect.gen(function*() {
        yield* sql`insert into t values (1)`
        yield* Effect.ignore(sql.withTransaction(Effect.andThen(sql`insert into t values (2)`, Effect.fail("no"))))
        yield* sql.withTransaction(sql`insert into t values (3)`)
        yield* Effect.ignore(sql.withTransaction(Effect.andThen(
          sql.withTransaction(sql`insert into t values (4)`),
          Effect.fail("no")
        )))
      }))
      assert.deepStrictEqual(yield* numbers(sql), [1, 3])
    }))

  it.effect("of many fibers come one after the other, and no other statement comes between", () =>
    Effect.gen(function*() {
      const sql = yield* memory
      yield* sql`create table t (n integer)`
      yield* sql`insert into t values (0)`
      const increment = sql.withTransaction(Effect.gen(function*() {
        const [n] = yield* numbers(sql)
        yield* Effect.yieldNow
        yield* sql`update t set n = ${n! + 1}`
        yield* Effect.yieldNow
        // Nobody may see this.
        yield* sql`insert into t values (-1)`
        yield* Effect.yieldNow
        yield* sql`delete from t where n = -1`
      }))
      const seen: Array<ReadonlyArray<number>> = []
      yield* Effect.all([
        Effect.replicateEffect(increment, 20, { concurrency: "unbounded" }),
        Effect.replicateEffect(
          Effect.andThen(Effect.yieldNow, Effect.tap(numbers(sql), (n) => Effect.sync(() => seen.push(n)))),
          20,
          { concurrency: "unbounded" }
        )
      ], { concurrency: "unbounded" })
      assert.deepStrictEqual(yield* numbers(sql), [20])
      assert.isTrue(seen.every((n) => n.length === 1))
    }))

  it.effect("that SQLite rolls back by itself are not continued", () =>
    Effect.gen(function*() {
      const sql = yield* table
      yield* sql`insert into t values (1)`
      const goesOn = sql.withTransaction(Effect.gen(function*() {
        yield* sql`insert into t values (2)`
        yield* Effect.ignore(sql`insert or rollback into t values (1)`)
        yield* sql`insert into t values (3)`
      }))
      assert.match((yield* Effect.flip(goesOn)).message, /rolled the transaction back/)
      assert.deepStrictEqual(yield* numbers(sql), [1])
      // Even if nothing more was to be done.
      const succeeds = sql.withTransaction(Effect.ignore(sql`insert or rollback into t values (1)`))
      assert.match((yield* Effect.flip(succeeds)).message, /rolled the transaction back/)
      const nested = sql.withTransaction(sql.withTransaction(sql`insert or rollback into t values (1)`))
      assert.strictEqual(reason(yield* Effect.flip(nested)), "UniqueViolation")
      yield* sql.withTransaction(sql`insert into t values (4)`)
      assert.deepStrictEqual(yield* numbers(sql), [1, 4])
    }))

  it.effect("whose commit fails are rolled back", () =>
    Effect.gen(function*() {
      const sql = yield* table
      yield* sql`create table u (n integer references t (n) deferrable initially deferred)`
      const error = yield* Effect.flip(sql.withTransaction(sql`insert into u values (9)`))
      assert.strictEqual(reason(error), "ConstraintError")
      assert.deepStrictEqual(yield* sql`select * from u`, [])
      yield* sql.withTransaction(sql`insert into t values (1)`)
    }))

  it.effect("are not begun by a statement on its own", () =>
    Effect.gen(function*() {
      const sql = yield* table
      assert.match((yield* Effect.flip(sql`begin`)).message, /withTransaction/)
      assert.match((yield* Effect.flip(sql`savepoint s`)).message, /withTransaction/)
      yield* sql`insert into t values (1)`
      assert.deepStrictEqual(yield* numbers(sql), [1])
    }))
})

describe("files", () => {
  it.effect("keep what was committed, and are one file again when they are closed", () =>
    Effect.gen(function*() {
      const path = yield* directory
      const filename = join(path, "ledger.sqlite")
      yield* Effect.scoped(Effect.gen(function*() {
        const sql = yield* open(filename)
        yield* sql`create table t (n integer)`
        yield* sql`insert into t values (1)`
        assert.isTrue(readdirSync(path).includes("ledger.sqlite-wal"))
      }))
      assert.deepStrictEqual(readdirSync(path), ["ledger.sqlite"])
      assert.deepStrictEqual(yield* Effect.flatMap(open(filename), numbers), [1])
    }))

  it.effect("have a write-ahead log that is on the disk with every commit", () =>
    Effect.gen(function*() {
      const filename = yield* file
      const sql = yield* open(filename)
      assert.strictEqual(yield* pragma(sql, "journal_mode"), "wal")
      assert.strictEqual(yield* pragma(sql, "synchronous"), 2)
      assert.strictEqual(yield* pragma(sql, "fullfsync"), 1)
      assert.strictEqual(yield* pragma(sql, "checkpoint_fullfsync"), 1)
      assert.strictEqual(yield* pragma(sql, "foreign_keys"), 1)
      assert.strictEqual(yield* pragma(sql, "trusted_schema"), 0)
      assert.strictEqual(yield* pragma(sql, "busy_timeout"), 50)
      const other = yield* open(filename, { synchronous: "NORMAL", busyTimeout: "7 millis" })
      assert.strictEqual(yield* pragma(other, "synchronous"), 1)
      assert.strictEqual(yield* pragma(other, "busy_timeout"), 7)
    }))

  it.effect("are written by one connection at a time: the other one is told so soon, and can try again", () =>
    Effect.gen(function*() {
      const filename = yield* file
      const one = yield* open(filename)
      const other = yield* open(filename)
      yield* one`create table t (n integer)`
      const before = performance.now()
      const error = yield* one.withTransaction(Effect.andThen(
        one`insert into t values (1)`,
        Effect.flip(other.withTransaction(other`insert into t values (2)`))
      ))
      const waited = performance.now() - before
      assert.isTrue(NodeSqlite.isBusy(error))
      assert.strictEqual(NodeSqlite.explain(error), "another process holds the lock of the file for too long")
      assert.isBelow(waited, 1000)
      // A reader is not kept waiting, and sees what was committed.
      assert.deepStrictEqual(
        yield* one.withTransaction(Effect.andThen(one`insert into t values (3)`, numbers(other))),
        [1]
      )
      yield* other.withTransaction(other`insert into t values (2)`)
      assert.deepStrictEqual(yield* numbers(one), [1, 2, 3])
    }))

  it.live("can be opened by many at once when they are new", () =>
    Effect.gen(function*() {
      const filename = yield* file
      const many = yield* Effect.replicateEffect(open(filename), 8, { concurrency: "unbounded" })
      yield* many[0]!`create table t (n integer)`
      yield* Effect.forEach(many, (sql, n) => sql`insert into t values (${n})`)
      assert.deepStrictEqual(yield* numbers(many[7]!), [0, 1, 2, 3, 4, 5, 6, 7])
    }))

  it.effect("are only read where that was asked for", () =>
    Effect.gen(function*() {
      const filename = yield* file
      yield* Effect.scoped(Effect.flatMap(open(filename), (sql) => sql`create table t (n integer)`))
      const sql = yield* open(filename, { readonly: true })
      assert.deepStrictEqual(yield* numbers(sql), [])
      const error = yield* Effect.flip(sql`insert into t values (1)`)
      assert.strictEqual(NodeSqlite.explain(error), "the file or its directory cannot be written")
    }))

  it.effect("that are none, or no databases, are not opened", () =>
    Effect.gen(function*() {
      const path = yield* directory
      const text = join(path, "text")
      writeFileSync(text, "this is not a database".repeat(100))
      const words = (filename: string, readonly = false) =>
        Effect.map(Effect.flip(open(filename, { readonly })), NodeSqlite.explain)
      assert.strictEqual(yield* words(text), "the file is no SQLite database")
      assert.strictEqual(yield* words(text, true), "the file is no SQLite database")
      assert.strictEqual(yield* words(path), "the file could not be opened")
      assert.strictEqual(yield* words(join(path, "no", "where")), "the file could not be opened")
      assert.strictEqual(yield* words(join(path, "absent"), true), "the file could not be opened")
    }))

  it.effect("that are closed do nothing any more, and say so", () =>
    Effect.gen(function*() {
      const filename = yield* file
      const scope = yield* Scope.make()
      const sql = yield* Scope.provide(open(filename), scope)
      yield* sql`create table t (n integer)`
      yield* Scope.close(scope, Exit.void)
      yield* Scope.close(scope, Exit.void)
      for (
        const statement of [sql`select 1`, sql.withTransaction(sql`select 1`), Stream.runDrain(sql`select 1`.stream)]
      ) {
        const error = yield* Effect.flip(statement)
        assert.strictEqual(reason(error), "ConnectionError")
        assert.strictEqual(NodeSqlite.explain(error), "the database is closed")
      }
    }))

  it.effect("whose scope ends in the middle of a transaction lose only that transaction", () =>
    Effect.gen(function*() {
      const filename = yield* file
      const scope = yield* Scope.make()
      const sql = yield* Scope.provide(open(filename), scope)
      yield* sql`create table t (n integer)`
      const exit = yield* Effect.exit(sql.withTransaction(Effect.gen(function*() {
        yield* sql`insert into t values (1)`
        yield* Scope.close(scope, Exit.void)
        yield* sql`insert into t values (2)`
      })))
      assert.isTrue(Exit.isFailure(exit) && Exit.hasFails(exit) && !Exit.hasDies(exit))
      assert.deepStrictEqual(yield* Effect.flatMap(open(filename), numbers), [])
    }))
})
