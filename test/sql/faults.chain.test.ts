import { assert, describe, it } from "@effect/vitest"
import { Effect, Exit, Layer } from "effect"
import { SqlClient } from "effect/sql"
import { execFileSync } from "node:child_process"
import { copyFileSync, readFileSync, renameSync, rmSync, statSync, writeFileSync } from "node:fs"
import { join } from "node:path"
import { DatabaseSync } from "node:sqlite"
import * as Ledger from "../../src/Ledger.ts"
import * as Reconciler from "../../src/Reconciler.ts"
import * as LedgerSql from "../../src/sql/LedgerSql.ts"
import * as NodeSqlite from "../../src/sql/NodeSqlite.ts"
import { market, standing } from "./faults.ts"
import { price } from "./processesRail.ts"
import { directory } from "./temporary.ts"

const file = (filename: string) => LedgerSql.layerSqlite({ filename })

/** Another connection to the file. */
const other = (filename: string) =>
  Effect.acquireRelease(
    Effect.sync(() => new DatabaseSync(filename)),
    (database) => Effect.sync(() => database.close())
  )

const execute = (filename: string, ...statements: ReadonlyArray<string>) =>
  Effect.scoped(Effect.map(other(filename), (database) => statements.forEach((it) => database.exec(it))))

/** Mounting is for root, and as it is done here for Linux. */
const canMount = (() => {
  if (process.platform !== "linux" || process.geteuid?.() !== 0) return false
  try {
    execFileSync("unshare", ["-m", "mount", "-t", "tmpfs", "none", "/mnt"], { stdio: "ignore" })
    return true
  } catch {
    return false
  }
})()

/** A disk of this size. */
const disk = (size: string) =>
  Effect.flatMap(directory, (path) =>
    Effect.as(
      Effect.acquireRelease(
        Effect.sync(() => execFileSync("mount", ["-t", "tmpfs", "-o", `size=${size},mode=700`, "none", path])),
        () => Effect.sync(() => execFileSync("umount", ["-l", path]))
      ),
      path
    ))

/** Leaves no room on a disk. */
const fill = (path: string) =>
  Effect.sync(() => {
    for (let size = 2 ** 20; size >= 512; size /= 2) {
      for (let n = 0;; n++) {
        const name = join(path, `full-${size}-${n}`)
        try {
          writeFileSync(name, Buffer.alloc(size, 1))
        } catch {
          rmSync(name, { force: true })
          break
        }
      }
    }
  })

const free = (path: string) => Effect.sync(() => execFileSync("sh", ["-c", "rm -f \"$0\"/full-*", path]))

