/**
 * Fetches the rows that steps want, as few statements as there are tables, and writes down what they have changed.
 *
 * @since 0.1.0
 */
import * as Arr from "effect/Array"
import * as Effect from "effect/Effect"
import type { SqlClient } from "effect/sql/SqlClient"
import type { SqlError } from "effect/sql/SqlError"
import type { Fragment } from "effect/sql/Statement"
import * as Codec from "./Codec.ts"
import type { SqlRows } from "./SqlRows.ts"
import { Wants } from "./Wants.ts"

/**
 * Whether a column's value is one of a list that may be of any length, without another statement for every length.
 *
 * @category statements
 * @since 0.1.0
 */
export const among = (sql: SqlClient, column: string, values: Iterable<string>): Fragment => {
  const list = [...values]
  return sql.onDialectOrElse({
    pg: () => sql`${sql(column)} = ANY(ARRAY(SELECT jsonb_array_elements_text(${JSON.stringify(list)}::text::jsonb)))`,
    orElse: () => sql`${sql(column)} IN (SELECT value FROM json_each(${JSON.stringify(list)}))`
  })
}

/**
 * Fetches the purchases of a condition, and answers their identifiers. What a step has changed already is newer than what
 * the table says, and is kept.
 *
 * @category fetching
 * @since 0.1.0
 */
export const purchases = Effect.fnUntraced(function*(
  sql: SqlClient,
  rows: SqlRows,
  where: Fragment
): Effect.fn.Return<ReadonlyArray<string>, SqlError> {
  const found = yield* sql<Codec.PurchaseColumns>`
    SELECT id, seq, lease, counted_at, counters, record FROM effect_mpp_purchase WHERE ${where}`
  for (const row of found) if (!rows.purchases.known.get(row.id)) rows.purchases.known.set(row.id, Codec.purchase(row))
  return found.map(({ id }) => id)
})

/**
 * Fetches the authorisations of a condition, and answers their identifiers.
 *
 * @category fetching
 * @since 0.1.0
 */
export const authorizations = Effect.fnUntraced(function*(
  sql: SqlClient,
  rows: SqlRows,
  where: Fragment
): Effect.fn.Return<ReadonlyArray<string>, SqlError> {
  const { known } = rows.authorizations
  const found = yield* sql<Codec.AuthorizationColumns>`
    SELECT id, seq, lease, spent, record FROM effect_mpp_authorization WHERE ${where}`
  for (const row of found) if (!known.get(row.id)) known.set(row.id, Codec.authorization(row))
  return found.map(({ id }) => id)
})

/**
 * Fetches the sessions of a condition, and answers their identifiers.
 *
 * @category fetching
 * @since 0.1.0
 */
export const sessions = Effect.fnUntraced(function*(
  sql: SqlClient,
  rows: SqlRows,
  where: Fragment
): Effect.fn.Return<ReadonlyArray<string>, SqlError> {
  const found = yield* sql<Codec.SessionColumns>`SELECT id, seq, lease, record FROM effect_mpp_session WHERE ${where}`
  for (const row of found) if (!rows.sessions.known.get(row.id)) rows.sessions.known.set(row.id, Codec.session(row))
  return found.map(({ id }) => id)
})

/** What was looked for and is not there is known to be absent. */
const absent = (known: Map<string, unknown>, names: Iterable<string>) => {
  for (const name of names) if (!known.has(name)) known.set(name, undefined)
}

const wanted = Effect.fnUntraced(function*(sql: SqlClient, rows: SqlRows, wants: Wants) {
  if (wants.purchases.size > 0) yield* purchases(sql, rows, among(sql, "id", wants.purchases))
  absent(rows.purchases.known, wants.purchases)
  if (wants.sessions.size > 0) yield* sessions(sql, rows, among(sql, "id", wants.sessions))
  absent(rows.sessions.known, wants.sessions)
  if (wants.authorizations.size > 0) yield* authorizations(sql, rows, among(sql, "id", wants.authorizations))
  absent(rows.authorizations.known, wants.authorizations)

  const authorization = (id: string) => rows.authorizations.known.get(id)?.value
  for (const id of wants.paying) rows.paying.set(id, new Set())
  if (wants.paying.size > 0) {
    for (const id of yield* authorizations(sql, rows, among(sql, "purchase", wants.paying))) {
      rows.paying.get(authorization(id)?.purchase ?? "")?.add(id)
    }
  }
  for (const id of wants.drawing) rows.drawing.set(id, new Set())
  if (wants.drawing.size > 0) {
    const open = sql.and([
      among(sql, "session", wants.drawing),
      sql`kind = 'draw'`,
      sql`state IN ('signed', 'unknown', 'rejected')`
    ])
    for (const id of yield* authorizations(sql, rows, open)) {
      rows.drawing.get(authorization(id)?.session ?? "")?.add(id)
    }
  }
  if (wants.counters.size > 0) {
    const found = yield* sql<Codec.CounterColumns>`
      SELECT name, exposed, spent, count FROM effect_mpp_counter WHERE ${among(sql, "name", wants.counters)}`
    for (const row of found) rows.counters.known.set(row.name, Codec.counter(row))
    absent(rows.counters.known, wants.counters)
  }
  if (wants.origins.size > 0) {
    const found = yield* sql<Codec.OriginColumns>`
      SELECT name, hanging, abandoned, refused FROM effect_mpp_origin WHERE ${among(sql, "name", wants.origins)}`
    for (const row of found) rows.origins.known.set(row.name, Codec.origin(row))
    absent(rows.origins.known, wants.origins)
  }
})

/**
 * Fetches until a step wants nothing more.
 *
 * @category fetching
 * @since 0.1.0
 */
export const fetch = Effect.fnUntraced(function*(
  sql: SqlClient,
  rows: SqlRows,
  ask: (wants: Wants) => void
): Effect.fn.Return<void, SqlError> {
  while (true) {
    const wants = new Wants(rows)
    ask(wants)
    if (wants.isEmpty) return
    yield* wanted(sql, rows, wants)
  }
})

/** A database takes so many parameters in one statement, and more. */
const rowsPerStatement = 200

/**
 * Writes down what the steps have changed.
 *
 * @category writing
 * @since 0.1.0
 */
export const flush = Effect.fnUntraced(function*(sql: SqlClient, rows: SqlRows): Effect.fn.Return<void, SqlError> {
  const upsert = (table: string, key: string, all: ReadonlyArray<Codec.Columns>) =>
    Effect.forEach(Arr.chunksOf(all, rowsPerStatement), (some) => {
      const columns = Object.keys(some[0]).filter((name) => name !== key)
      const changes = sql.csv(columns.map((name) => sql`${sql(name)} = excluded.${sql(name)}`))
      return sql`INSERT INTO ${sql(table)} ${sql.insert(some)} ON CONFLICT (${sql(key)}) DO UPDATE SET ${changes}`
    }, { discard: true })

  const { authorizations, counters, origins, purchases, sessions } = rows
  yield* upsert("effect_mpp_purchase", "id", Array.from(purchases.changed.values(), Codec.purchaseColumns))
  yield* upsert("effect_mpp_session", "id", Array.from(sessions.changed.values(), Codec.sessionColumns))
  yield* upsert(
    "effect_mpp_authorization",
    "id",
    Array.from(authorizations.changed.values(), Codec.authorizationColumns)
  )
  yield* upsert(
    "effect_mpp_counter",
    "name",
    Array.from(counters.changed, ([name, it]) => Codec.counterColumns(name, it))
  )
  yield* upsert("effect_mpp_origin", "name", Array.from(origins.changed, ([name, it]) => Codec.originColumns(name, it)))
})
