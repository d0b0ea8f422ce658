/** What a durable ledger costs: authorisations per second, the cost of one hold with a history and without, one request. */
import { Context, Effect, Layer, type Scope } from "effect"
import * as Reactivity from "effect/reactivity/Reactivity"
import { SqlClient } from "effect/sql"
import { mkdtempSync, rmSync } from "node:fs"
import { tmpdir } from "node:os"
import { join } from "node:path"
import * as Ledger from "../../src/Ledger.ts"
import * as LedgerSql from "../../src/sql/LedgerSql.ts"
import * as NodeSqlite from "../../src/sql/NodeSqlite.ts"
import * as Postgres from "../sql/postgres.ts"
import { draft, settled } from "./drafts.ts"
import * as History from "./history.ts"
import { inTurn, mean, type Spread, spread } from "./measure.ts"

type Service = Ledger.Ledger["Service"]

/** A place for a ledger, empty at first. */
interface Place {
  readonly open: (options: LedgerSql.Options) => Effect.Effect<Service, never, Scope.Scope>
  readonly fill: (rows: number) => Effect.Effect<void>
}

interface Store {
  readonly name: string
  readonly make: Effect.Effect<Place, never, Scope.Scope>
}

const ledgerOf = <E>(layer: Layer.Layer<Ledger.Ledger, E>) =>
  Effect.orDie(Effect.map(Layer.build(Layer.fresh(layer)), Context.get(Ledger.Ledger)))

const sqlite: Store = {
  name: "SQLite",
  make: Effect.gen(function*() {
    const directory = yield* Effect.acquireRelease(
      Effect.sync(() => mkdtempSync(join(tmpdir(), "bench-"))),
      (directory) => Effect.sync(() => rmSync(directory, { recursive: true, force: true }))
    )
    const filename = join(directory, "ledger.sqlite")
    return {
      open: (options) => ledgerOf(LedgerSql.layerSqlite({ ...options, filename })),
      fill: (rows) =>
        Effect.flatMap(
          NodeSqlite.make({ filename, synchronous: "NORMAL" }),
          (sql) => Effect.provideService(History.fill(rows), SqlClient.SqlClient, sql)
        ).pipe(Effect.provide(Reactivity.layer), Effect.scoped, Effect.orDie)
    }
  })
}

const postgres = (databases: Postgres.Databases["Service"]): Store => ({
  name: "PostgreSQL",
  make: Effect.map(databases.create, (database) => {
    const client = Postgres.layerClientOf(database)
    return {
      open: (options) => ledgerOf(Layer.provide(LedgerSql.layer(options), client)),
      fill: (rows) => Effect.orDie(Effect.scoped(Effect.provide(History.fill(rows), client)))
    }
  })
})

// ---------------------------------------------------------------------------------------------------------------------
// Authorisations per second
// ---------------------------------------------------------------------------------------------------------------------

const drafts = (count: number) => Effect.replicateEffect(draft, count)

/** So many authorisations by so many fibers: how many per second. */
const rate = Effect.fnUntraced(function*(ledger: Service, fibers: number, count: number) {
  const ready = yield* drafts(count)
  const before = performance.now()
  yield* Effect.forEach(ready, (one) => Effect.orDie(ledger.authorize(one)), { concurrency: fibers, discard: true })
  return (1000 * count) / (performance.now() - before)
})

export interface Rate {
  readonly store: string
  readonly fibers: number
  /** Authorisations per second, one wait for the disk each, and as many as wait together. */
  readonly alone: Spread | null
  readonly together: Spread
  /** Of neighbouring batches. */
  readonly ratio: Spread | null
}

const fibers = [1, 8, 64]

const memoryRates = Effect.gen(function*() {
  const ledger = yield* ledgerOf(Ledger.layerMemory({ quiet: true }))
  return yield* Effect.forEach(fibers, (fibers) =>
    Effect.map(
      Effect.replicateEffect(rate(ledger, fibers, 2048), 10),
      (rates): Rate => ({ store: "memory", fibers, alone: null, together: spread(rates.slice(3)), ratio: null })
    ))
})

