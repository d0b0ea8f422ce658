/** A ledger that has paid for a day: rows as the ledger itself writes them, made by the database, which is faster. */
import { Effect, Option } from "effect"
import { SqlClient } from "effect/sql"
import { Rolling } from "../../src/ledger/Rolling.ts"
import * as Transition from "../../src/ledger/Transition.ts"
import { BucketTexts } from "../../src/sql/BucketTexts.ts"
import * as Codec from "../../src/sql/Codec.ts"
import { draftOf, priceUsd, settled } from "./drafts.ts"

const dayMillis = 86_400_000

// What the database puts its numbers in the place of.
const someTime = 1_111_111_111_111
const someHex = "c0ffee"
const someId = "one-of-many"

const rowsOf = (series: Rolling) => {
  const { authorization, purchase } = draftOf(someTime, someHex, someId)
  const judged = Transition.judgeCharge(authorization, settled, someTime)
  if (judged._tag === "Failure") throw new Error(judged.failure)
  const { counters } = authorization
  const lease = "of yesterday"
  const bought = Object.assign(Object.create(Object.getPrototypeOf(Option.getOrThrow(purchase))), {
    ...Option.getOrThrow(purchase),
    delivery: "delivered"
  })
  return {
    purchase: Codec.purchaseColumns({ seq: 0, value: bought, lease, counters, countedAt: someTime }),
    authorization: Codec.authorizationColumns({ seq: 0, value: judged.success, lease, spent: series }),
    counters
  }
}

/** Fills an empty ledger with so many payments of one agent to one merchant, evenly over the last day. */
export const fill = Effect.fnUntraced(function*(rows: number) {
  const sql = yield* SqlClient.SqlClient
  const start = Date.now() - dayMillis
  const step = Math.floor(dayMillis / rows)
  const single = new Rolling()
  single.add(someTime, priceUsd)
  const made = rowsOf(single)
  const bigint = sql.onDialectOrElse({ pg: () => "BIGINT", orElse: () => "INTEGER" })
  const time = `(CAST(${start} AS ${bigint}) + i * CAST(${step} AS ${bigint}))`
  const digits = `CAST(1000000000000 + i AS TEXT)`
  const insert = Effect.fnUntraced(function*(table: string, columns: Codec.Columns, own: Record<string, string>) {
    const values = Object.entries(columns).map(([name, value]) => {
      if (own[name] !== undefined) return own[name]
      if (typeof value !== "string") return value === null ? "NULL" : String(value)
      const text = `'${value.replaceAll("'", "''")}'`
      return [[someId, digits], [someHex, digits], [String(someTime), `CAST(${time} AS TEXT)`]].reduce(
        (sum, [from, to]) => value.includes(from!) ? `replace(${sum}, '${from}', ${to})` : sum,
        text
      )
    })
    yield* sql.unsafe(
      `WITH RECURSIVE n(i) AS (SELECT CAST(1 AS ${bigint}) UNION ALL SELECT i + 1 FROM n WHERE i < ${rows})
      INSERT INTO ${table} (${Object.keys(columns).join()}) SELECT ${values.join()} FROM n`
    )
  })
  yield* sql.withTransaction(Effect.gen(function*() {
    yield* insert("effect_mpp_purchase", made.purchase, { seq: "2 * i - 1", created_at: time, counted_at: time })
    yield* insert("effect_mpp_authorization", made.authorization, { seq: "2 * i" })
    const texts = new BucketTexts()
    const spent = new Rolling()
    const count = new Rolling()
    for (let i = 1; i <= rows; i++) {
      spent.add(start + i * step, priceUsd)
      count.add(start + i * step, 1n)
    }
    for (const name of made.counters) {
      const counter = { exposed: 0n, spent, count }
      yield* sql`INSERT INTO effect_mpp_counter ${
        sql.insert(Codec.counterColumns(name, counter, "of yesterday", texts))
      }`
      yield* sql`INSERT INTO effect_mpp_counter_older ${sql.insert(Codec.olderColumns(name, counter, "of yesterday"))}`
    }
    yield* sql`UPDATE effect_mpp_ledger SET time = ${start + rows * step}, sequence = ${2 * rows}`
  }))
  yield* sql.onDialectOrElse({
    pg: () => Effect.andThen(sql`VACUUM ANALYZE`, sql`CHECKPOINT`),
    orElse: () => sql`PRAGMA wal_checkpoint(TRUNCATE)`
  })
})
