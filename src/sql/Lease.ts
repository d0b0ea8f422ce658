/**
 * The lease of this process. Every write carries it; what was begun under a lease that ran out is somebody else's business.
 * A process that finds its lease gone takes another one: its earlier rows are not its own any more.
 *
 * @since 0.1.0
 */
import * as Arr from "effect/Array"
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

interface Clocks {
  readonly monotonic: number
  readonly wall: number
}

/** When the lease was looked at, and for how long it stood from then on, whether or not it was renewed. */
interface Seen extends Clocks {
  readonly millis: number
}

const readClocks = Effect.zipWith(
  Clock.monotonicTimeNanos,
  Clock.currentTimeMillis,
  (nanos, wall): Clocks => ({ monotonic: Number(nanos / 1_000_000n), wall })
)

interface LeaseColumns {
  readonly id: string
  readonly until: number | string | bigint
  readonly boot: string
}

interface Row {
  readonly time: number | string | bigint
  readonly sequence: number | string | bigint
  readonly now: number | string | bigint
  readonly id: string | null
  readonly until: number | string | bigint | null
  readonly boot: string | null
}

/**
 * Leases, and the ledger's own row, as they stand in one transaction.
 *
 * @category models
 * @since 0.1.0
 */
export interface Leases {
  /** What time the ledger has told last, and the place of the last row that was made. */
  readonly time: number
  readonly sequence: number
  readonly mine: string
  /** Those whose time has not run out, mine included. Whether their processes live is another question. */
  readonly running: ReadonlySet<string>
}

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
  const seen = yield* Ref.make<Seen | undefined>(undefined)

  const note = (clocks: Clocks, row: LeaseColumns | undefined, now: number) =>
    Ref.set(seen, { ...clocks, millis: row === undefined ? 0 : Math.min(freshMillis, Number(row.until) - now) })

  const write = (id: string, until: number) =>
    sql`INSERT INTO effect_mpp_lease ${sql.insert({ id, until, boot: backend.boot })}
      ON CONFLICT (id) DO UPDATE SET until = excluded.until`

  /** Within a transaction: renews the lease, or takes another one where it is gone. */
  const renewed = Effect.gen(function*() {
    const clocks = yield* readClocks
    const found = yield* sql<Row>`
      SELECT g.time, g.sequence, ${yield* backend.nowInStatement} AS now, l.id, l.until, l.boot
      FROM effect_mpp_ledger g LEFT JOIN effect_mpp_lease l ON 1 = 1 WHERE g.one = 1`
    if (!Arr.isReadonlyArrayNonEmpty(found)) return yield* Effect.die(new Error("the ledger has no row"))
    const now = Number(found[0].now)
    const rows = found.flatMap(({ boot, id, until }): ReadonlyArray<LeaseColumns> =>
      boot === null || id === null || until === null ? [] : [{ boot, id, until }]
    )
    const running = new Set(
      rows.filter(({ boot, until }) => boot === backend.boot && Number(until) > now).map(({ id }) => id)
    )
    let held = yield* Ref.get(current)
    const row = rows.find(({ id }) => id === held.id)
    const isNew = row === undefined && (yield* Ref.get(seen)) === undefined
    if (!isNew && (!running.has(held.id) || !(yield* held.isHeld))) {
      yield* Scope.close(held.scope, Exit.void)
      held = yield* hold
      yield* Ref.set(current, held)
    }
    // What is written now may be undone with the rest of the transaction.
    yield* note(clocks, row?.id === held.id ? row : undefined, now)
    if (row?.id !== held.id || Number(row.until) - now < (2 * lasts) / 3) yield* write(held.id, now + lasts)
    running.add(held.id)
    return { time: Number(found[0].time), sequence: Number(found[0].sequence), mine: held.id, running }
  })

  /** Whether the lease stands: nobody else goes on with what was begun under it. */
  const stands = Effect.gen(function*() {
    const { id, isHeld } = yield* Ref.get(current)
    if (!(yield* isHeld)) return false
    const clocks = yield* readClocks
    const last = yield* Ref.get(seen)
    if (
      last !== undefined && clocks.monotonic - last.monotonic < last.millis && clocks.wall - last.wall < last.millis
    ) return true
    const now = yield* backend.now
    const [row] = yield* sql<LeaseColumns>`SELECT id, until, boot FROM effect_mpp_lease WHERE id = ${id}`
    if (row === undefined || row.boot !== backend.boot || Number(row.until) <= now) return false
    yield* note(clocks, row, now)
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
