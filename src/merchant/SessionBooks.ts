/**
 * The books of a session endpoint: accounts, their sessions, and what was debited. Plain data and pure steps, so that a
 * store has to do one thing only: apply one step at a time.
 *
 * What an account may still reserve is never stored. It is its balance, less all that was spent, less what its open
 * sessions could still spend; so a session that ends returns its rest by ending.
 *
 * Amounts are micro-dollars, instants milliseconds since the epoch.
 *
 * @since 0.1.0
 */
import * as Context from "effect/Context"
import * as Effect from "effect/Effect"
import * as HashMap from "effect/HashMap"
import * as Layer from "effect/Layer"
import * as Option from "effect/Option"
import type * as Redacted from "effect/Redacted"
import * as Ref from "effect/Ref"
import * as Result from "effect/Result"
import { DebitRefused, OpenRefused } from "./SessionRefusal.ts"

/**
 * Pre-authorised spending of one account at one audience.
 *
 * @category models
 * @since 0.1.0
 */
export interface Session {
  readonly id: string
  readonly account: string
  readonly idempotencyKey: string
  /** Digest of the request that opened it: a key serves one request only. */
  readonly request: string
  readonly token: Redacted.Redacted<string>
  /** What the token is found by. */
  readonly tokenDigest: string
  readonly audience: string
  readonly realm: string
  readonly limitUsd: bigint
  readonly expiresAt: number
  readonly spentUsd: bigint
  readonly closedAt: number | undefined
  /** Debits that carried a request id, and how they were answered. */
  readonly debits: HashMap.HashMap<string, Debited>
}

/**
 * What a session has spent and may still spend, in micro-dollars.
 *
 * @category models
 * @since 0.1.0
 */
export interface Standing {
  readonly sessionId: string
  readonly spentUsd: bigint
  readonly remainingUsd: bigint
  readonly status: "open" | "expired" | "closed"
}

/**
 * What a merchant asks for: the price of one request, at the origin and realm that the token must have been opened for.
 *
 * @category models
 * @since 0.1.0
 */
export interface Charge {
  /** The merchant's own origin. */
  readonly audience: string
  readonly realm: string
  /** Micro-dollars. */
  readonly amountUsd: bigint
  /** Names this debit: asked for again, it is answered as the first time and nothing more is taken. */
  readonly requestId?: string | undefined
}

/**
 * A debit that was made.
 *
 * @category models
 * @since 0.1.0
 */
export interface Debited {
  readonly sessionId: string
  readonly amountUsd: bigint
  readonly remainingUsd: bigint
}

/**
 * An account that may open sessions.
 *
 * @category models
 * @since 0.1.0
 */
export interface Account {
  readonly name: string
  readonly balanceUsd: bigint
}

/**
 * Everything that the authority remembers. An account's `sessions` are those not yet forgotten, the oldest first.
 *
 * @category models
 * @since 0.1.0
 */
export interface Books {
  readonly sessions: HashMap.HashMap<string, Session>
  readonly byToken: HashMap.HashMap<string, string>
  readonly byKey: HashMap.HashMap<string, string>
  readonly accounts: HashMap.HashMap<string, { readonly spentUsd: bigint; readonly sessions: ReadonlyArray<string> }>
  /** All that was ever debited, by audience. */
  readonly moved: HashMap.HashMap<string, bigint>
}

/**
 * Books in which nothing has happened.
 *
 * @category constructors
 * @since 0.1.0
 */
export const empty: Books = {
  sessions: HashMap.empty(),
  byToken: HashMap.empty(),
  byKey: HashMap.empty(),
  accounts: HashMap.empty(),
  moved: HashMap.empty()
}

/**
 * One step: an answer, and the books after it.
 *
 * @category models
 * @since 0.1.0
 */
export type Step<A> = (books: Books) => readonly [A, Books]

/**
 * Where the books are kept. The one promise: steps are applied one at a time.
 *
 * @category services
 * @since 0.1.0
 */
