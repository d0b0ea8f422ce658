/**
 * The rows of one transaction: fetched before a step, changed by it, and written down after all steps. What a step asks for
 * and was not fetched is a mistake of ours, and is thrown rather than taken for absent.
 *
 * @since 0.1.0
 */
import { Books, type Counter, emptyCounter, emptyOrigin, type Figures, type Origin } from "../ledger/Books.ts"
import type { Authorization, Purchase, SessionRecord } from "../ledger/Model.ts"
import type { AuthorizationRow, PurchaseRow, Rows, SessionRow } from "../ledger/Rows.ts"
import * as Transition from "../ledger/Transition.ts"
import type { Sequenced } from "./Codec.ts"
import type { Kept, OlderBuckets } from "./OlderBuckets.ts"

/** Rows of one kind by their name: those that are there, those that are not, and those that were changed. */
class Cache<A> {
  readonly known = new Map<string, A | undefined>()
  readonly changed = new Map<string, A>()
  private readonly what: string

  constructor(what: string) {
    this.what = what
  }

  find(name: string): A | undefined {
    if (!this.known.has(name)) throw new Error(`${this.what} was not fetched`)
    return this.known.get(name)
  }

  missing(names: Iterable<string>): ReadonlyArray<string> {
    return [...new Set(names)].filter((name) => !this.known.has(name))
  }

  change(name: string, row: A): void {
    this.known.set(name, row)
    this.changed.set(name, row)
  }
}

class CachedFigures<A> extends Cache<A> implements Figures<A> {
  private readonly empty: () => A

  constructor(what: string, empty: () => A) {
    super(what)
    this.empty = empty
  }

  get(name: string): A {
    const figures = this.find(name) ?? this.empty()
    this.change(name, figures)
    return figures
  }
}

/**
 * Who writes, and who else lives.
 *
 * @category models
 * @since 0.1.0
 */
export interface Writer {
  readonly lease: string
  readonly isAlive: (lease: string) => boolean
  /** The place of the last row that was made. */
  readonly sequence: number
  readonly older: OlderBuckets
}

/**
 * @category models
 * @since 0.1.0
 */
export class SqlRows implements Rows {
  readonly lease: string
  readonly isAlive: (lease: string) => boolean
  sequence: number
  readonly older: OlderBuckets

  readonly purchases = new Cache<PurchaseRow & Sequenced>("a purchase")
  readonly authorizations = new Cache<AuthorizationRow & Sequenced>("an authorisation")
  readonly sessions = new Cache<SessionRow & Sequenced>("a session")
  readonly counters = new CachedFigures<Counter>("a counter", emptyCounter)
  readonly origins = new CachedFigures<Origin>("an origin", emptyOrigin)
  readonly books = new Books(this.counters, this.origins)
  /** The older buckets of the counters that were fetched, as the table has them. */
  readonly keptOlder = new Map<string, Kept>()

  /** Which authorisations belong to a purchase, and which open draws to a session, where that was fetched. */
  readonly paying = new Map<string, Set<string>>()
  readonly drawing = new Map<string, Set<string>>()
  /** The purchases of a key that may be resumed, as far as they were fetched. */
  readonly resumable = new Map<string, Set<string>>()

  constructor({ isAlive, lease, older, sequence }: Writer) {
    this.older = older
    this.lease = lease
    this.isAlive = isAlive
    this.sequence = sequence
  }

  purchase = (id: string) => this.purchases.find(id)

  authorization = (id: string) => this.authorizations.find(id)

  session = (id: string) => this.sessions.find(id)

  authorizationsOf = (purchase: string) => {
    const ids = this.paying.get(purchase)
    if (ids === undefined) throw new Error("the authorisations of a purchase were not fetched")
    return this.inOrder(ids)
  }

  openDraws = (session: string) => {
    const ids = this.drawing.get(session)
    if (ids === undefined) throw new Error("the draws of a session were not fetched")
    return this.inOrder(ids).filter(({ value }) => Transition.isOpen(value.state))
  }

  claimable = (key: string) => {
    const ids = this.resumable.get(key)
    if (ids === undefined) throw new Error("the purchases of a key were not fetched")
    return Array.from(ids).flatMap((id) => this.purchases.find(id) ?? [])
      .filter((row) => row.value.delivery === "undelivered" || row.value.delivery === "broken")
      .toSorted((one, other) => one.seq - other.seq).at(-1)
  }

  addPurchase = (row: PurchaseRow) => {
    const { id, key } = row.value
    this.purchases.change(id, { ...row, seq: ++this.sequence })
    this.paying.set(id, new Set())
    this.resumable.get(key)?.add(id)
  }

  addAuthorization = (row: AuthorizationRow) => {
    const { id, plan, purchase = "", session = "" } = row.value
    this.authorizations.change(id, { ...row, seq: ++this.sequence })
    this.paying.get(purchase)?.add(id)
    if (plan.kind === "draw") this.drawing.get(session)?.add(id)
  }

  addSession = (row: SessionRow) => {
    this.sessions.change(row.value.id, { ...row, seq: ++this.sequence })
    this.drawing.set(row.value.id, new Set())
  }

  updatePurchase = (row: PurchaseRow, value: Purchase, lease = row.lease) => {
    this.update(this.purchases, row, value, lease)
  }

  updateAuthorization = (row: AuthorizationRow, value: Authorization, lease = row.lease) => {
    this.update(this.authorizations, row, value, lease)
  }

  updateSession = (row: SessionRow, value: SessionRecord, lease = row.lease) => {
    this.update(this.sessions, row, value, lease)
  }

  private update<A extends { readonly id: string }>(
    cache: Cache<{ value: A; lease: string } & Sequenced>,
    row: { value: A; lease: string },
    value: A,
    lease: string
  ): void {
    const kept = cache.find(value.id)
    if (kept === undefined || (kept.value === value && kept.lease === lease)) return
    row.value = value
    row.lease = lease
    kept.value = value
    kept.lease = lease
    cache.change(value.id, kept)
  }

  private inOrder(ids: Iterable<string>) {
    return Array.from(ids).flatMap((id) => this.authorizations.find(id) ?? [])
      .toSorted((one, other) => one.seq - other.seq)
  }
}
