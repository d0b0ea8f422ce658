/**
 * What can be asked of a ledger about what was paid.
 *
 * @since 0.1.0
 */
import type { Foreign } from "./Foreign.ts"
import type { Authorization, Delivery, Purchase, SessionRecord, SessionState, State } from "./Model.ts"

/**
 * A purchase, and all that was authorised for it.
 *
 * @category models
 * @since 0.1.0
 */
export interface Paid {
  readonly purchase: Purchase
  readonly authorizations: ReadonlyArray<Authorization>
}

/**
 * Which purchases are asked for; all that is said must hold. The newest come first.
 *
 * @category models
 * @since 0.1.0
 */
export interface Purchases {
  readonly id?: string | undefined
  readonly agent?: string | undefined
  /** Scheme, host and port of the merchant. */
  readonly origin?: string | undefined
  readonly delivery?: ReadonlyArray<Delivery> | undefined
  /** At least one of the purchase's authorisations is in one of these states. */
  readonly state?: ReadonlyArray<State> | undefined
  /** The name of the rail that at least one of its authorisations was made by. */
  readonly rail?: string | undefined
  /** Begun at this time or later, in milliseconds since the epoch. */
  readonly since?: number | undefined
  /** Begun before this time. */
  readonly until?: number | undefined
  /** Only what this process has begun, or goes on with. */
  readonly mine?: boolean | undefined
  /** At most so many. */
  readonly limit?: number | undefined
  /** Only what was begun before this purchase: the next page. */
  readonly after?: string | undefined
}

/**
 * Which sessions are asked for.
 *
 * @category models
 * @since 0.1.0
 */
export interface Sessions {
  readonly state?: ReadonlyArray<typeof SessionState.Type> | undefined
  readonly origin?: string | undefined
  readonly limit?: number | undefined
  /** Only what was begun before this session: the next page. */
  readonly after?: string | undefined
}

/**
 * Which of the money is asked for that was moved and is not known.
 *
 * @category models
 * @since 0.1.0
 */
export interface Foreigns {
  /** Only what this ledger may have known once, and what no purchase was stopped for. */
  readonly maybeForgotten?: true | undefined
  readonly limit?: number | undefined
  /** Only what was noted before the one of this reference: the next page. */
  readonly after?: string | undefined
}

/**
 * A page of authorisations, in the order of their identifiers.
 *
 * @category models
 * @since 0.1.0
 */
export interface Page {
  readonly after: string
  readonly limit: number
}

const isOneOf = <A>(all: ReadonlyArray<A> | undefined, one: A): boolean => all === undefined || all.includes(one)

const is = <A>(wanted: A | undefined, one: A): boolean => wanted === undefined || wanted === one

/** What was begun before one of them, or all. */
const before = <A>(all: ReadonlyArray<A>, after: string | undefined, idOf: (one: A) => string): ReadonlyArray<A> =>
  after === undefined ? all : all.slice(0, Math.max(0, all.findIndex((one) => idOf(one) === after)))

/**
 * The purchases that a query asks for, of all that one process has made, in the order in which they were begun.
 *
 * @category filtering
 * @since 0.1.0
 */
export const purchases = (all: ReadonlyArray<Paid>, query: Purchases): ReadonlyArray<Paid> =>
  before(all, query.after, ({ purchase }) => purchase.id).filter(({ authorizations, purchase }) =>
    is(query.id, purchase.id) && is(query.agent, purchase.agent) && is(query.origin, purchase.origin) &&
    isOneOf(query.delivery, purchase.delivery) &&
    (query.state === undefined || authorizations.some(({ state }) => isOneOf(query.state, state))) &&
    (query.rail === undefined || authorizations.some(({ plan }) => plan.rail === query.rail)) &&
    purchase.createdAt >= (query.since ?? 0) && purchase.createdAt < (query.until ?? Infinity)
  ).toReversed().slice(0, query.limit)

/**
 * The sessions that a query asks for.
 *
 * @category filtering
 * @since 0.1.0
 */
export const sessions = (all: ReadonlyArray<SessionRecord>, query: Sessions): ReadonlyArray<SessionRecord> =>
  before(all, query.after, ({ id }) => id)
    .filter((one) => isOneOf(query.state, one.state) && is(query.origin, one.origin))
    .toReversed().slice(0, query.limit)

/**
 * The money that a query asks for, of all that was noted, in the order in which it was.
 *
 * @category filtering
 * @since 0.1.0
 */
export const foreigns = (all: ReadonlyArray<Foreign>, query: Foreigns): ReadonlyArray<Foreign> =>
  before(all, query.after, ({ reference }) => reference)
    .filter((one) => query.maybeForgotten === undefined || one.maybeForgotten)
    .toReversed().slice(0, query.limit)

/**
 * The authorisations of a page.
 *
 * @category filtering
 * @since 0.1.0
 */
export const page = (all: ReadonlyArray<Authorization>, { after, limit }: Page): ReadonlyArray<Authorization> =>
  all.filter(({ id }) => id > after).toSorted((one, other) => one.id < other.id ? -1 : 1).slice(0, limit)
