/**
 * What a ledger needs of a database beyond SQL: steps that do not overlap, a commit that waits for the disk or does not, a
 * clock that its processes share, and a way to tell whether another process lives.
 *
 * @since 0.1.0
 */
import type * as Effect from "effect/Effect"
import type * as Scope from "effect/Scope"
import type { SqlClient } from "effect/sql/SqlClient"
import type { SqlError } from "effect/sql/SqlError"
import type { Fragment } from "effect/sql/Statement"

/**
 * @category models
 * @since 0.1.0
 */
export interface Backend {
  readonly sql: SqlClient
  /** Which database it is: a copy is another one. */
  readonly identity: string
  /**
   * Runs a transaction that no other step of the same ledger overlaps, in this process or in another. Once it has
   * returned it is on the disk, or will be with the next one that is `durable`.
   */
  readonly transaction: <A, E>(durable: boolean, effect: Effect.Effect<A, E>) => Effect.Effect<A, E | SqlError>
  /** Runs statements outside of any transaction of the program, and ends in time. */
  readonly outside: <A, E>(effect: Effect.Effect<A, E>) => Effect.Effect<A, E | SqlError>
  /** The clock of leases, in milliseconds. */
  readonly now: Effect.Effect<number, SqlError>
  /** The same as a part of a statement, which tells the time at which it is run. */
  readonly nowInStatement: Effect.Effect<Fragment>
  /** The count that the clock belongs to: leases of another one ended with it. */
  readonly boot: string
  /**
   * Holds a lease until the scope closes; when the process dies, it is let go at once. Answers how to see whether it is held
   * still.
   */
  readonly hold: (lease: string) => Effect.Effect<Effect.Effect<boolean>, SqlError, Scope.Scope>
  /** Whether a process holds the lease. */
  readonly isHeld: (lease: string) => Effect.Effect<boolean, SqlError>
  /** Whether a failure says that others were in the way, and that nothing was done. */
  readonly isBusy: (error: SqlError) => boolean
  /** A failure in our own words: what is the matter, and what to do. */
  readonly explain: (error: SqlError) => string
}
