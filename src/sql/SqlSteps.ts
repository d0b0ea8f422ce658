/**
 * The steps of a ledger over a database: what each of them fetches, what it does, and whether it waits for the disk.
 *
 * @since 0.1.0
 */
import * as Effect from "effect/Effect"
import * as Result from "effect/Result"
import type { SqlError } from "effect/sql/SqlError"
import type { Broadcast, Delivery, Draft, Judgement } from "../ledger/Model.ts"
import type { Rows } from "../ledger/Rows.ts"
import type { Close } from "../ledger/SessionTransition.ts"
import type { Steps } from "../ledger/Steps.ts"
import type { BudgetExceeded } from "../PaymentError.ts"
import type { Backend } from "./Backend.ts"
import * as Fetch from "./Fetch.ts"
import type { SqlRows } from "./SqlRows.ts"
import type { Wants } from "./Wants.ts"

/**
 * A step, within a transaction.
 *
 * @category models
 * @since 0.1.0
 */
export interface Work {
  readonly rows: SqlRows
  readonly steps: Steps
  /** Leases whose time has not run out. */
  readonly running: Set<string>
}

/**
 * What is carried out in one transaction, with others or alone.
 *
 * @category models
 * @since 0.1.0
 */
export interface SqlStep {
  readonly operation: string
  /**
   * What merely tells what became known does not wait for the disk: it is there for everybody to read, and the next hold
   * takes it along. If the machine fails before, it is found out again.
   */
  readonly durable: boolean
  /** The authorisation that it makes, if it makes one. */
  readonly authorizes?: string
  /** What can be fetched together with what other steps want. */
  readonly ask?: (wants: Wants) => void
  readonly run: (work: Work) => Effect.Effect<Result.Result<unknown, string | BudgetExceeded>, SqlError>
}

const pure = (
  operation: string,
  durable: boolean,
  ask: (wants: Wants) => void,
  run: (steps: Steps, rows: Rows) => Result.Result<unknown, string | BudgetExceeded>
): SqlStep => ({ operation, durable, ask, run: ({ rows, steps }) => Effect.sync(() => run(steps, rows)) })

/**
 * Makes the steps.
 *
 * @category constructors
 * @since 0.1.0
 */
