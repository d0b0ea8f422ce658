/**
 * PostgreSQL as the database of a ledger.
 *
 * @since 0.1.0
 */
import * as Context from "effect/Context"
import * as Duration from "effect/Duration"
import * as Effect from "effect/Effect"
import * as Fiber from "effect/Fiber"
import * as Predicate from "effect/Predicate"
import type * as Scope from "effect/Scope"
import { makeWithTransaction, type SqlClient } from "effect/sql/SqlClient"
import type { Connection } from "effect/sql/SqlConnection"
import { ConnectionError, isSqlError, SqlError, UnknownError } from "effect/sql/SqlError"
import { LedgerUnavailable } from "../PaymentError.ts"
import type { Backend } from "./Backend.ts"

const words: { readonly [reason: string]: string } = {
  ConnectionError: "the database cannot be reached",
  AuthenticationError: "the database does not accept the name and the password",
  AuthorizationError: "this user may not write in the database",
  LockTimeoutError: "another process holds the lock of the ledger for too long",
  StatementTimeoutError: "the database takes too long",
  SerializationError: "the database could not order this step among others",
  DeadlockError: "the database could not order this step among others"
}

const explain = (error: SqlError): string => words[error.reason._tag] ?? "the database did not do what it was told"

const isBusy = ({ reason }: SqlError): boolean =>
  reason._tag === "LockTimeoutError" || reason._tag === "SerializationError" || reason._tag === "DeadlockError"

/** A step ends by then, whatever the line to the database does. */
const patience = Duration.seconds(20)

/** And if the last one did not: who gives up says so more than once, and nobody should wait for all of that. */
const impatience = Duration.seconds(5)

const tooLate = new SqlError({
  reason: new ConnectionError({ cause: undefined, message: "no answer in time", operation: "transaction" })
})

/** What is asked of the connection that holds a lease is answered at once, or never. */
const shortly = Duration.seconds(2)

/** What is interrupted has ended by then, unless it waits for an answer that does not come. */
const moment = Duration.seconds(1)

/**
 * A commit cannot be interrupted, and a line that says nothing is not waited for: what became of it is not known then. What
 * can be interrupted is, so that it does not come to its commit behind our back.
 */
const within = (duration: Duration.Duration) => <A, E>(effect: Effect.Effect<A, E>): Effect.Effect<A, E | SqlError> =>
  Effect.flatMap(Effect.forkDetach(effect), (fiber) => {
    const end = Effect.forkDetach(Fiber.interrupt(fiber))
    const ended = Effect.flatMap(
      end,
      (ending) => Effect.timeoutOption(Effect.interruptible(Fiber.join(ending)), moment)
    )
    return Effect.timeoutOrElse(Effect.interruptible(Fiber.join(fiber)), {
      duration,
      orElse: () => Effect.andThen(ended, Effect.fail(tooLate))
    }).pipe(Effect.onInterrupt(() => end))
  })

const undone = new SqlError({
  reason: new UnknownError({
    cause: undefined,
    message: "the transaction was rolled back instead",
    operation: "commit"
  })
})

/**
 * Transactions as the client's own are, but for this: to begin and to commit can be interrupted too, which ends a connection
 * that says nothing any more. It would be waited for when the program ends.
 */
const transactionsOf = (sql: SqlClient) => {
  const execute = (connection: Connection, statement: string) =>
    Effect.asVoid(connection.executeUnprepared(statement, [], undefined))
  const rollback = (connection: Connection) => execute(connection, "ROLLBACK")
  return makeWithTransaction({
    transactionService: sql.transactionService,
    spanAttributes: [],
    acquireConnection: (restore) => restore(sql.reserve),
    // The program may ask for transactions of another kind.
    begin: (connection) =>
      Effect.interruptible(execute(connection, "BEGIN ISOLATION LEVEL READ COMMITTED READ WRITE")).pipe(
        Effect.onInterrupt(() => Effect.ignore(rollback(connection)))
      ),
    commit: (connection) =>
      Effect.flatMap(
        Effect.interruptible(connection.executeRaw("COMMIT", [])),
        // What a transaction is told that cannot be committed.
        (answer) =>
          Predicate.hasProperty(answer, "command") && answer.command === "ROLLBACK" ? Effect.fail(undone) : Effect.void
      ),
    rollback,
    savepoint: (connection, id) => execute(connection, `SAVEPOINT effect_mpp_${id}`),
    rollbackSavepoint: (connection, id) => execute(connection, `ROLLBACK TO SAVEPOINT effect_mpp_${id}`)
  })
}

/** A number that stands for a lease, in the tables of locks. */
const keyOf = "hashtextextended"

/**
 * @category constructors
 * @since 0.1.0
 */
