/**
 * Fetches the rows that steps want, as few statements as there are tables, and writes down what they have changed.
 *
 * @since 0.1.0
 */
import * as Arr from "effect/Array"
import * as Effect from "effect/Effect"
import type { SqlClient } from "effect/sql/SqlClient"
import type { SqlError } from "effect/sql/SqlError"
import { type Fragment, fragment, parameter } from "effect/sql/Statement"
import * as Codec from "./Codec.ts"
import * as OlderBuckets from "./OlderBuckets.ts"
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

const purchasesWhere = (sql: SqlClient, where: Fragment) =>
  sql<Codec.PurchaseColumns>`
    SELECT id, seq, lease, counted_at, counters, record FROM effect_mpp_purchase WHERE ${where}`

const authorizationsWhere = (sql: SqlClient, where: Fragment) =>
  sql<Codec.AuthorizationColumns>`
    SELECT id, seq, lease, spent, record FROM effect_mpp_authorization WHERE ${where}`

const sessionsWhere = (sql: SqlClient, where: Fragment) =>
  sql<Codec.SessionColumns>`SELECT id, seq, lease, record FROM effect_mpp_session WHERE ${where}`

const countersNamed = (sql: SqlClient, older: OlderBuckets.OlderBuckets, names: ReadonlySet<string>) =>
  sql<Codec.CounterColumns>`
    SELECT c.name, c.exposed, c.spent, c.count, c.older, o.spent AS older_spent, o.count AS older_count,
      (SELECT time FROM effect_mpp_ledger WHERE one = 1) AS time
    FROM effect_mpp_counter c LEFT JOIN effect_mpp_counter_older o
      ON o.name = c.name AND o.version = c.older AND NOT ${among(sql, "o.version", older.versions(names))}
    WHERE ${among(sql, "c.name", names)}`

const originsNamed = (sql: SqlClient, names: ReadonlySet<string>) =>
  sql<Codec.OriginColumns>`
    SELECT name, hanging, abandoned, refused FROM effect_mpp_origin WHERE ${among(sql, "name", names)}`

// What a step has changed already is newer than what the table says, and is kept.

const addPurchases = ({ purchases: { known } }: SqlRows, found: ReadonlyArray<Codec.PurchaseColumns>) =>
  found.map((row) => {
    if (!known.get(row.id)) known.set(row.id, Codec.purchase(row))
    return row.id
  })

const addAuthorizations = ({ authorizations: { known } }: SqlRows, found: ReadonlyArray<Codec.AuthorizationColumns>) =>
  found.map((row) => {
    if (!known.get(row.id)) known.set(row.id, Codec.authorization(row))
    return row.id
  })

const addSessions = ({ sessions: { known } }: SqlRows, found: ReadonlyArray<Codec.SessionColumns>) =>
  found.map((row) => {
    if (!known.get(row.id)) known.set(row.id, Codec.session(row))
    return row.id
  })

/** What is read of older buckets is remembered. */
const readCounters = (older: OlderBuckets.OlderBuckets, found: ReadonlyArray<Codec.CounterColumns>) =>
  found.map((row) => {
    const known = older.find(row.name, row.older)
    const kept = known ?? Codec.olderBuckets(row)
    if (known === undefined) older.keep(row.name, kept)
    return { name: row.name, time: row.time, counter: Codec.counter(row, kept, older.texts), older: kept }
  })

/**
 * Fetches the purchases of a condition, and answers their identifiers.
 *
 * @category fetching
 * @since 0.1.0
 */
export const purchases = (sql: SqlClient, rows: SqlRows, where: Fragment) =>
  Effect.map(purchasesWhere(sql, where), (found) => addPurchases(rows, found))

/**
 * Fetches the authorisations of a condition, and answers their identifiers.
 *
 * @category fetching
 * @since 0.1.0
 */
export const authorizations = (sql: SqlClient, rows: SqlRows, where: Fragment) =>
  Effect.map(authorizationsWhere(sql, where), (found) => addAuthorizations(rows, found))

/**
 * Fetches the sessions of a condition, and answers their identifiers.
 *
 * @category fetching
 * @since 0.1.0
 */
export const sessions = (sql: SqlClient, rows: SqlRows, where: Fragment) =>
  Effect.map(sessionsWhere(sql, where), (found) => addSessions(rows, found))