export class Store extends Context.Service<Store, {
  readonly modify: <A>(step: Step<A>) => Effect.Effect<A>
}>()("effect-mpp/merchant/SessionBooks/Store") {
  /** Books in the memory of this process. */
  static readonly layerMemory = (): Layer.Layer<Store> =>
    Layer.effect(
      Store,
      Effect.map(Ref.make(empty), (books) => Store.of({ modify: (step) => Ref.modify(books, step) }))
    )
}

/**
 * Limits that hold for every account.
 *
 * @category models
 * @since 0.1.0
 */
export interface Rules {
  readonly maxOpenSessions: number
  /** For how long after its end a session can still be read, in milliseconds. */
  readonly retention: number
}

const keyOf = (account: string, idempotencyKey: string) => `${account}\n${idempotencyKey}`

const endOf = (session: Session): number => session.closedAt ?? session.expiresAt

const accountOf = (books: Books, name: string) =>
  Option.getOrElse(HashMap.get(books.accounts, name), () => ({ spentUsd: 0n, sessions: [] as ReadonlyArray<string> }))

const sessionsOf = (books: Books, account: string): ReadonlyArray<Session> =>
  accountOf(books, account).sessions.flatMap((id) => Option.toArray(HashMap.get(books.sessions, id)))

/**
 * @category getters
 * @since 0.1.0
 */
export const statusOf = (session: Session, now: number): Standing["status"] =>
  session.closedAt !== undefined ? "closed" : now < session.expiresAt ? "open" : "expired"

/**
 * What a session may still spend: nothing once it has ended.
 *
 * @category getters
 * @since 0.1.0
 */
export const remainingOf = (session: Session, now: number): bigint =>
  statusOf(session, now) === "open" ? session.limitUsd - session.spentUsd : 0n

/**
 * @category getters
 * @since 0.1.0
 */
export const standingOf = (session: Session, now: number): Standing => ({
  sessionId: session.id,
  spentUsd: session.spentUsd,
  remainingUsd: remainingOf(session, now),
  status: statusOf(session, now)
})

/**
 * How an account stands: `spentUsd + reservedUsd + availableUsd` is always its balance.
 *
 * @category getters
 * @since 0.1.0
 */
export const balanceOf = (books: Books, account: Account, now: number) => {
  const { spentUsd } = accountOf(books, account.name)
  const reservedUsd = sessionsOf(books, account.name).reduce((sum, session) => sum + remainingOf(session, now), 0n)
  return { spentUsd, reservedUsd, availableUsd: account.balanceUsd - spentUsd - reservedUsd }
}

/**
 * Finds a session of an account, by its id or by the key that opened it.
 *
 * @category getters
 * @since 0.1.0
 */
export const find = (
  books: Books,
  account: string,
  by: { readonly sessionId: string } | { readonly idempotencyKey: string }
): Option.Option<Session> =>
  ("sessionId" in by
    ? Option.some(by.sessionId)
    : HashMap.get(books.byKey, keyOf(account, by.idempotencyKey))).pipe(
      Option.flatMap((id) => HashMap.get(books.sessions, id)),
      Option.filter((session) => session.account === account)
    )

/**
 * Opens a session, or finds the one that the same request opened before.
 *
 * @category steps
 * @since 0.1.0
 */
export const open = (
  candidate: Session,
  account: Account,
  rules: Rules,
  now: number
): Step<Result.Result<Session, OpenRefused>> =>
(before) => {
  const books = forget(before, account.name, now - rules.retention)
  const refuse = (why: OpenRefused["why"]) => [Result.fail(new OpenRefused({ why })), books] as const
  const known = find(books, account.name, candidate)
  if (Option.isSome(known)) {
    if (known.value.request !== candidate.request) return refuse("idempotency-key-reused")
    return statusOf(known.value, now) === "open" ? [Result.succeed(known.value), books] : refuse("session-ended")
  }
  const openSessions = sessionsOf(books, account.name).filter((session) => statusOf(session, now) === "open")
  if (openSessions.length >= rules.maxOpenSessions) return refuse("too-many-sessions")
  if (balanceOf(books, account, now).availableUsd < candidate.limitUsd) return refuse("insufficient-balance")
  const { sessions, spentUsd } = accountOf(books, account.name)
  return [Result.succeed(candidate), {
    ...books,
    sessions: HashMap.set(books.sessions, candidate.id, candidate),
    byToken: HashMap.set(books.byToken, candidate.tokenDigest, candidate.id),
    byKey: HashMap.set(books.byKey, keyOf(account.name, candidate.idempotencyKey), candidate.id),
    accounts: HashMap.set(books.accounts, account.name, { spentUsd, sessions: [...sessions, candidate.id] })
  }]
}

