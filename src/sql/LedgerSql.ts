/**
 * A ledger that outlives the process, in SQLite or PostgreSQL.
 *
 * A hold is on the disk before anything is signed. Steps that are asked for at the same time share one transaction. Every
 * process writes under a lease; what a process leaves behind that is no more is taken up by another one, and what a living one
 * works on is not touched. Nothing of this runs within a transaction of the program.
 *
 * @since 0.1.0
 */
import * as Duration from "effect/Duration"
import * as Effect from "effect/Effect"
import * as Layer from "effect/Layer"
import * as Option from "effect/Option"
import * as Schedule from "effect/Schedule"
import type * as Scope from "effect/Scope"
import * as SqlClient from "effect/sql/SqlClient"
import type { SqlError } from "effect/sql/SqlError"
import * as Ledger from "../Ledger.ts"
import type { Authorization, Draft, Purchase, SessionRecord } from "../ledger/Model.ts"
import { type BudgetExceeded, LedgerUnavailable } from "../PaymentError.ts"
import type { Backend } from "./Backend.ts"
import * as Commit from "./Commit.ts"
import * as GroupCommit from "./GroupCommit.ts"
import * as Lease from "./Lease.ts"
import * as LedgerFile from "./LedgerFile.ts"
import * as PostgresBackend from "./PostgresBackend.ts"
import * as Reads from "./Reads.ts"
import * as SqliteBackend from "./SqliteBackend.ts"
import * as SqlSteps from "./SqlSteps.ts"
import * as Tables from "./Tables.ts"

/**
 * @category options
 * @since 0.1.0
 */
export interface Options {
  /** How long this process may stand still before others go on with its payments. Default: 30 seconds. */
  readonly lease?: Duration.Input | undefined
  /** At most so many steps share a transaction. Default: 256. */
  readonly maxBatch?: number | undefined
}

const unavailable = (operation: string, detail: string) => new LedgerUnavailable({ operation, detail })

/** A ledger over a database, of which this process has one part and others may have theirs. */
const make = Effect.fnUntraced(function*(backend: Backend, options: Options) {
  yield* Tables.migrate.pipe(
    Effect.provideService(SqlClient.SqlClient, backend.sql),
    Effect.mapError((error) =>
      unavailable("open", error._tag === "SqlError" ? backend.explain(error) : "the tables could not be made")
    )
  )
  const opening = Effect.mapError((error: SqlError) => unavailable("open", backend.explain(error)))
  const lasts = options.lease === undefined ? Lease.leaseMillis : Duration.toMillis(options.lease)
  const lease = yield* opening(Lease.make(backend, lasts))
  const reads = Reads.make(backend)
  const steps = SqlSteps.make(backend)
  const submit = yield* GroupCommit.make(
    Commit.make(backend, lease.renewed),
    options.maxBatch ?? GroupCommit.maxBatch
  )

  const write = <A, E extends BudgetExceeded | LedgerUnavailable = LedgerUnavailable>(step: SqlSteps.SqlStep) =>
    submit(step) as Effect.Effect<A, E | LedgerUnavailable>

  const omit = backend.outside
  const read = <A>(operation: string, effect: Effect.Effect<A, SqlError>): Effect.Effect<A, LedgerUnavailable> =>
    omit(effect).pipe(
      Effect.mapError((error) => unavailable(operation, backend.explain(error))),
      Effect.catchDefect(() =>
        Effect.fail(
          unavailable(operation, "what is written there cannot be read: it may be damaged, or of a newer version")
        )
      )
    )

  yield* write(steps.renew)
  yield* Effect.addFinalizer(() => Effect.ignore(write(steps.leave)))
  yield* Effect.forkScoped(Effect.repeat(Effect.ignore(write(steps.renew)), Schedule.spaced(lasts / 3)))

  return Ledger.Ledger.of({
    durable: true,
    authorize: (draft: Draft) => write<void, BudgetExceeded>(steps.authorize(draft)),
    holding: Effect.fnUntraced(function*(id: string) {
      const stands = yield* read("holding", lease.stands)
      // What this process works on was begun under its lease, if it has never had another.
      const isMine = stands && ((yield* lease.isFirst) ||
        (yield* read("holding", reads.leaseOf(id))) === (yield* lease.mine))
      if (!isMine) {
        return yield* unavailable(
          "holding",
          "this process stood still for longer than its lease, and another one may go on with the payment by now"
        )
      }
    }),
    resent: (id) => write(steps.resent(id)),
    advanced: (id, broadcast) => write(steps.advanced(id, broadcast)),
    judged: (id, judgement) => write(steps.judged(id, judgement)),
    delivered: (purchase, delivery) => write(steps.delivered(purchase, delivery)),
    claim: Effect.fnUntraced(function*(key: string, owner: string) {
      const mine = yield* lease.mine
      if (!(yield* read("claim", reads.mayResume(key, mine)))) return Option.none()
      return yield* write<Option.Option<{ readonly purchase: Purchase; readonly authorization: Authorization }>>(
        steps.claim(key, owner)
      )
    }),
    orphans: write(steps.orphans),
    updateSession: (id, change) => write(steps.updateSession(id, change)),
    closeSession: (id, close) => write(steps.closeSession(id, close)),
    session: (id): Effect.Effect<Option.Option<SessionRecord>, LedgerUnavailable> => read("session", reads.session(id)),
    sessions: (query) => read("sessions", reads.sessions(query)),
    authorization: (id) => read("authorization", reads.authorization(id)),
    unsettled: read("unsettled", reads.unsettled),
    unproven: (page) => read("unproven", reads.unproven(page)),
    purchases: (query) => read("purchases", reads.purchases(query)),
    standing: (counter, windowMillis) => read("standing", reads.standing(counter, windowMillis)),
    conduct: (origin, windowMillis) => read("conduct", reads.conduct(origin, windowMillis))
  })
})