/**
 * Fetches counters, and what time the ledger has told last. Of their older buckets only those are read that this process
 * does not know.
 *
 * @category fetching
 * @since 0.1.0
 */
export const counters = (sql: SqlClient, older: OlderBuckets.OlderBuckets, names: ReadonlySet<string>) =>
  Effect.map(countersNamed(sql, older, names), (found) => readCounters(older, found))

/** What was looked for and is not there is known to be absent. */
const absent = (known: Map<string, unknown>, names: Iterable<string>) => {
  for (const name of names) if (!known.has(name)) known.set(name, undefined)
}

/** A statement, and what is done with the rows that it finds. */
interface Search {
  readonly statement: Fragment
  readonly run: Effect.Effect<void, SqlError>
  /** The rows as JSON. */
  readonly read: (found: ReadonlyArray<string>) => void
}

/** None, if nothing is wanted. */
const search = <Row extends object>(
  names: ReadonlySet<string>,
  make: () => Fragment & Effect.Effect<ReadonlyArray<Row>, SqlError>,
  read: (found: ReadonlyArray<Row>) => void
): ReadonlyArray<Search> => {
  if (names.size === 0) return []
  const statement = make()
  return [{
    statement,
    run: Effect.map(statement, read),
    read: (found) => read(found.map((row): Row => JSON.parse(row)))
  }]
}

/** One after the other, or all at once where every statement is a journey to a server. */
const searchAll = (sql: SqlClient, all: ReadonlyArray<Search>): Effect.Effect<void, SqlError> => {
  if (all.length < 2) return Effect.forEach(all, ({ run }) => run, { discard: true })
  const parts = all.map(({ statement }, at) =>
    sql`SELECT ${sql.literal(String(at))} AS at, row_to_json(r)::text AS found FROM (${statement}) r`
  )
  return sql.onDialectOrElse({
    pg: () =>
      Effect.map(
        sql<{ readonly at: number; readonly found: string }>`${sql.join(" UNION ALL ", false)(parts)}`,
        (found) => all.forEach(({ read }, at) => read(found.flatMap((row) => row.at === at ? [row.found] : [])))
      ),
    orElse: () => Effect.forEach(all, ({ run }) => run, { discard: true })
  })
}

const wanted = (sql: SqlClient, rows: SqlRows, wants: Wants): Effect.Effect<void, SqlError> => {
  const authorization = (id: string) => rows.authorizations.known.get(id)?.value
  for (const id of wants.paying) rows.paying.set(id, new Set())
  for (const id of wants.drawing) rows.drawing.set(id, new Set())
  const draws = () =>
    authorizationsWhere(
      sql,
      sql.and([
        among(sql, "session", wants.drawing),
        sql`kind = 'draw'`,
        sql`state IN ('signed', 'unknown', 'rejected')`
      ])
    )
  return searchAll(sql, [
    ...search(wants.purchases, () => purchasesWhere(sql, among(sql, "id", wants.purchases)), (found) => {
      addPurchases(rows, found)
      absent(rows.purchases.known, wants.purchases)
    }),
    ...search(wants.sessions, () => sessionsWhere(sql, among(sql, "id", wants.sessions)), (found) => {
      addSessions(rows, found)
      absent(rows.sessions.known, wants.sessions)
    }),
    ...search(wants.authorizations, () => authorizationsWhere(sql, among(sql, "id", wants.authorizations)), (found) => {
      addAuthorizations(rows, found)
      absent(rows.authorizations.known, wants.authorizations)
    }),
    ...search(wants.paying, () => authorizationsWhere(sql, among(sql, "purchase", wants.paying)), (found) => {
      for (const id of addAuthorizations(rows, found)) rows.paying.get(authorization(id)?.purchase ?? "")?.add(id)
    }),
    ...search(wants.drawing, draws, (found) => {
      for (const id of addAuthorizations(rows, found)) rows.drawing.get(authorization(id)?.session ?? "")?.add(id)
    }),
    ...search(wants.counters, () => countersNamed(sql, rows.older, wants.counters), (found) => {
      for (const { counter, name, older } of readCounters(rows.older, found)) {
        rows.counters.known.set(name, counter)
        rows.keptOlder.set(name, older)
      }
      absent(rows.counters.known, wants.counters)
    }),
    ...search(wants.origins, () => originsNamed(sql, wants.origins), (found) => {
      for (const row of found) rows.origins.known.set(row.name, Codec.origin(row))
      absent(rows.origins.known, wants.origins)
    })
  ])
}

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

