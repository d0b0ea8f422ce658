/**
 * What is read of a ledger outside of its steps.
 *
 * @since 0.1.0
 */
import * as Clock from "effect/Clock"
import * as Effect from "effect/Effect"
import * as Option from "effect/Option"
import type { Fragment } from "effect/sql/Statement"
import { Books, type Counter, emptyCounter, emptyOrigin, type Figures, type Origin } from "../ledger/Books.ts"
import type { About, Authorization } from "../ledger/Model.ts"
import type * as Query from "../ledger/Query.ts"
import * as Transition from "../ledger/Transition.ts"
import type { Backend } from "./Backend.ts"
import * as Codec from "./Codec.ts"
import { among, counters } from "./Fetch.ts"
import type { OlderBuckets } from "./OlderBuckets.ts"

/** Figures of one name, to be read. */
const only = <A>(known: A | undefined, empty: () => A): Figures<A> => ({
  find: () => known,
  get: () => known ?? empty()
})

const booksOf = (now: number, counter?: Counter, origin?: Origin): Books => {
  const books = new Books(only(counter, emptyCounter), only(origin, emptyOrigin))
  books.tick(now)
  return books
}

/** The whole of a table, if nothing is asked of it. */
const limited = (limit: number | undefined) => limit ?? Number.MAX_SAFE_INTEGER

/**
 * @category constructors
 * @since 0.1.0
 */
