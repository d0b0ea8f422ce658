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
import { BeginTransaction } from "effect/sql/SqlClient"
import { isSqlError, type SqlError } from "effect/sql/SqlError"
import { statSync } from "node:fs"
import { LedgerUnavailable } from "../PaymentError.ts"
import type { Backend } from "./Backend.ts"
import type { LedgerFile } from "./LedgerFile.ts"
import * as MachineClock from "./MachineClock.ts"
import * as NodeSqlite from "./NodeSqlite.ts"
import { refused } from "./SqliteFailure.ts"
import * as SqliteLocks from "./SqliteLocks.ts"

/** How long the lock of another process is waited for: whoever comes first gets it, and that may be others for a while. */
const patience = Duration.seconds(10)

/** And if it was waited for in vain: who gives up says so more than once, and nobody should wait for all of that. */
const impatience = Duration.millis(500)

/** Others need a moment; who asks all the time keeps them from it, and this process from everything else. */
const soon = Schedule.jittered(Schedule.spaced("3 millis"))

const gone = refused(
  "the file was deleted or replaced while this process had it open; start it again once the right one is in its place",
  "execute"
)

/**
 * Which file it is, on whatever machine and under whatever name. The number of a file that was deleted is given to the next
 * one, which may be the copy that is put into its place: but that was made at another time.
 */
const birthOf = (filename: string) =>
  Effect.try({
    try: () => {
      const { birthtimeNs, ino } = statSync(filename, { bigint: true })
      return `${ino}:${birthtimeNs}`
    },
    catch: () => new LedgerUnavailable({ operation: "open", detail: gone.message })
  })

/**
 * @category constructors
 * @since 0.1.0
 */
export const make = Effect.fnUntraced(function*(
  { filename, identity }: Pick<LedgerFile, "filename" | "identity">
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
      return Effect.map(sql.unsafe(`PRAGMA synchronous = ${durable ? "FULL" : "NORMAL"}`), () => {
        isFull = durable
      })
    })

  /** Others open the file by its name: what is written into one that has lost its name is seen by nobody. */
  const isThere = () => {
    try {
      const { dev, ino } = statSync(filename, { bigint: true })
      return `${dev}:${ino}` === identity
    } catch {
      return false
    }
  }
  const there = Effect.suspend(() => isThere() ? Effect.void : Effect.fail(gone))

  let inVain = false
  const waiting = (duration: Duration.Duration) => ({
    while: (error: unknown) => isSqlError(error) && NodeSqlite.isBusy(error),
    schedule: Schedule.upTo(soon, { duration })
  })
  const patiently = <A, E>(effect: Effect.Effect<A, E>): Effect.Effect<A, E> =>
    Effect.suspend(() =>
      Effect.tapError(
        Effect.retry(effect, waiting(inVain ? impatience : patience)),
        (error) =>
          Effect.sync(() => {
            inVain = isSqlError(error) && NodeSqlite.isBusy(error)
          })
      )
    )

  return {
    sql,
    identity: yield* birthOf(filename),
    transaction: (durable, effect) =>
      Effect.andThen(synchronous(durable), sql.withTransaction(Effect.andThen(there, effect))).pipe(
        // The program may have asked for transactions of another kind.
        Effect.provideService(BeginTransaction, undefined),
        patiently,
        Effect.tap(() =>
          Effect.sync(() => {
            inVain = false
          })
        )
      ),
    outside: (effect) => patiently(Effect.andThen(there, effect)),
    now: clock.now,
    nowInStatement: Effect.map(clock.now, (now) => sql`${now}`),
    boot: clock.boot,
    hold: (lease) => Effect.map(locks.hold(lease), Effect.map((isHeld) => isHeld && isThere())),
    isHeld: locks.isHeld,
    isBusy: NodeSqlite.isBusy,
    explain: (error) => error === gone ? error.message : NodeSqlite.explain(error)
  }
})
