/**
 * Carries out steps of a ledger in one transaction: the lock is taken, the lease is renewed, rows are fetched, changed and
 * written. Where that fails, it is as if no step had been asked for.
 *
 * @since 0.1.0
 */
import * as Cause from "effect/Cause"
import * as Clock from "effect/Clock"
import * as Effect from "effect/Effect"
import * as Exit from "effect/Exit"
import * as Result from "effect/Result"
import { isSqlError, type SqlError } from "effect/sql/SqlError"
import { Steps } from "../ledger/Steps.ts"
import * as Transition from "../ledger/Transition.ts"
import { type BudgetExceeded, LedgerUnavailable } from "../PaymentError.ts"
import { Evidence } from "../Rails.ts"
import type { Backend } from "./Backend.ts"
import * as Fetch from "./Fetch.ts"
import type { Leases } from "./Lease.ts"
import type { OlderBuckets } from "./OlderBuckets.ts"
import { SqlRows } from "./SqlRows.ts"
import type { SqlStep } from "./SqlSteps.ts"

/**
 * What a step comes to.
 *
 * @category models
 * @since 0.1.0
 */
export type Outcome = Result.Result<unknown, BudgetExceeded | LedgerUnavailable>

/** A transaction that cannot even be rolled back, because the database is gone, ends with its failure as a defect. */
const failureOf = (cause: Cause.Cause<SqlError>): SqlError | undefined =>
  cause.reasons.flatMap((reason) =>
    Cause.isFailReason(reason)
      ? [reason.error]
      : Cause.isDieReason(reason) && isSqlError(reason.defect)
      ? [reason.defect]
      : []
  )[0]

const notSent = new Evidence({ rank: "proven", what: Transition.notSent })

/**
 * Makes the committer. It never fails: every step has its outcome.
 *
 * @category constructors
 * @since 0.1.0
 */
export const make = (backend: Backend, renewed: Effect.Effect<Leases, SqlError>, older: OlderBuckets) => {
  const { sql } = backend

  /** Holds of which it is not known whether they were written. Nothing was signed for them. */
  const unsure = new Set<string>()

  /** What may have been taken by a commit whose answer was lost is given back. */
  const giveBack = Effect.fnUntraced(function*(rows: SqlRows, steps: Steps) {
    yield* Fetch.fetch(sql, rows, (wants) => {
      for (const id of unsure) {
        wants.authorization(id)
        const purchase = rows.authorizations.known.get(id)?.value.purchase
        if (purchase !== undefined) wants.bought(purchase)
      }
    })
    for (const id of unsure) {
      const row = rows.authorization(id)
      if (row === undefined || row.value.state !== "signed" || row.value.evidence.length > 0) continue
      steps.judged(id, { state: "released", evidence: notSent })
      if (row.value.purchase !== undefined) steps.delivered(row.value.purchase, "void")
    }
  })

  const carry = Effect.fnUntraced(function*(all: ReadonlyArray<SqlStep>) {
    const outcomes: Array<Outcome> = []
    const { mine, running, ...before } = yield* renewed
    const alive = new Set(running)
    const rows = new SqlRows({ lease: mine, isAlive: (lease) => alive.has(lease), sequence: before.sequence, older })
    rows.books.last = before.time
    rows.books.tick(Math.floor(yield* Clock.currentTimeMillis))
    const steps = new Steps(rows, rows.books)
    if (unsure.size > 0) yield* giveBack(rows, steps)
    yield* Fetch.fetch(sql, rows, (wants) => {
      for (const { ask } of all) ask?.(wants)
    })
    for (const { ask, operation, run } of all) {
      // What an earlier step has made may lead to more.
      if (ask !== undefined && outcomes.length > 0) yield* Fetch.fetch(sql, rows, ask)
      const outcome = yield* run({ rows, steps, running: alive })
      outcomes.push(
        Result.mapError(
          outcome,
          (error) => typeof error === "string" ? new LedgerUnavailable({ operation, detail: error }) : error
        )
      )
    }
    yield* Fetch.flush(sql, rows, rows.books.last !== before.time || rows.sequence !== before.sequence)
    return outcomes
  })

  const commit = (all: ReadonlyArray<SqlStep>): Effect.Effect<ReadonlyArray<Outcome>> =>
    Effect.suspend(() => {
      const durable = all.some((step) => step.durable)
      return Effect.exit(backend.transaction(durable, carry(all))).pipe(
        Effect.flatMap((exit) => {
          if (Exit.isSuccess(exit)) {
            unsure.clear()
            return Effect.succeed(exit.value)
          }
          const error = failureOf(exit.cause)
          // The answer to a commit may be lost, and the commit may be carried out after all.
          if (error === undefined || !backend.isBusy(error)) {
            for (const { authorizes } of all) if (authorizes !== undefined) unsure.add(authorizes)
          }
          // A row that cannot be read hinders nobody who does not need it.
          if (error === undefined && all.length > 1) {
            return Effect.map(Effect.forEach(all, (step) => commit([step])), (each) => each.flat())
          }
          const detail = error !== undefined
            ? backend.explain(error)
            : "what is written there cannot be read: it may be damaged, or of a newer version"
          return Effect.succeed(
            all.map(({ operation }): Outcome => Result.fail(new LedgerUnavailable({ operation, detail })))
          )
        })
      )
    })

  return commit
}