/**
 * Takes an amount from a session. A request id that was debited before is answered as it was then.
 *
 * @category steps
 * @since 0.1.0
 */
export const debit = (
  tokenDigest: string,
  charge: Charge,
  now: number
): Step<Result.Result<Debited, DebitRefused>> =>
(books) => {
  const session = Option.getOrUndefined(
    Option.flatMap(HashMap.get(books.byToken, tokenDigest), (id) => HashMap.get(books.sessions, id))
  )
  const remainingUsd = session === undefined ? 0n : remainingOf(session, now)
  const refuse = (why: DebitRefused["why"]) => [Result.fail(new DebitRefused({ why, remainingUsd })), books] as const
  if (session === undefined) return refuse("unknown-token")
  if (session.audience !== charge.audience || session.realm !== charge.realm) return refuse("wrong-audience")
  const earlier = charge.requestId === undefined ? undefined : Option.getOrUndefined(
    HashMap.get(session.debits, charge.requestId)
  )
  if (earlier !== undefined) {
    return earlier.amountUsd === charge.amountUsd ? [Result.succeed(earlier), books] : refuse("request-id-reused")
  }
  const status = statusOf(session, now)
  if (status !== "open") return refuse(status)
  if (charge.amountUsd < 0n) return refuse("invalid-amount")
  const spentUsd = session.spentUsd + charge.amountUsd
  if (spentUsd > session.limitUsd) return refuse("exhausted")
  const debited: Debited = {
    sessionId: session.id,
    amountUsd: charge.amountUsd,
    remainingUsd: session.limitUsd - spentUsd
  }
  const account = accountOf(books, session.account)
  return [Result.succeed(debited), {
    ...books,
    sessions: HashMap.set(books.sessions, session.id, {
      ...session,
      spentUsd,
      debits: charge.requestId === undefined
        ? session.debits
        : HashMap.set(session.debits, charge.requestId, debited)
    }),
    accounts: HashMap.set(books.accounts, session.account, {
      ...account,
      spentUsd: account.spentUsd + charge.amountUsd
    }),
    moved: HashMap.set(
      books.moved,
      session.audience,
      Option.getOrElse(HashMap.get(books.moved, session.audience), () => 0n) + charge.amountUsd
    )
  }]
}

/**
 * Ends a session of an account. One that has ended before stays as it was.
 *
 * @category steps
 * @since 0.1.0
 */
export const close = (account: string, sessionId: string, now: number): Step<Option.Option<Session>> => (books) => {
  const found = find(books, account, { sessionId })
  if (Option.isNone(found) || statusOf(found.value, now) !== "open") return [found, books]
  const closed = { ...found.value, closedAt: now }
  return [Option.some(closed), { ...books, sessions: HashMap.set(books.sessions, sessionId, closed) }]
}

const forget = (books: Books, name: string, endedBefore: number): Books => {
  const old = sessionsOf(books, name).filter((session) => endOf(session) < endedBefore)
  if (old.length === 0) return books
  const ids = new Set(old.map((session) => session.id))
  const account = accountOf(books, name)
  return {
    ...books,
    sessions: HashMap.removeMany(books.sessions, ids),
    byToken: HashMap.removeMany(books.byToken, old.map((session) => session.tokenDigest)),
    byKey: HashMap.removeMany(books.byKey, old.map((session) => keyOf(name, session.idempotencyKey))),
    accounts: HashMap.set(books.accounts, name, {
      ...account,
      sessions: account.sessions.filter((id) => !ids.has(id))
    })
  }
}
