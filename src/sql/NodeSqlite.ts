/**
 * A `SqlClient` on the SQLite that is built into Node: one file, one connection, nothing to install.
 *
 * Made for a ledger: a transaction takes the write lock when it begins, a commit is on the disk when it returns, and what
 * SQLite would do silently (bind `NaN` as null, run the first of two statements, go on after it has rolled back) fails.
 *
 * @since 0.1.0
 */
import * as Duration from "effect/Duration"
import * as Effect from "effect/Effect"
import * as Layer from "effect/Layer"
import * as Reactivity from "effect/reactivity/Reactivity"
import * as Schedule from "effect/Schedule"
import type * as Scope from "effect/Scope"
import * as Semaphore from "effect/Semaphore"
import * as SqlClient from "effect/sql/SqlClient"
import type { Borrower } from "effect/sql/SqlConnection"
import { isSqlError, type SqlError } from "effect/sql/SqlError"
import * as Statement from "effect/sql/Statement"
import type { DatabaseSync } from "node:sqlite"
import * as SqliteConnection from "./SqliteConnection.ts"
import { fromThrown, isBusy, refused } from "./SqliteFailure.ts"

export { explain, isBusy } from "./SqliteFailure.ts"

/**
 * How a file is opened.
 *
 * @category options
 * @since 0.1.0
 */
export interface Options {
  /** The file, or `:memory:` for a database that ends with its scope. */
  readonly filename: string
  /**
   * How long a statement waits for the lock of another connection before it fails (see {@link isBusy}): 50 milliseconds,
   * if nothing is said. The whole process stands still meanwhile, so wait for longer by trying again.
   */
  readonly busyTimeout?: Duration.Input | undefined
  /** Refuses to write. The file must be there. */
  readonly readonly?: boolean | undefined
  /** When a commit is on the disk: before it returns (`FULL`, the default), or with the next checkpoint (`NORMAL`). */
  readonly synchronous?: "FULL" | "NORMAL" | undefined
  /** How many statements are kept prepared: 200, if nothing is said. */
  readonly prepareCacheSize?: number | undefined
  readonly spanAttributes?: Record<string, unknown> | undefined
}

/** Processes that open a new file at the same time get `busy` without any waiting. */
const whileBusy = { while: isBusy, times: 100, schedule: Schedule.spaced("20 millis") }

/** Tells SQLite how the file is to be kept. */
const configure = (database: DatabaseSync, options: Options): void => {
  const set = (pragma: string) => Object.values(database.prepare(`PRAGMA ${pragma}`).get() ?? {})[0]
  set("trusted_schema = OFF")
  if (options.readonly === true) {
    // The first look into the file: it may be anything.
    set("schema_version")
    return
  }
  const mode = set("journal_mode = WAL")
  if (mode !== "wal" && options.filename !== ":memory:") {
    throw refused("the file cannot have a write-ahead log: it is not on a local disk", "open the database")
  }
  set(`synchronous = ${options.synchronous === "NORMAL" ? "NORMAL" : "FULL"}`)
  // On macOS the disk is only told to write when it is asked in this way. Elsewhere they mean nothing.
  set("fullfsync = ON")
  set("checkpoint_fullfsync = ON")
}

/** Brings what was written into the main file, as far as no reader is in the way, and closes. */
const close = (database: DatabaseSync): void => {
  if (!database.isOpen) return
  try {
    database.exec("PRAGMA wal_checkpoint(PASSIVE)")
  } catch {
    // What was committed is in the log, where the next one who opens the file finds it.
  }
  database.close()
}

const open = Effect.fnUntraced(function*(options: Options) {
  // Not before it is needed: some versions of Node print a warning when they load it, and other runtimes have none.
  const { DatabaseSync } = yield* Effect.tryPromise({
    try: () => import("node:sqlite"),
    catch: () => refused("this runtime has no SQLite built in: Node has, from 22.19 on", "open the database")
  })
  return yield* Effect.try({
    try: () => {
      const database = new DatabaseSync(options.filename, {
        readOnly: options.readonly === true,
        timeout: Math.ceil(Duration.toMillis(options.busyTimeout ?? "50 millis")),
        enableForeignKeyConstraints: true
      })
      try {
        configure(database, options)
        return database
      } catch (thrown) {
        database.close()
        throw thrown
      }
    },
    catch: (thrown) => isSqlError(thrown) ? thrown : fromThrown(thrown, "open the database")
  })
})

/**
 * Opens the file, which is created if it is not there, and closes it with the scope. The path is taken as it is: see
 * `LedgerFile.prepare` for what must be true of the file of a ledger.
 *
 * @category constructors
 * @since 0.1.0
 */
export const make = Effect.fn("NodeSqlite.make")(function*(
  options: Options
): Effect.fn.Return<SqlClient.SqlClient, SqlError, Scope.Scope | Reactivity.Reactivity> {
  const database = yield* Effect.acquireRelease(open(options), (database) => Effect.sync(() => close(database))).pipe(
    Effect.retry(whileBusy)
  )
  const connection = SqliteConnection.make(database, options.prepareCacheSize ?? 200)
  const acquirers = SqlClient.makeSqliteAcquirers({
    connection: Effect.succeed(connection),
    semaphore: yield* Semaphore.make(1),
    isTransaction: (connection) => connection.isTransaction()
  })

  // A statement on its own that leaves a transaction open would draw the statements of other fibers into it.
  const endTransaction = Effect.suspend(() =>
    connection.isTransaction()
      ? Effect.andThen(
        connection.executeUnprepared("ROLLBACK", [], undefined),
        Effect.fail(refused("a transaction is begun with withTransaction; this one was rolled back", "execute"))
      )
      : Effect.void
  )
  const borrower: Borrower = (use) =>
    acquirers.borrower((connection) => Effect.onExit(use(connection), () => endTransaction))

  return yield* SqlClient.make({
    ...acquirers,
    borrower,
    compiler: Statement.makeCompilerSqlite(),
    driver: "node-sqlite",
    beginTransaction: "BEGIN IMMEDIATE",
    prepareTransactionControls: true,
    releaseSavepoint: (name) => `RELEASE SAVEPOINT ${name}`,
    spanAttributes: [...Object.entries(options.spanAttributes ?? {}), ["db.system.name", "sqlite"]]
  })
})

/**
 * A client for one file. Two layers of the same file are two connections, which wait for each other.
 *
 * @category layers
 * @since 0.1.0
 */
export const layer = (options: Options): Layer.Layer<SqlClient.SqlClient, SqlError> =>
  Layer.provide(Layer.effect(SqlClient.SqlClient, make(options)), Reactivity.layer)