const rates = Effect.fnUntraced(function*({ make, name }: Store, rounds: number) {
  const alone = yield* (yield* make).open({ maxBatch: 1 })
  const together = yield* (yield* make).open({})
  return yield* Effect.forEach(fibers, (fibers) => {
    const count = 4 * Math.max(fibers, 16)
    return Effect.map(
      inTurn(rounds, rate(alone, fibers, count), rate(together, fibers, 4 * count)),
      (taken): Rate => ({
        store: name,
        fibers,
        alone: spread(taken.map(([alone]) => alone)),
        together: spread(taken.map(([, together]) => together)),
        ratio: spread(taken.map(([alone, together]) => together / alone))
      })
    )
  })
})

// ---------------------------------------------------------------------------------------------------------------------
// One hold, one request
// ---------------------------------------------------------------------------------------------------------------------

/** Times in ms of so many, one after another. */
const each = Effect.fnUntraced(function*(count: number, run: (draft: Ledger.Draft) => Effect.Effect<unknown, unknown>) {
  const times: Array<number> = []
  for (const one of yield* drafts(count)) {
    const before = performance.now()
    yield* Effect.orDie(run(one))
    times.push(performance.now() - before)
  }
  return times
})

type Payment = (ledger: Service, draft: Ledger.Draft) => Effect.Effect<unknown, unknown>

const hold: Payment = (ledger, draft) =>
  Effect.andThen(ledger.authorize(draft), ledger.judged(draft.authorization.id, settled))

/** All that a paid request asks of its ledger. */
const request: Payment = Effect.fnUntraced(function*(ledger, draft) {
  const { id, purchase = "" } = draft.authorization
  yield* ledger.authorize(draft)
  yield* ledger.holding(id)
  yield* ledger.judged(id, settled)
  yield* ledger.delivered(purchase, "delivering")
  yield* ledger.delivered(purchase, "delivered")
})

export interface Cost {
  readonly store: string
  readonly what: string
  /** Payments that were made before, each of a purchase and an authorisation. */
  readonly rows: number
  /** In ms: in a new ledger, and in one that has paid for a day. */
  readonly empty: Spread
  readonly full: Spread
  /** Of neighbouring batches. */
  readonly ratio: Spread
}

const costs = Effect.fnUntraced(function*({ make, name }: Store, rows: number, rounds: number) {
  const place = yield* make
  yield* Effect.scoped(place.open({}))
  yield* place.fill(rows)
  const empty = yield* (yield* make).open({})
  const full = yield* place.open({})
  return yield* Effect.forEach([["hold", hold], ["request", request]] as const, ([what, payment]) =>
    Effect.map(
      inTurn(rounds, each(20, (draft) => payment(empty, draft)), each(20, (draft) => payment(full, draft))),
      (taken): Cost => ({
        store: name,
        what,
        rows,
        empty: spread(taken.flatMap(([times]) => times)),
        full: spread(taken.flatMap(([, times]) => times)),
        ratio: spread(taken.map(([before, after]) => mean(after) / mean(before)))
      })
    ))
})

export interface Measured {
  readonly rates: ReadonlyArray<Rate>
  readonly costs: ReadonlyArray<Cost>
}

export const targets = {
  /** Authorisations of 64 fibers that wait for the disk together, to those that wait one by one. */
  together: 10,
  /** A hold after so many, to the first one. */
  full: 1.2
}

/** Measures all stores, each with so many payments of history. */
export const run = Effect.fnUntraced(function*(options: { readonly rows: number; readonly rounds: number }) {
  const { rounds, rows } = options
  const stores = [sqlite, postgres(yield* Postgres.Databases)]
  const durable = yield* Effect.forEach(stores, (store) => Effect.scoped(rates(store, rounds)))
  const holds = yield* Effect.forEach(stores, (store) => Effect.scoped(costs(store, rows, rounds)))
  const measured: Measured = {
    rates: [...yield* Effect.scoped(memoryRates), ...durable.flat()],
    costs: holds.flat()
  }
  return measured
}, Effect.provide(Postgres.layer))
