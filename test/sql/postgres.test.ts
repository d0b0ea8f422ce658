import { assert, describe, it, layer } from "@effect/vitest"
import { ConfigProvider, Effect, Exit, Layer, Redacted, Schema, Scope } from "effect"
import { SqlClient } from "effect/sql/SqlClient"
import { type ChildProcess, fork } from "node:child_process"
import { existsSync, statSync } from "node:fs"
import { setTimeout as sleep } from "node:timers/promises"
import * as Postgres from "./postgres.ts"
import { isAlive } from "./postgresProcesses.ts"
import * as PostgresServer from "./postgresServer.ts"

const values = Effect.gen(function*() {
  const sql = yield* SqlClient
  const rows = yield* sql<{ value: number }>`SELECT value FROM numbers ORDER BY value`
  return rows.map(({ value }) => value)
})

const insert = (value: number) => Effect.flatMap(SqlClient, (sql) => sql`INSERT INTO numbers ${sql.insert({ value })}`)

/** Runs something with a client of its own. */
const connected = (database: Postgres.Database) => Effect.provide(Postgres.layerClientOf(database))

const withNumbers = Effect.gen(function*() {
  const database = yield* Postgres.database
  yield* Effect.flatMap(SqlClient, (sql) => sql`CREATE TABLE numbers (value int PRIMARY KEY)`).pipe(connected(database))
  return database
})

/** Of all databases of the server. */
const names = (database: Postgres.Database) =>
  Effect.gen(function*() {
    const sql = yield* SqlClient
    const rows = yield* sql<{ name: string }>`SELECT datname AS name FROM pg_database ORDER BY datname`
    return rows.map(({ name }) => name)
  }).pipe(connected(database))

const nameOf = ({ url }: Postgres.Database) => new URL(Redacted.value(url)).pathname.slice(1)

/** In real time. */
const eventually = (done: () => boolean) =>
  Effect.promise(async () => {
    for (const until = performance.now() + 20_000; !done() && performance.now() < until;) await sleep(20)
    return done()
  })

layer(Postgres.layer)("a database of a test", (it) => {
  it.effect("commits a transaction, or nothing of it", () =>
    Effect.gen(function*() {
      const database = yield* withNumbers
      yield* Effect.gen(function*() {
        const sql = yield* SqlClient
        yield* sql.withTransaction(Effect.andThen(insert(1), insert(2)))
        yield* Effect.exit(sql.withTransaction(Effect.andThen(insert(3), Effect.fail("no"))))
        assert.deepStrictEqual(yield* values, [1, 2])
      }).pipe(connected(database))
    }))

  it.effect("is empty, and no other test sees it", () =>
    Effect.gen(function*() {
      const [one, other] = [yield* withNumbers, yield* withNumbers]
      yield* connected(one)(insert(1))
      assert.deepStrictEqual(yield* connected(other)(values), [])
    }))

  it.effect("is dropped with the scope, although somebody still uses it", () =>
    Effect.gen(function*() {
      const administrator = yield* Postgres.database
      const scope = yield* Scope.make()
      const database = yield* Scope.provide(Postgres.database, scope)
      assert.include(yield* names(administrator), nameOf(database))
      yield* Effect.gen(function*() {
        const sql = yield* SqlClient
        yield* sql`SELECT 1`
        yield* Scope.close(scope, Exit.void)
        assert.strictEqual((yield* Effect.exit(sql`SELECT 1`))._tag, "Failure")
      }).pipe(connected(database))
      assert.notInclude(yield* names(administrator), nameOf(database))
    }))
})

