/**
 * The lease of this process. Every write carries it; what was begun under a lease that ran out is somebody else's business.
 * A process that finds its lease gone takes another one: its earlier rows are not its own any more.
 *
 * @since 0.1.0
 */
import * as Clock from "effect/Clock"
import * as Effect from "effect/Effect"
import * as Exit from "effect/Exit"
import * as Ref from "effect/Ref"
import * as Scope from "effect/Scope"
import type { SqlError } from "effect/sql/SqlError"
import type { Backend } from "./Backend.ts"

/**
 * How long a process may stand still before others go on with its payments: 30 seconds, in milliseconds.
 *
 * @category constants
 * @since 0.1.0
 */
export const leaseMillis = 30_000

/** What was looked at so short a time ago, as both clocks of this process tell, need not be looked at again. */
const freshMillis = 3_000

interface Held {
  readonly id: string
  readonly scope: Scope.Closeable
  readonly isHeld: Effect.Effect<boolean>
}

interface Seen {
  readonly monotonic: number
  readonly wall: number
}

interface LeaseColumns {
  readonly id: string
  readonly until: number | string | bigint
  readonly boot: string
}

/**
 * Leases, as they stand in one transaction.
 *
 * @category models
 * @since 0.1.0
 */
export interface Leases {
  readonly mine: string
  /** Those whose time has not run out, mine included. Whether their processes live is another question. */
  readonly running: ReadonlySet<string>
}

const readClocks = Effect.zipWith(
  Clock.monotonicTimeNanos,
  Clock.currentTimeMillis,
  (nanos, wall): Seen => ({ monotonic: Number(nanos / 1_000_000n), wall })
)

/**
 * The lease of a process, from the start of the scope to its end.
 *
 * @category constructors
 * @since 0.1.0
 */
export const make = Effect.fnUntraced(function*(backend: Backend, lasts: number = leaseMillis) {
  const { sql } = backend
  const scope = yield* Effect.scope
  const newId = sql.onDialectOrElse({
    pg: () => sql<{ id: string }>`SELECT replace(gen_random_uuid()::text, '-', '') AS id`,
    orElse: () => sql<{ id: string }>`SELECT lower(hex(randomblob(16))) AS id`
  })

  const hold: Effect.Effect<Held, SqlError> = Effect.gen(function*() {
    const [row] = yield* newId
    const id = row?.id ?? ""
    const own = yield* Scope.fork(scope)
    const isHeld = yield* Scope.provide(backend.hold(id), own).pipe(
      Effect.onError(() => Scope.close(own, Exit.void))
    )
    return { id, scope: own, isHeld }
  })

  const first = yield* hold
  const current = yield* Ref.make(first)
  const seen = yield* Ref.make<Seen>({ monotonic: -Infinity, wall: -Infinity })

  const write = (id: string, until: number) =>
    sql`INSERT INTO effect_mpp_lease ${sql.insert({ id, until, boot: backend.boot })}
      ON CONFLICT (id) DO UPDATE SET until = excluded.until`

  /** Within a transaction: renews the lease, or takes another one where it is gone. */
  const renewed = Effect.gen(function*() {
    const clocks = yield* readClocks
    const now = yield* backend.now
    const rows = yield* sql<LeaseColumns>`SELECT id, until, boot FROM effect_mpp_lease`
    const running = new Set(
      rows.filter(({ boot, until }) => boot === backend.boot && Number(until) > now).map(({ id }) => id)
    )
    let held = yield* Ref.get(current)
    const row = rows.find(({ id }) => id === held.id)
    const isNew = row === undefined && (yield* Ref.get(seen)).wall === -Infinity
    if (!isNew && (!running.has(held.id) || !(yield* held.isHeld))) {
      yield* Scope.close(held.scope, Exit.void)
      held = yield* hold
      yield* Ref.set(current, held)
    }
    if (row?.id !== held.id || Number(row.until) - now < (2 * lasts) / 3) yield* write(held.id, now + lasts)
    yield* Ref.set(seen, clocks)
    running.add(held.id)
    return { mine: held.id, running }
  })

  /** Whether the lease stands: nobody else goes on with what was begun under it. */
  const stands = Effect.gen(function*() {
    const { id, isHeld } = yield* Ref.get(current)
    const clocks = yield* readClocks
    const last = yield* Ref.get(seen)
    if (clocks.monotonic - last.monotonic < freshMillis && clocks.wall - last.wall < freshMillis) return true
    const now = yield* backend.now
    const [row] = yield* sql<LeaseColumns>`SELECT id, until, boot FROM effect_mpp_lease WHERE id = ${id}`
    if (row === undefined || row.boot !== backend.boot || Number(row.until) <= now || !(yield* isHeld)) return false
    yield* Ref.set(seen, clocks)
    return true
  })

  const mine = Effect.map(Ref.get(current), ({ id }) => id)

  return {
    renewed,
    stands,
    mine,
    /** Whether it is the only lease that this process has had. */
    isFirst: Effect.map(mine, (id) => id === first.id)
  }
})
