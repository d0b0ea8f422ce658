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
import type { MigrationError } from "effect/sql/Migrator"
import * as SqlClient from "effect/sql/SqlClient"
import { isSqlError, type SqlError } from "effect/sql/SqlError"
import * as Ledger from "../Ledger.ts"
import type { Authorization, Draft, Purchase, SessionRecord } from "../ledger/Model.ts"
import { type BudgetExceeded, LedgerUnavailable } from "../PaymentError.ts"
import type { Backend } from "./Backend.ts"
import * as Commit from "./Commit.ts"
import * as ForeignSql from "./ForeignSql.ts"
import * as Generation from "./Generation.ts"
import * as GroupCommit from "./GroupCommit.ts"
import * as Lease from "./Lease.ts"
import * as LedgerFile from "./LedgerFile.ts"
import { OlderBuckets } from "./OlderBuckets.ts"
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

/** Processes that begin at the same time make the tables one after the other. */
const whileOthersBegin = Schedule.upTo(Schedule.jittered(Schedule.spaced("20 millis")), { duration: "5 seconds" })

const isInTheWay = (backend: Backend, error: SqlError | MigrationError): boolean =>
  error._tag === "SqlError"
    ? backend.isBusy(error)
    : error.kind === "Locked" || (isSqlError(error.cause) && backend.isBusy(error.cause))

/** A ledger over a database, of which this process has one part and others may have theirs. */
const make = Effect.fnUntraced(function*(backend: Backend, options: Options) {
  // The layer may be built within a transaction of the program.
  yield* Tables.migrate.pipe(
    Effect.provideService(SqlClient.SqlClient, backend.sql),
    backend.outside,
    Effect.retry({ while: (error) => isInTheWay(backend, error), schedule: whileOthersBegin }),
    Effect.mapError((error) =>
      unavailable("open", error._tag === "SqlError" ? backend.explain(error) : "the tables could not be made")
    )
  )
  const opening = Effect.mapError((error: SqlError) => unavailable("open", backend.explain(error)))
  const copied = yield* opening(Generation.recognise(backend))
  if (Option.isSome(copied)) {
    const { generation, id } = copied.value
    yield* Effect.logWarning(
      `The ledger ${id} was copied or restored (generation ${generation}): what was signed elsewhere since is not known to it. ` +
        "Nothing new is signed on a chain before the ledger was compared with it, for which a node of it must be configured"
    )
  }
  const lasts = options.lease === undefined ? Lease.leaseMillis : Duration.toMillis(options.lease)
  const lease = yield* opening(Lease.make(backend, lasts))
  const older = new OlderBuckets()
  const reads = { ...Reads.make(backend, older), ...ForeignSql.reads(backend.sql) }
  const steps = { ...SqlSteps.make(backend), ...ForeignSql.steps(backend.sql) }
  const submit = yield* GroupCommit.make(
    Commit.make(backend, lease.renewed, older),
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
  // Whoever worked on the original does not work on this one.
  if (Option.isSome(copied)) yield* write(steps.orphans)
  yield* Effect.addFinalizer(() => Effect.ignore(write(steps.leave)))
  yield* Effect.forkScoped(Effect.repeat(Effect.ignore(write(steps.renew)), Schedule.spaced(lasts / 3)))

  return Ledger.Ledger.of({
    durable: true,
    about: read("about", reads.about),
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
    purchases: (query) => read("purchases", Effect.flatMap(lease.mine, (mine) => reads.purchases(query, mine))),
    foreign: (entry) => write<boolean>(steps.foreign(entry)),
    foreigns: (query) => read("foreigns", reads.foreigns(query)),
    recalled: (reference) => write<boolean>(steps.recalled(reference)),
    marked: (marks) => marks.length === 0 ? Effect.succeed([]) : read("marked", reads.marked(marks)),
    watermark: (account) => read("watermark", reads.watermark(account)),
    compared: (account, watermark) => write<void>(steps.compared(account, watermark)),
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
 * A step waits for the lock of another process for ten seconds, and then fails with `LedgerUnavailable`; so it does when the
 * disk is full, or when the file was deleted or replaced under the process, which must then begin anew.
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
  const file = yield* LedgerFile.prepare(options.filename, options)
  if (file.volatile) {
    yield* Effect.logWarning(
      `The ledger ${file.filename} is in memory: a machine that starts again has forgotten what was signed, and a payment may ` +
        "then be made twice. Keep it on a disk"
    )
  }
  const backend = yield* SqliteBackend.make(file)
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
 * The client needs two connections for the ledger (`maxConnections`): one holds the lease for as long as the layer lives, the
 * other one is for steps. For each transaction of the program within which it pays one more is needed at the same time, or the
 * payment fails with `LedgerUnavailable` after twenty seconds; a client for the ledger alone, with five, is never in the
 * program's way. A pooler between the program and the database must not share connections out by transaction: the lease is
 * guarded by a lock of its connection.
 *
 * A step waits for those of other processes for five seconds. A process that stands still in the middle of one is thrown out
 * by the database after ten.
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