layer(Postgres.layerServer)("a server of a test", (it) => {
  it.effect("forces to the disk what it commits", () =>
    Effect.gen(function*() {
      const sql = yield* SqlClient
      const rows = yield* sql<{ name: string; setting: string }>`SELECT name, setting FROM pg_settings
        WHERE name IN ('fsync', 'full_page_writes', 'synchronous_commit') ORDER BY name`
      assert.deepStrictEqual(rows.map(({ name, setting }) => [name, setting]), [
        ["fsync", "on"],
        ["full_page_writes", "on"],
        ["synchronous_commit", "on"]
      ])
    }).pipe(Effect.provide(Postgres.layerClient())))

  it.effect("takes nobody without the password", () =>
    Effect.gen(function*() {
      const url = new URL(Redacted.value((yield* Postgres.database).url))
      url.password = "wrong"
      const failure = yield* Effect.flip(
        connected({ url: Redacted.make(url.href) })(Effect.flatMap(SqlClient, (sql) => sql`SELECT 1`))
      )
      assert.strictEqual(failure.reason._tag, "AuthenticationError")
    }))

  for (const mode of ["fast", "immediate"] as const) {
    it.effect(`keeps its data and its port when it is restarted (${mode})`, () =>
      Effect.gen(function*() {
        const server = yield* Postgres.Server
        const before = server.pid()
        const database = yield* withNumbers
        yield* connected(database)(insert(1))
        yield* server.restart(mode)
        assert.notStrictEqual(server.pid(), before)
        assert.deepStrictEqual(yield* connected(database)(values), [1])
      }))
  }

  it.effect("takes no connections while it is stopped", () =>
    Effect.gen(function*() {
      const server = yield* Postgres.Server
      const database = yield* withNumbers
      yield* server.stop()
      assert.strictEqual(server.pid(), undefined)
      const failure = yield* Effect.flip(connected(database)(values))
      assert.strictEqual(failure.reason._tag, "ConnectionError")
      yield* server.start
      assert.deepStrictEqual(yield* connected(database)(values), [])
    }))

  it.effect("keeps what was committed, and only that, when it is killed", () =>
    Effect.gen(function*() {
      const server = yield* Postgres.Server
      const database = yield* withNumbers
      yield* Effect.gen(function*() {
        const sql = yield* SqlClient
        yield* sql.withTransaction(insert(1))
        yield* Effect.exit(sql.withTransaction(Effect.andThen(insert(2), server.kill)))
      }).pipe(connected(database))
      assert.strictEqual(server.pid(), undefined)
      yield* server.start
      assert.deepStrictEqual(yield* connected(database)(values), [1])
    }))

  it.effect("leaves no process alive when it is killed", () =>
    Effect.gen(function*() {
      const server = yield* Postgres.Server
      const processes = server.processes()
      assert.isAbove(processes.length, 3)
      yield* server.kill
      assert.deepStrictEqual(processes.filter(isAlive), [])
      yield* server.start
    }))

  it.effect("can be where DATABASE_URL says", () =>
    Effect.gen(function*() {
      const { port, url } = yield* Postgres.Server
      const before = yield* names({ url })
      const elsewhere = ConfigProvider.layer(ConfigProvider.fromUnknown({ DATABASE_URL: Redacted.value(url) }))
      yield* Effect.gen(function*() {
        const sql = yield* SqlClient
        assert.deepStrictEqual(yield* sql`SELECT inet_server_port() AS port`, [{ port }])
        assert.strictEqual((yield* names({ url })).length, before.length + 1)
      }).pipe(Effect.provide(Postgres.layerClient()), Effect.provide(Layer.provide(Postgres.layer, elsewhere)))
      assert.deepStrictEqual(yield* names({ url }), before)
    }))
})

const Told = Schema.Struct({ directory: Schema.String, processes: Schema.Array(Schema.Int) })

const told = (child: ChildProcess) =>
  Effect.callback<unknown>((resume) => {
    child.once("message", (message) => resume(Effect.succeed(message)))
    child.once("exit", (code) => resume(Effect.die(new Error(`ended at once (status ${code})`))))
  }).pipe(Effect.flatMap(Schema.decodeUnknownEffect(Told)))

const isRoot = process.getuid?.() === 0

describe("the processes of a server", () => {
  it.effect("end with the scope, and nothing is left on the disk", () =>
    Effect.gen(function*() {
      const { directory, processes } = yield* Effect.scoped(
        Effect.map(PostgresServer.make, (server) => ({ directory: server.directory, processes: server.processes() }))
      )
      assert.isAbove(processes.length, 3)
      assert.deepStrictEqual(processes.filter(isAlive), [])
      assert.isFalse(existsSync(directory))
    }))

  for (const user of isRoot ? ["root", "nobody"] as const : ["the user"] as const) {
    it.effect(`end when the process that started them is killed, started by ${user}`, () =>
      Effect.gen(function*() {
        const child = yield* Effect.acquireRelease(
          Effect.sync(() =>
            fork(new URL("postgresChild.ts", import.meta.url), {
              execArgv: [],
              ...user === "nobody" ? { uid: 65534, gid: 65534 } : {}
            })
          ),
          (child) => Effect.sync(() => child.kill("SIGKILL"))
        )
        const { directory, processes } = yield* told(child)
        assert.isAbove(processes.length, 3)
        assert.deepStrictEqual(processes.filter((pid) => !isAlive(pid)), [])
        assert.notStrictEqual(statSync(directory).uid, 0)
        child.removeAllListeners()
        child.kill("SIGKILL")
        assert.isTrue(yield* eventually(() => !processes.some(isAlive)))
        assert.isTrue(yield* eventually(() => !existsSync(directory)))
      }))
  }
})
