/**
 * Tells whether a process of this machine lives: it holds a lock that the operating system takes away when it dies. The lock
 * is that of a small database of its own beside the ledger, so that it works wherever the ledger itself does.
 *
 * @since 0.1.0
 */
import * as Effect from "effect/Effect"
import type { SqlError } from "effect/sql/SqlError"
import { closeSync, existsSync, openSync, rmSync } from "node:fs"
import type { DatabaseSync } from "node:sqlite"
import { fromThrown, isBusy, refused } from "./SqliteFailure.ts"

const sqlite = Effect.tryPromise({
  try: () => import("node:sqlite"),
  catch: () => refused("this runtime has no SQLite built in: Node has, from 22.19 on", "open the database")
})

/**
 * Makes the locks beside a ledger.
 *
 * @category constructors
 * @since 0.1.0
 */
export const make = Effect.fnUntraced(function*(ledger: string) {
  const { DatabaseSync } = yield* sqlite
  const fileOf = (lease: string) => `${ledger}-lease-${lease}`

  /** Takes the lock, or fails with `busy` if another process has it. */
  const lock = (file: string): DatabaseSync => {
    const database = new DatabaseSync(file, { timeout: 0 })
    try {
      database.exec("BEGIN EXCLUSIVE")
      return database
    } catch (thrown) {
      database.close()
      throw thrown
    }
  }

  const attempt = <A>(operation: string, run: () => A): Effect.Effect<A, SqlError> =>
    Effect.try({ try: run, catch: (thrown) => fromThrown(thrown, operation) })

  return {
    hold: Effect.fnUntraced(function*(lease: string) {
      const file = fileOf(lease)
      const database = yield* Effect.acquireRelease(
        attempt("take the lock of a lease", () => {
          closeSync(openSync(file, "wx", 0o600))
          return lock(file)
        }),
        (database) =>
          Effect.sync(() => {
            // Removed while it is locked: nobody can take a lock on what is gone.
            rmSync(file, { force: true })
            if (database.isOpen) database.close()
          })
      )
      return Effect.sync(() => database.isOpen && existsSync(file))
    }),

    isHeld: (lease: string): Effect.Effect<boolean, SqlError> => {
      const file = fileOf(lease)
      return attempt("see whether a lease is held", () => {
        if (!existsSync(file)) return false
        const database = lock(file)
        rmSync(file, { force: true })
        database.close()
        return false
      }).pipe(Effect.catchIf(isBusy, () => Effect.succeed(true)))
    }
  }
})
