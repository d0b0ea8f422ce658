/**
 * SQLite as the database of a ledger.
 *
 * @since 0.1.0
 */
import * as Duration from "effect/Duration"
import * as Effect from "effect/Effect"
import * as Reactivity from "effect/reactivity/Reactivity"
import * as Schedule from "effect/Schedule"
import type * as Scope from "effect/Scope"
import { isSqlError, type SqlError } from "effect/sql/SqlError"
import { LedgerUnavailable } from "../PaymentError.ts"
import type { Backend } from "./Backend.ts"
import * as MachineClock from "./MachineClock.ts"
import * as NodeSqlite from "./NodeSqlite.ts"
import * as SqliteLocks from "./SqliteLocks.ts"

/** How long the lock of another process is waited for. */
const patience = Duration.seconds(5)

/** Others need a moment; who asks all the time keeps them from it, and this process from everything else. */
const soon = Schedule.jittered(Schedule.spaced("3 millis"))

/**
 * @category constructors
 * @since 0.1.0
 */
export const make = Effect.fnUntraced(function*(
  filename: string
): Effect.fn.Return<Backend, LedgerUnavailable, Scope.Scope> {
  const opened = <A, R>(effect: Effect.Effect<A, SqlError, R>) =>
    Effect.mapError(
      effect,
      (error) => new LedgerUnavailable({ operation: "open", detail: NodeSqlite.explain(error) })
    )
  const sql = yield* opened(NodeSqlite.make({ filename, busyTimeout: "20 millis" })).pipe(
    Effect.provide(Reactivity.layer)
  )
  const clock = yield* MachineClock.make
  const locks = yield* opened(SqliteLocks.make(filename))

  let isFull = true
  /** Waits for the disk, or leaves that to the next commit that does. */
  const synchronous = (durable: boolean) =>
    Effect.suspend(() => {
      if (durable === isFull) return Effect.void
      isFull = durable
      return Effect.asVoid(sql.unsafe(`PRAGMA synchronous = ${durable ? "FULL" : "NORMAL"}`))
    })

  return {
    sql,
    transaction: (durable, effect) =>
      Effect.andThen(synchronous(durable), sql.withTransaction(effect)).pipe(
        Effect.retry({
          while: (error) => isSqlError(error) && NodeSqlite.isBusy(error),
          schedule: Schedule.upTo(soon, { duration: patience })
        })
      ),
    outside: (effect) => effect,
    now: clock.now,
    boot: clock.boot,
    hold: locks.hold,
    isHeld: locks.isHeld,
    isBusy: NodeSqlite.isBusy,
    explain: NodeSqlite.explain
  }
})