export const make = Effect.fnUntraced(function*(
  sql: SqlClient
): Effect.fn.Return<Backend, LedgerUnavailable, Scope.Scope> {
  const refuse = (detail: string) => new LedgerUnavailable({ operation: "open", detail })
  const dialect = sql.onDialectOrElse({ pg: () => "pg", orElse: () => "other" })
  if (dialect !== "pg") {
    return yield* refuse("the client is not one of PostgreSQL; LedgerSql.layerSqlite opens a file of SQLite for itself")
  }

  /** The program may be within a transaction of its own, which may be undone. */
  const outside = <A, E>(effect: Effect.Effect<A, E>): Effect.Effect<A, E> =>
    Effect.updateContext(effect, (context: Context.Context<never>) => Context.omit(sql.transactionService)(context))

  // The lease holds one connection for as long as it lasts, and every step needs another one.
  yield* outside(Effect.scoped(Effect.andThen(sql.reserve, sql.reserve))).pipe(
    Effect.mapError((error) => refuse(explain(error))),
    Effect.timeoutOrElse({
      duration: Duration.seconds(5),
      orElse: () =>
        Effect.fail(refuse(
          "the client has not two connections to give: the ledger needs two of them for itself, and one more for every " +
            "transaction within which the program pays (maxConnections)"
        ))
    })
  )

  const [setting] = yield* outside(sql<{ value: string }>`SELECT current_setting('synchronous_commit') AS value`).pipe(
    Effect.mapError((error) => refuse(explain(error)))
  )
  if (setting?.value === "off" || setting?.value === "local") {
    return yield* refuse(
      `synchronous_commit is ${setting.value}: what was signed last could be forgotten; set it to on for this database`
    )
  }

  const now = sql`(extract(epoch FROM clock_timestamp()) * 1000)::bigint`

  const withTransaction = transactionsOf(sql)
  let inVain = false
  const inTime = <A, E>(effect: Effect.Effect<A, E>): Effect.Effect<A, E | SqlError> =>
    Effect.suspend(() => within(inVain ? impatience : patience)(effect)).pipe(
      Effect.tapError((error) =>
        Effect.sync(() => {
          inVain = isSqlError(error) && (error === tooLate || isBusy(error))
        })
      )
    )

  /**
   * The first statements of every step: they let nobody wait for ever, and take the lock. Plans are made while the tables are
   * empty, and kept: tables are not to be read whole when they are full.
   */
  const begin = (durable: boolean) =>
    Effect.andThen(
      sql`SELECT set_config('lock_timeout', ${inVain ? "500" : "5000"}, true),
        set_config('statement_timeout', '10000', true),
        set_config('idle_in_transaction_session_timeout', '10000', true),
        set_config('enable_seqscan', 'off', true),
        set_config('synchronous_commit', ${durable ? setting?.value ?? "on" : "off"}, true)`,
      sql`SELECT 1 FROM effect_mpp_ledger WHERE one = 1 FOR UPDATE`
    )

  const [cluster] = yield* outside(sql<{ identity: string }>`
    SELECT concat_ws(
      ':',
      (SELECT system_identifier FROM pg_control_system()),
      substr(pg_walfile_name(pg_current_wal_lsn()), 1, 8),
      (SELECT oid FROM pg_database WHERE datname = current_database())
    ) AS identity`).pipe(Effect.mapError((error) => refuse(explain(error))))

  return {
    sql,
    identity: cluster?.identity ?? "",
    transaction: (durable, effect) =>
      withTransaction(Effect.andThen(begin(durable), effect)).pipe(
        outside,
        inTime,
        Effect.tap(() =>
          Effect.sync(() => {
            inVain = false
          })
        )
      ),
    outside: (effect) => inTime(outside(effect)),
    nowInStatement: Effect.succeed(now),
    now: Effect.map(
      sql<{ now: number | string | bigint }>`SELECT ${now} AS now`,
      ([row]) => Number(row?.now ?? 0)
    ),
    boot: "",
    hold: Effect.fnUntraced(function*(lease: string) {
      // A connection of its own: the database lets go of its locks when this process is no more.
      const connection = yield* sql.reserve
      const shortlySay = (statement: string) => within(shortly)(connection.executeUnprepared(statement, [], undefined))
      let isOurs = true
      yield* Effect.addFinalizer(() => {
        isOurs = false
        return Effect.ignore(shortlySay("SELECT pg_advisory_unlock_all()"))
      })
      yield* connection.executeUnprepared(`SELECT pg_advisory_lock(${keyOf}('${lease}', 0))`, [], undefined)
      return Effect.suspend(() => isOurs ? Effect.isSuccess(shortlySay("SELECT 1")) : Effect.succeed(false))
    }),
    isHeld: (lease) =>
      Effect.map(
        sql<{ held: boolean }>`
          SELECT EXISTS (
            SELECT 1 FROM pg_locks
            WHERE locktype = 'advisory' AND granted AND objsubid = 1
              AND database = (SELECT oid FROM pg_database WHERE datname = current_database())
              AND ((classid::bigint << 32) | objid::bigint) = hashtextextended(${lease}, 0)
          ) AS held`,
        ([row]) => row?.held === true
      ),
    isBusy,
    explain
  }
})
