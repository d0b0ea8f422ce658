/**
 * PostgreSQL as the database of a ledger.
 *
 * @since 0.1.0
 */
import * as Context from "effect/Context"
import * as Duration from "effect/Duration"
import * as Effect from "effect/Effect"
import * as Fiber from "effect/Fiber"
import type * as Scope from "effect/Scope"
import type { SqlClient } from "effect/sql/SqlClient"
import { ConnectionError, SqlError } from "effect/sql/SqlError"
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

const tooLate = new SqlError({
  reason: new ConnectionError({ cause: undefined, message: "no answer in time", operation: "transaction" })
})

/** A commit cannot be interrupted, and a line that says nothing is not waited for: what became of it is not known then. */
const inTime = <A, E>(effect: Effect.Effect<A, E>): Effect.Effect<A, E | SqlError> =>
  Effect.flatMap(Effect.forkDetach(effect), (fiber) =>
    Effect.timeoutOrElse(Effect.interruptible(Fiber.join(fiber)), {
      duration: patience,
      orElse: () => Effect.andThen(Effect.forkDetach(Fiber.interrupt(fiber)), Effect.fail(tooLate))
    }))

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

  const [setting] = yield* outside(sql<{ value: string }>`SELECT current_setting('synchronous_commit') AS value`).pipe(
    Effect.mapError((error) => refuse(explain(error)))
  )
  if (setting?.value === "off" || setting?.value === "local") {
    return yield* refuse(
      `synchronous_commit is ${setting.value}: what was signed last could be forgotten; set it to on for this database`
    )
  }

  /** The first statement of every step: it lets nobody wait for ever, and takes the lock. */
  const begin = (durable: boolean) =>
    Effect.andThen(
      sql`SELECT set_config('lock_timeout', '5000', true),
        set_config('statement_timeout', '10000', true),
        set_config('idle_in_transaction_session_timeout', '10000', true),
        set_config('synchronous_commit', ${durable ? setting?.value ?? "on" : "off"}, true)`,
      sql`SELECT 1 FROM effect_mpp_ledger WHERE one = 1 FOR UPDATE`
    )

  return {
    sql,
    transaction: (durable, effect) => inTime(outside(sql.withTransaction(Effect.andThen(begin(durable), effect)))),
    outside,
    now: Effect.map(
      sql<{ now: number | string | bigint }>`SELECT (extract(epoch FROM clock_timestamp()) * 1000)::bigint AS now`,
      ([row]) => Number(row?.now ?? 0)
    ),
    boot: "",
    hold: Effect.fnUntraced(function*(lease: string) {
      // A connection of its own: the database lets go of its locks when this process is no more.
      const connection = yield* sql.reserve
      yield* connection.executeUnprepared(`SELECT pg_advisory_lock(${keyOf}('${lease}', 0))`, [], undefined)
      yield* Effect.addFinalizer(() =>
        Effect.ignore(connection.executeUnprepared("SELECT pg_advisory_unlock_all()", [], undefined))
      )
      return Effect.isSuccess(connection.executeUnprepared("SELECT 1", [], undefined))
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