describe("a payment over a ledger in SQLite", () => {
  it.live.skipIf(!canMount)(
    "is not signed when the disk is full, and is when there is room again",
    () =>
      Effect.gen(function*() {
        const path = yield* disk("2m")
        const { agent, fails, pay, shop, signed } = yield* market
        yield* Effect.gen(function*() {
          assert.strictEqual(yield* pay("/a"), "/a")
          yield* fill(path)
          // What is written over may still have room.
          let paid = 1
          while (paid < 500 && Exit.isSuccess(yield* Effect.exit(pay(`/${paid}`)))) paid++
          assert.isBelow(paid, 500)
          const count = shop.taken.size
          yield* fails("/full", /the disk is full/)
          yield* free(path)
          assert.strictEqual(yield* pay("/full"), "/full")
          assert.strictEqual(shop.taken.size, count + 1)
          assert.strictEqual(signed.length, new Set(signed).size)
          // Nothing is held that was not signed.
          const { exposed, spent } = yield* standing
          assert.strictEqual(spent + exposed, BigInt(shop.taken.size) * price)
        }).pipe(Effect.provide(agent(file(join(path, "ledger.sqlite")))))
      })
  )

  it.live.skipIf(!canMount)(
    "is delivered when the disk is full before its outcome is written, which is found out later",
    () =>
      Effect.gen(function*() {
        const path = yield* disk("2m")
        const { agent, beforeSending, fails, pay, shop } = yield* market
        yield* Effect.gen(function*() {
          yield* beforeSending(fill(path))
          assert.strictEqual(yield* pay("/a"), "/a")
          let n = 0
          while (n++ < 500 && Exit.isSuccess(yield* Effect.exit(pay(`/${n}`))));
          yield* fails("/full", /the disk is full/)
          yield* free(path)
          const ledger = yield* Ledger.Ledger
          const reconciler = yield* Reconciler.Reconciler
          for (const { authorizations } of yield* ledger.purchases({})) {
            for (const { id } of authorizations) yield* reconciler.reconcile(id)
          }
          const { exposed, spent } = yield* standing
          assert.deepStrictEqual({ spent, exposed }, { spent: BigInt(shop.taken.size) * price, exposed: 0n })
        }).pipe(Effect.provide(agent(file(join(path, "ledger.sqlite")))))
      })
  )

  it.live.skipIf(!canMount)("is not possible on a disk that is read-only", () =>
    Effect.gen(function*() {
      const path = yield* disk("2m")
      const { agent, pay, shop } = yield* market
      const filename = join(path, "ledger.sqlite")
      yield* Effect.provide(pay("/a"), agent(file(filename)))
      execFileSync("mount", ["-o", "remount,ro", path])
      const error = yield* Effect.flip(Effect.provide(pay("/b"), agent(file(filename))))
      assert.include(error, { _tag: "LedgerUnavailable" })
      assert.match(error.message, /read-only|read and written/)
      execFileSync("mount", ["-o", "remount,rw", path])
      yield* Effect.provide(
        Effect.andThen(pay("/b"), Effect.map(standing, ({ spent }) => assert.strictEqual(spent, 2n * price))),
        agent(file(filename))
      )
      assert.strictEqual(shop.taken.size, 2)
    }))

  it.live(
    "is not signed while another one holds the lock for too long, and is when it has let go",
    () =>
      Effect.gen(function*() {
        const filename = join(yield* directory, "ledger.sqlite")
        const { agent, fails, pay, shop } = yield* market
        yield* Effect.gen(function*() {
          yield* pay("/a")
          const database = yield* other(filename)
          database.exec("BEGIN IMMEDIATE")
          yield* fails("/b", /another process holds the lock of the file for too long/)
          // What is read needs no lock.
          assert.deepStrictEqual(yield* standing, { spent: price, exposed: 0n, states: ["settled"] })
          database.exec("ROLLBACK")
          assert.strictEqual(yield* pay("/b"), "/b")
          assert.deepStrictEqual(yield* standing, { spent: 2n * price, exposed: 0n, states: ["settled", "settled"] })
          assert.strictEqual(shop.taken.size, 2)
        }).pipe(Effect.provide(agent(file(filename))))
      }),
    60_000
  )

  it.live("is not sent when the lock is lost with the file between its writing and its sending", () =>
    Effect.gen(function*() {
      const filename = join(yield* directory, "ledger.sqlite")
      const { agent, beforeSending, refusal, shop, signed } = yield* market
      yield* Effect.gen(function*() {
        yield* beforeSending(Effect.sync(() => rmSync(filename)))
        assert.include((yield* refusal("/a")).reason, { _tag: "LedgerUnavailable" })
        assert.deepStrictEqual([signed.length, shop.presented.length], [1, 0])
      }).pipe(Effect.provide(agent(file(filename))))
    }))

  const replaced: ReadonlyArray<readonly [string, (filename: string) => void]> = [
    ["deleted", (filename) => {
      for (const end of ["", "-wal", "-shm"]) rmSync(filename + end, { force: true })
    }],
    ["replaced by an older copy", (filename) => renameSync(`${filename}.copy`, filename)]
  ]
  it.live.each(replaced)(
    "is not signed when the file is %s under the process",
    ([, replace]) =>
      Effect.gen(function*() {
        const filename = join(yield* directory, "ledger.sqlite")
        const { agent, fails, pay, shop } = yield* market
        yield* Effect.gen(function*() {
          yield* pay("/a")
          yield* execute(filename, "PRAGMA wal_checkpoint(TRUNCATE)")
          copyFileSync(filename, `${filename}.copy`)
          yield* pay("/b")
          replace(filename)
          yield* fails("/c", /deleted or replaced/)
          const ledger = yield* Ledger.Ledger
          assert.include(yield* Effect.flip(ledger.purchases({})), { _tag: "LedgerUnavailable" })
        }).pipe(Effect.provide(agent(file(filename))))
        // Another process, or this one when it has begun anew, goes on with what is there now.
        yield* Effect.provide(pay("/c"), agent(file(filename)))
        assert.strictEqual(shop.taken.size, 3)
      })
  )

  it.live("leaves its rows when the program's own transaction is undone, in a database of its own", () =>
    Effect.gen(function*() {
      const path = yield* directory
      const { agent, pay, shop } = yield* market
      const filename = join(path, "ledger.sqlite")
      yield* Effect.gen(function*() {
        const sql = yield* SqlClient.SqlClient
        yield* sql`CREATE TABLE mine (n int)`
        const undone = sql.withTransaction(
          sql`INSERT INTO mine VALUES (1)`.pipe(Effect.andThen(pay("/a")), Effect.andThen(Effect.fail("undone")))
        )
        assert.strictEqual(yield* Effect.flip(undone), "undone")
        assert.deepStrictEqual(yield* sql`SELECT n FROM mine`, [])
        assert.deepStrictEqual(yield* standing, { spent: price, exposed: 0n, states: ["settled"] })
      }).pipe(
        Effect.provide(agent(file(filename))),
        Effect.provide(NodeSqlite.layer({ filename: join(path, "program.sqlite") }))
      )
      assert.strictEqual(shop.taken.size, 1)
    }))

  it.live("is not signed when a table is gone", () =>
    Effect.gen(function*() {
      const filename = join(yield* directory, "ledger.sqlite")
      const { agent, fails, pay } = yield* market
      yield* Effect.gen(function*() {
        yield* pay("/a")
        yield* execute(filename, "ALTER TABLE effect_mpp_authorization RENAME TO away")
        yield* fails("/b", /did not do what it was told/)
        yield* execute(filename, "ALTER TABLE away RENAME TO effect_mpp_authorization")
        assert.strictEqual(yield* pay("/b"), "/b")
      }).pipe(Effect.provide(agent(file(filename))))
    }))

  it.live("is not signed when what its budget stands at cannot be read", () =>
    Effect.gen(function*() {
      const filename = join(yield* directory, "ledger.sqlite")
      const { agent, fails, pay } = yield* market
      yield* Effect.gen(function*() {
        yield* pay("/a")
        yield* execute(filename, "UPDATE effect_mpp_counter SET exposed = 'x'")
        yield* fails("/b", /cannot be read/)
        yield* execute(filename, "UPDATE effect_mpp_counter SET exposed = '0'")
        assert.strictEqual(yield* pay("/b"), "/b")
      }).pipe(Effect.provide(agent(file(filename))))
    }))

  it.live("is found out again when the power failed before its outcome was on the disk, and is not made twice", () =>
    Effect.gen(function*() {
      const filename = join(yield* directory, "ledger.sqlite")
      const { agent, beforeSending, pay, refusal, shop, signed } = yield* market
      const parts = ["", "-wal"].map((end) => filename + end)
      let kept: ReadonlyArray<Buffer> = []
      yield* Effect.gen(function*() {
        // What is on the disk for certain, when the bytes leave: what is written later waits for nothing.
        yield* beforeSending(Effect.sync(() => {
          kept = parts.map((part) => readFileSync(part))
        }))
        assert.strictEqual(yield* pay("/a"), "/a")
        assert.deepStrictEqual(yield* standing, { spent: price, exposed: 0n, states: ["settled"] })
      }).pipe(Effect.provide(agent(file(filename))))
      parts.forEach((part, at) => writeFileSync(part, kept[at] ?? ""))
      yield* Effect.gen(function*() {
        assert.deepStrictEqual(yield* standing, { spent: 0n, exposed: price, states: ["signed"] })
        // It was delivered, and nobody knows any more: the same payment is presented, and no other one is signed.
        const { money } = yield* refusal("/a")
        assert.strictEqual(money, "spent")
        assert.deepStrictEqual(yield* standing, { spent: price, exposed: 0n, states: ["settled"] })
        assert.strictEqual(shop.taken.size, 1)
        assert.strictEqual(new Set(signed).size, 1)
        assert.strictEqual(yield* pay("/b"), "/b")
      }).pipe(Effect.provide(agent(file(filename))))
    }))

  it.live("is not signed when the file is damaged", () =>
    Effect.gen(function*() {
      const filename = join(yield* directory, "ledger.sqlite")
      const { agent, pay, shop, signed } = yield* market
      yield* Effect.provide(pay("/a"), agent(file(filename)))
      const sound = readFileSync(filename)
      const size = 4096
      let failed = 0
      for (let page = 0; page < statSync(filename).size / size; page++) {
        const damaged = Buffer.from(sound)
        damaged.fill(0xa5, page * size, (page + 1) * size)
        for (const end of ["-wal", "-shm"]) rmSync(filename + end, { force: true })
        writeFileSync(filename, damaged)
        const before = signed.length
        const error = yield* Effect.result(Effect.provide(pay(`/${page}`), agent(file(filename))))
        // A page that nobody needs hinders nobody.
        if (error._tag === "Success") continue
        failed++
        assert.strictEqual(signed.length, before, `page ${page}`)
        assert.match(String(error.failure), /LedgerUnavailable|ledger/)
      }
      assert.isAbove(failed, 3)
      assert.strictEqual(signed.length, shop.taken.size)
    }), 60_000)

  it.live("is not signed when the file is no database", () =>
    Effect.gen(function*() {
      const filename = join(yield* directory, "ledger.sqlite")
      writeFileSync(filename, "not a database, and long enough for one to be seen".repeat(100))
      const { agent, pay, shop } = yield* market
      const error = yield* Effect.flip(Effect.provide(pay("/a"), agent(file(filename))))
      assert.include(error, { _tag: "LedgerUnavailable" })
      assert.match(error.message, /no SQLite database/)
      assert.deepStrictEqual(shop.presented, [])
    }))

  it.live("goes over two ledgers of one file in one process as over those of two processes", () =>
    Effect.gen(function*() {
      const filename = join(yield* directory, "ledger.sqlite")
      const { agent, pay, shop } = yield* market
      const paths = Array.from({ length: 10 }, (_, n) => `/${n}`)
      yield* Effect.gen(function*() {
        yield* Effect.forEach([0, 1], (half) =>
          Effect.gen(function*() {
            yield* Effect.forEach(paths, (path) => pay(`${path}-${half}`), { concurrency: 5 })
            // The other one lives, and is seen to.
            yield* Effect.flatMap(Ledger.Ledger, (ledger) => ledger.orphans)
          }).pipe(Effect.provide(agent(file(filename)))), { concurrency: 2 })
        const { exposed, spent } = yield* standing
        assert.deepStrictEqual({ spent, exposed }, { spent: 20n * price, exposed: 0n })
      }).pipe(Effect.provide(Layer.fresh(file(filename))))
      assert.strictEqual(shop.taken.size, 20)
    }))
})