export const make = (backend: Backend) => {
  const { sql } = backend

  /** Of some leases those whose processes are no more: their time has run out, or nobody holds them. */
  const dead = Effect.fnUntraced(function*({ rows, running }: Work, leases: Iterable<string>) {
    const found = new Set<string>()
    for (const lease of new Set(leases)) {
      if (lease === rows.lease) continue
      // Asked for all of them: what a dead process has left of its lock is removed by that.
      const isHeld = yield* backend.isHeld(lease)
      if (running.has(lease) && isHeld) continue
      running.delete(lease)
      found.add(lease)
    }
    return found
  })

  const takeUp = Effect.fnUntraced(function*(work: Work, found: {
    readonly purchases: ReadonlyArray<string>
    readonly authorizations: ReadonlyArray<string>
    readonly sessions: ReadonlyArray<string>
  }) {
    const { rows, steps } = work
    yield* Fetch.fetch(sql, rows, (wants) => {
      for (const id of found.purchases) wants.bought(id)
      for (const id of found.authorizations) wants.authorization(id)
      for (const id of found.sessions) wants.session(id)
    })
    steps.orphaned({
      purchases: found.purchases.flatMap((id) => rows.purchase(id) ?? []),
      authorizations: found.authorizations.flatMap((id) => rows.authorization(id) ?? []),
      sessions: found.sessions.flatMap((id) => rows.session(id) ?? [])
    })
  })

  const claim = (key: string, owner: string): SqlStep => ({
    operation: "claim",
    durable: true,
    run: Effect.fnUntraced(function*(work: Work) {
      const { rows, steps } = work
      const unread = sql.and([
        sql`purchase_key = ${key}`,
        sql`delivery IN ('open', 'delivering', 'undelivered', 'broken')`
      ])
      const fetched = yield* Fetch.purchases(sql, rows, unread)
      // Others of the same transaction may have begun or ended some.
      const changed = Array.from(rows.purchases.changed.values(), ({ value }) => value).filter((it) => it.key === key)
      const ids = [...new Set([...fetched, ...changed.map(({ id }) => id)])]
      rows.resumable.set(key, new Set(ids))
      const isUnderWay = (id: string) => {
        const delivery = rows.purchase(id)?.value.delivery
        return delivery === "open" || delivery === "delivering"
      }
      const leases = ids.filter(isUnderWay).flatMap((id) => rows.purchase(id)?.lease ?? [])
      const gone = yield* dead(work, leases)
      const purchases = ids.filter((id) => isUnderWay(id) && gone.has(rows.purchase(id)?.lease ?? ""))
      yield* Fetch.fetch(sql, rows, (wants) => {
        for (const id of ids) if (purchases.includes(id) || !isUnderWay(id)) wants.bought(id)
      })
      const authorizations = purchases.flatMap((id) => rows.authorizationsOf(id).map(({ value }) => value.id))
      yield* takeUp(work, { purchases, authorizations, sessions: [] })
      return Result.succeed(steps.claim(key, owner))
    })
  })

  const orphans: SqlStep = {
    operation: "orphans",
    durable: true,
    run: Effect.fnUntraced(function*(work: Work) {
      const { rows } = work
      const leases = yield* sql<{ lease: string }>`
        SELECT lease FROM effect_mpp_purchase WHERE delivery IN ('open', 'delivering')
        UNION SELECT lease FROM effect_mpp_authorization WHERE state = 'signed'
        UNION SELECT lease FROM effect_mpp_session WHERE state IN ('establishing', 'live')
        UNION SELECT id FROM effect_mpp_lease`
      const gone = yield* dead(work, leases.map(({ lease }) => lease))
      if (gone.size === 0) return Result.void
      const theirs = (condition: ReturnType<typeof Fetch.among>) =>
        sql.and([Fetch.among(sql, "lease", gone), condition])
      const isTheirs = (row: { readonly lease: string } | undefined) => row !== undefined && gone.has(row.lease)
      yield* takeUp(work, {
        purchases: (yield* Fetch.purchases(sql, rows, theirs(sql`delivery IN ('open', 'delivering')`)))
          .filter((id) => isTheirs(rows.purchase(id))),
        authorizations: (yield* Fetch.authorizations(sql, rows, theirs(sql`state = 'signed'`)))
          .filter((id) => isTheirs(rows.authorization(id))),
        sessions: (yield* Fetch.sessions(sql, rows, theirs(sql`state IN ('establishing', 'live')`)))
          .filter((id) => isTheirs(rows.session(id)))
      })
      yield* sql`DELETE FROM effect_mpp_lease WHERE ${Fetch.among(sql, "id", gone)}`
      return Result.void
    })
  }

  /** This process ends in order: what its callers have in hand is theirs, and nothing is left to take up. */
  const leave: SqlStep = {
    operation: "leave",
    durable: true,
    run: Effect.fnUntraced(function*({ rows, steps }: Work) {
      // The condition of an index, which SQLite recognises by its words.
      const underWay = sql`delivery IN ('open', 'delivering')`
      const mine = sql.and([sql`lease = ${rows.lease}`, underWay, sql`delivery = 'delivering'`])
      const ids = yield* Fetch.purchases(sql, rows, mine)
      yield* Fetch.fetch(sql, rows, (wants) => {
        for (const id of ids) wants.bought(id)
      })
      for (const id of ids) steps.delivered(id, "delivered")
      yield* sql`DELETE FROM effect_mpp_lease WHERE id = ${rows.lease}`
      return Result.void
    })
  }

  return {
    authorize: (draft: Draft): SqlStep => ({
      ...pure("authorize", true, (wants) => wants.draft(draft), (steps) => steps.authorize(draft)),
      authorizes: draft.authorization.id
    }),
    resent: (id: string) => pure("resent", true, (wants) => wants.authorization(id), (steps) => steps.resent(id)),
    advanced: (id: string, broadcast: Broadcast) =>
      pure("advanced", true, (wants) => wants.authorization(id), (steps) => steps.advanced(id, broadcast)),
    judged: (id: string, judgement: Judgement) =>
      pure("judged", false, (wants) => wants.authorization(id), (steps) => steps.judged(id, judgement)),
    delivered: (purchase: string, delivery: Delivery) =>
      pure("delivered", false, (wants) => wants.bought(purchase), (steps) => steps.delivered(purchase, delivery)),
    updateSession: (id: string, change: Parameters<Steps["updateSession"]>[1]) =>
      pure("updateSession", true, (wants) => wants.session(id), (steps) => steps.updateSession(id, change)),
    closeSession: (id: string, close: Close) =>
      pure("closeSession", true, (wants) => wants.session(id), (steps) => steps.closeSession(id, close)),
    renew: pure("renew", false, () => {}, () => Result.void),
    claim,
    orphans,
    leave
  }
}