/**
 * A ledger in a file of SQLite, for the processes of one machine.
 *
 * **Details**
 *
 * The ledger opens the file for itself, whatever other databases the program has. The file is for its owner alone (0600, in a
 * directory that is 0700). Fails with `LedgerUnavailable` if that cannot be, if the file system is not a local one, or if the
 * file is no ledger.
 *
 * **Example** (An agent that does not forget)
 *
 * ```ts no-run
 * import * as Agent from "effect-mpp/Agent"
 * import * as LedgerSql from "effect-mpp/sql/LedgerSql"
 * import * as Layer from "effect/Layer"
 * import * as FetchHttpClient from "effect/http/FetchHttpClient"
 *
 * export const AgentLive = Agent.layerConfigWith({
 *   ledger: LedgerSql.layerSqlite({ filename: "/var/lib/agent/ledger.sqlite" })
 * }).pipe(Layer.provide(FetchHttpClient.layer))
 * ```
 *
 * @category layers
 * @since 0.1.0
 */
export const layerSqlite = (
  options: Options & LedgerFile.Options & { readonly filename: string }
): Layer.Layer<Ledger.Ledger, LedgerUnavailable> => Layer.effect(Ledger.Ledger, makeSqlite(options))

const makeSqlite = Effect.fnUntraced(function*(
  options: Options & LedgerFile.Options & { readonly filename: string }
): Effect.fn.Return<Ledger.Ledger["Service"], LedgerUnavailable, Scope.Scope> {
  const { filename } = yield* LedgerFile.prepare(options.filename, options)
  const backend = yield* SqliteBackend.make(filename)
  return yield* make(backend, options)
})

/**
 * A ledger in PostgreSQL, for a fleet: every process of it spends one budget. The client is the program's own, and the ledger
 * has its own transactions on it.
 *
 * **Gotchas**
 *
 * `synchronous_commit` must not be `off` or `local`: the layer fails with `LedgerUnavailable` if it is. A replica that takes
 * over after a failure must have been replicated to synchronously, or what was signed last is forgotten.
 *
 * @category layers
 * @since 0.1.0
 */
export const layer = (
  options: Options = {}
): Layer.Layer<Ledger.Ledger, LedgerUnavailable, SqlClient.SqlClient> =>
  Layer.effect(
    Ledger.Ledger,
    Effect.gen(function*() {
      const backend = yield* PostgresBackend.make(yield* SqlClient.SqlClient)
      return yield* make(backend, options)
    })
  )
