/**
 * All that a ledger has of something, page by page, newest first: however much it is, one page of it is in memory.
 *
 * @since 0.1.0
 */
import * as Effect from "effect/Effect"
import * as Option from "effect/Option"
import * as Stream from "effect/Stream"
import * as Ledger from "../Ledger.ts"
import type * as Query from "../ledger/Query.ts"
import type { LedgerUnavailable } from "../PaymentError.ts"

const pageSize = 200

const all = <A>(
  limit: number,
  first: string | undefined,
  page: (after: string | undefined, limit: number) => Effect.Effect<ReadonlyArray<A>, LedgerUnavailable>,
  idOf: (one: A) => string
): Stream.Stream<A, LedgerUnavailable> =>
  Stream.paginate({ after: first, left: limit }, ({ after, left }) => {
    const wanted = Math.min(pageSize, left)
    return Effect.map(page(after, wanted), (rows) => {
      const last = rows.at(-1)
      const next = last === undefined || rows.length < wanted || left <= wanted
        ? Option.none()
        : Option.some({ after: idOf(last), left: left - wanted })
      return [rows, next] as const
    })
  })

/**
 * The purchases that a query asks for.
 *
 * @category constructors
 * @since 0.1.0
 */
export const purchases = (query: Query.Purchases): Stream.Stream<Query.Paid, LedgerUnavailable, Ledger.Ledger> =>
  Stream.unwrap(Effect.map(Ledger.Ledger, (ledger) =>
    all(
      query.limit ?? Infinity,
      query.after,
      (after, limit) => ledger.purchases({ ...query, after, limit }),
      ({ purchase }) => purchase.id
    )))

/**
 * All that was moved and is not known.
 *
 * @category constructors
 * @since 0.1.0
 */
export const foreigns: Stream.Stream<Ledger.Foreign, LedgerUnavailable, Ledger.Ledger> = Stream.unwrap(
  Effect.map(
    Ledger.Ledger,
    (ledger) =>
      all(Infinity, undefined, (after, limit) => ledger.foreigns({ after, limit }), ({ reference }) => reference)
  )
)

/**
 * All sessions.
 *
 * @category constructors
 * @since 0.1.0
 */
export const sessions: Stream.Stream<Ledger.SessionRecord, LedgerUnavailable, Ledger.Ledger> = Stream.unwrap(
  Effect.map(
    Ledger.Ledger,
    (ledger) => all(Infinity, undefined, (after, limit) => ledger.sessions({ after, limit }), ({ id }) => id)
  )
)