export const make = ({ boot, now: leaseTime, sql }: Backend, older: OlderBuckets) => {
  const one = <A, Row extends object>(found: ReadonlyArray<Row>, read: (row: Row) => { readonly value: A }) =>
    Option.map(Option.fromUndefinedOr(found[0]), (row) => read(row).value)

  /** Ledger time never goes back, whatever the clock of this process says. */
  const time = (row: { readonly time: number | string | bigint } | undefined) =>
    Effect.map(Clock.currentTimeMillis, (now) => Math.max(Math.floor(now), Number(row?.time ?? 0)))

  const all = (conditions: ReadonlyArray<Fragment>): Fragment =>
    conditions.length === 0 ? sql`1 = 1` : sql.and(conditions)

  const authorizationsOf = Effect.fnUntraced(function*(purchases: ReadonlyArray<string>) {
    const found = yield* sql<Codec.AuthorizationColumns>`
      SELECT id, seq, lease, spent, record FROM effect_mpp_authorization
      WHERE ${among(sql, "purchase", purchases)} ORDER BY seq`
    const all = new Map<string, Array<Authorization>>()
    for (const row of found) {
      const { value } = Codec.authorization(row)
      const known = all.get(value.purchase ?? "")
      if (known === undefined) all.set(value.purchase ?? "", [value])
      else known.push(value)
    }
    return all
  })

  return {
    about: Effect.map(
      sql<{ id: string; generation: number | string | bigint; time: number | string | bigint }>`
        SELECT id, generation, time FROM effect_mpp_ledger WHERE one = 1`,
      ([row]): About => ({
        id: row?.id ?? "",
        generation: Number(row?.generation ?? 1),
        durable: true,
        authorizedAt: Number(row?.time ?? 0)
      })
    ),

    authorization: (id: string) =>
      Effect.map(
        sql<Codec.AuthorizationColumns>`
          SELECT id, seq, lease, spent, record FROM effect_mpp_authorization WHERE id = ${id}`,
        (found) => one(found, Codec.authorization)
      ),

    session: (id: string) =>
      Effect.map(
        sql<Codec.SessionColumns>`SELECT id, seq, lease, record FROM effect_mpp_session WHERE id = ${id}`,
        (found) => one(found, Codec.session)
      ),

    sessions: (query: Query.Sessions) =>
      Effect.map(
        sql<Codec.SessionColumns>`
          SELECT id, seq, lease, record FROM effect_mpp_session
          WHERE ${
          all([
            ...(query.state === undefined ? [] : [among(sql, "state", query.state)]),
            ...(query.origin === undefined ? [] : [sql`origin = ${query.origin}`]),
            ...(query.after === undefined
              ? []
              : [sql`seq < (SELECT s.seq FROM effect_mpp_session s WHERE s.id = ${query.after})`])
          ])
        } ORDER BY seq DESC LIMIT ${limited(query.limit)}`,
        (found) => found.map((row) => Codec.session(row).value)
      ),

    purchases: Effect.fnUntraced(function*(query: Query.Purchases, mine: string) {
      const paying = (condition: Fragment) =>
        sql`EXISTS (SELECT 1 FROM effect_mpp_authorization a WHERE a.purchase = effect_mpp_purchase.id AND ${condition})`
      const conditions: ReadonlyArray<Fragment> = [
        ...(query.id === undefined ? [] : [sql`id = ${query.id}`]),
        ...(query.agent === undefined ? [] : [sql`agent = ${query.agent}`]),
        ...(query.origin === undefined ? [] : [sql`origin = ${query.origin}`]),
        ...(query.delivery === undefined ? [] : [among(sql, "delivery", query.delivery)]),
        ...(query.state === undefined ? [] : [paying(among(sql, "state", query.state))]),
        ...(query.rail === undefined ? [] : [paying(sql`a.rail = ${query.rail}`)]),
        ...(query.since === undefined ? [] : [sql`created_at >= ${query.since}`]),
        ...(query.until === undefined ? [] : [sql`created_at < ${query.until}`]),
        ...(query.mine === true ? [sql`lease = ${mine}`] : []),
        ...(query.after === undefined
          ? []
          : [sql`seq < (SELECT p.seq FROM effect_mpp_purchase p WHERE p.id = ${query.after})`])
      ]
      const found = yield* sql<Codec.PurchaseColumns>`
        SELECT id, seq, lease, counted_at, counters, record FROM effect_mpp_purchase
        WHERE ${all(conditions)} ORDER BY seq DESC LIMIT ${limited(query.limit)}`
      const authorizations = yield* authorizationsOf(found.map(({ id }) => id))
      return found.map((row): Query.Paid => {
        const purchase = Codec.purchase(row).value
        return { purchase, authorizations: authorizations.get(purchase.id) ?? [] }
      })
    }),

    unproven: ({ after, limit }: Query.Page) =>
      Effect.map(
        sql<Codec.AuthorizationColumns>`
          SELECT id, seq, lease, spent, record FROM effect_mpp_authorization
          WHERE unproven = 1 AND id > ${after} ORDER BY id LIMIT ${limit}`,
        (found) => found.map((row) => Codec.authorization(row).value)
      ),

    unsettled: Effect.gen(function*() {
      const found = yield* sql<
        Codec.AuthorizationColumns & {
          readonly delivery: string | null
          readonly session: string | null
          readonly session_lease: string | null
          readonly session_seq: number | string | bigint | null
        }
      >`
        SELECT a.id, a.seq, a.lease, a.spent, a.record, p.delivery,
          s.record AS session, s.lease AS session_lease, s.seq AS session_seq
        FROM effect_mpp_authorization a
          LEFT JOIN effect_mpp_purchase p ON p.id = a.purchase
          LEFT JOIN effect_mpp_session s ON s.id = a.session
        WHERE a.state IN ('signed', 'unknown', 'rejected') ORDER BY a.seq`
      if (found.length === 0) return []
      const until = yield* leaseTime
      const running = new Set(
        (yield* sql<{ id: string }>`SELECT id FROM effect_mpp_lease WHERE boot = ${boot} AND until > ${until}`)
          .map(({ id }) => id)
      )
      const [ledger] = yield* sql<{ time: number | string | bigint }>`SELECT time FROM effect_mpp_ledger WHERE one = 1`
      const now = yield* time(ledger)
      return found.flatMap((row): ReadonlyArray<Authorization> => {
        const { lease, value } = Codec.authorization(row)
        const keeper = row.session === null
          ? undefined
          : Codec.session({ id: "", seq: row.session_seq ?? 0, lease: row.session_lease ?? "", record: row.session })
            .value
        const delivery = Codec.delivery(row.delivery)
        return running.has(lease) && Transition.hasOwner(value, { keeper, delivery, now }) ? [] : [value]
      })
    }),

    standing: Effect.fnUntraced(function*(counter: string, windowMillis: number) {
      const [known] = yield* counters(sql, older, new Set([counter]))
      return booksOf(yield* time(known), known?.counter).standing(counter, windowMillis)
    }),

    conduct: Effect.fnUntraced(function*(origin: string, windowMillis: number) {
      const [row] = yield* sql<Codec.OriginColumns & { readonly time: number }>`
        SELECT l.time, o.name, o.hanging, o.abandoned, o.refused
        FROM effect_mpp_ledger l LEFT JOIN effect_mpp_origin o ON o.name = ${origin} WHERE l.one = 1`
      const known = row === undefined || row.name === null ? undefined : Codec.origin(row)
      return booksOf(yield* time(row), undefined, known).conduct(origin, windowMillis)
    }),

    /** Whether an equal request may have something to resume: most have not, and then nothing is written. */
    mayResume: (key: string, mine: string) =>
      Effect.map(
        sql<{ one: number }>`
          SELECT 1 AS one FROM effect_mpp_purchase
          WHERE purchase_key = ${key} AND delivery IN ('open', 'delivering', 'undelivered', 'broken')
            AND (delivery IN ('undelivered', 'broken') OR lease <> ${mine}) LIMIT 1`,
        (found) => found.length > 0
      ),

    leaseOf: (authorization: string) =>
      Effect.map(
        sql<{ lease: string }>`SELECT lease FROM effect_mpp_authorization WHERE id = ${authorization}`,
        (found) => found[0]?.lease
      )
  }
}