/** SQLite takes so many parameters in one statement, and more. */
const rowsPerStatement = 200

/** A column of several rows, for PostgreSQL. Numbers are whole. */
const column = (sql: SqlClient, values: ReadonlyArray<Codec.Columns[string]>): Fragment => {
  // The shorter one of several lists is filled up with nulls.
  if (values.every((value) => value === null)) return sql`NULL::text[]`
  const texts = fragment([parameter(values.map((value) => value === null ? null : String(value)))])
  return values.some((value) => typeof value === "number") ? sql`${texts}::text[]::bigint[]` : sql`${texts}::text[]`
}

/** Statements that write rows. In PostgreSQL their text does not depend on how many rows there are: it is parsed once. */
const upsert = (sql: SqlClient, table: string, key: string, all: ReadonlyArray<Codec.Columns>) => {
  if (!Arr.isReadonlyArrayNonEmpty(all)) return []
  const columns = Object.keys(all[0])
  const changes = sql.csv(columns.filter((it) => it !== key).map((name) => sql`${sql(name)} = excluded.${sql(name)}`))
  const end = sql`ON CONFLICT (${sql(key)}) DO UPDATE SET ${changes}`
  return sql.onDialectOrElse({
    pg: () => {
      const names = sql.csv(columns.map((name) => sql`${sql(name)}`))
      const lists = sql.csv(columns.map((name) => column(sql, all.map((row) => row[name] ?? null))))
      return [sql`INSERT INTO ${sql(table)} (${names}) SELECT * FROM unnest(${lists}) ${end}`]
    },
    orElse: () =>
      Arr.chunksOf(all, rowsPerStatement).map((some) => sql`INSERT INTO ${sql(table)} ${sql.insert(some)} ${end}`)
  })
}

/** All at once where every statement is a journey to a server. None of them may depend on another. */
const runAll = (sql: SqlClient, statements: ReadonlyArray<Fragment & Effect.Effect<unknown, SqlError>>) => {
  if (!Arr.isReadonlyArrayNonEmpty(statements)) return Effect.void
  const [first, ...others] = statements
  const named = others.map((statement, at) => sql`${sql(`write_${at}`)} AS (${statement})`)
  return sql.onDialectOrElse({
    pg: () => Effect.asVoid(others.length === 0 ? first : sql`${sql.csv("WITH", named)} ${first}`),
    orElse: () => Effect.forEach(statements, (statement) => statement, { discard: true })
  })
}

/**
 * Writes down what the steps have changed, and the time and the sequence of the ledger if they have moved.
 *
 * @category writing
 * @since 0.1.0
 */
export const flush = (sql: SqlClient, rows: SqlRows, hasMoved: boolean): Effect.Effect<void, SqlError> =>
  Effect.suspend(() => {
    const { authorizations, books, counters, origins, purchases, sequence, sessions } = rows
    const older: Array<Codec.Columns> = []
    const figures = Array.from(counters.changed, ([name, it]) => {
      const kept = rows.keptOlder.get(name) ?? OlderBuckets.none
      if (it.spent.older === kept.spent && it.count.older === kept.count) {
        return Codec.counterColumns(name, it, kept.version, rows.older.texts)
      }
      const version = rows.older.newVersion(rows.lease)
      older.push(Codec.olderColumns(name, it, version))
      return Codec.counterColumns(name, it, version, rows.older.texts)
    })
    const charged = Array.from(authorizations.changed.values(), Codec.authorizationColumns)
    return runAll(sql, [
      ...upsert(sql, "effect_mpp_purchase", "id", Array.from(purchases.changed.values(), Codec.purchaseColumns)),
      ...upsert(sql, "effect_mpp_session", "id", Array.from(sessions.changed.values(), Codec.sessionColumns)),
      ...upsert(sql, "effect_mpp_authorization", "id", charged),
      ...upsert(sql, "effect_mpp_counter_older", "name", older),
      ...upsert(sql, "effect_mpp_counter", "name", figures),
      ...upsert(
        sql,
        "effect_mpp_origin",
        "name",
        Array.from(origins.changed, ([name, it]) => Codec.originColumns(name, it))
      ),
      ...(hasMoved
        ? [sql`UPDATE effect_mpp_ledger SET time = ${books.last}, sequence = ${sequence} WHERE one = 1`]
        : [])
    ])
  })
