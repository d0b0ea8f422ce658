/**
 * The rows of a ledger in memory. What has ended is forgotten, the oldest first, when there is much of it; what is open never
 * is. Counters remember spending beyond that, in windows.
 *
 * @since 0.1.0
 */
import * as Option from "effect/Option"
import { Books, type Counter, emptyCounter, emptyOrigin, type Figures, type Origin } from "./Books.ts"
import { Foreign, type Known, known } from "./Foreign.ts"
import type { Authorization, Purchase, SessionRecord } from "./Model.ts"
import * as PurchaseTransition from "./PurchaseTransition.ts"
import * as Query from "./Query.ts"
import type { Rolling } from "./Rolling.ts"
import type { AuthorizationRow, PurchaseRow, Rows, SessionRow } from "./Rows.ts"
import * as Transition from "./Transition.ts"

/**
 * As many purchases, and as many sessions, are kept after they have ended.
 *
 * @category constants
 * @since 0.1.0
 */
export const maxEnded = 10_000

interface KeptPurchase extends PurchaseRow {
  readonly authorizations: Array<string>
  /** How many of them are open. */
  open: number
}

/** Figures are looked through for idle ones when there are so many of them, and again when they have doubled. */
const sweepAt = 1_024

/** Idle figures are forgotten now and then, so that memory is bounded by what still counts. */
class Kept<A> implements Figures<A> {
  private readonly all = new Map<string, A>()
  private threshold = sweepAt
  private readonly empty: () => A
  private readonly isIdle: (figures: A) => boolean

  constructor(empty: () => A, isIdle: (figures: A) => boolean) {
    this.empty = empty
    this.isIdle = isIdle
  }

  find = (name: string): A | undefined => this.all.get(name)

  get = (name: string): A => {
    const known = this.all.get(name)
    if (known !== undefined) return known
    if (this.all.size >= this.threshold) this.sweep()
    const made = this.empty()
    this.all.set(name, made)
    return made
  }

  private sweep(): void {
    for (const [name, figures] of this.all) if (this.isIdle(figures)) this.all.delete(name)
    this.threshold = Math.max(sweepAt, 2 * this.all.size)
  }
}

/** Adds to the end of a queue, and answers what falls out at its beginning. */
const enqueue = (queue: Set<string>, id: string): Option.Option<string> => {
  queue.add(id)
  if (queue.size <= maxEnded) return Option.none()
  const [oldest] = queue
  if (oldest !== undefined) queue.delete(oldest)
  return Option.fromUndefinedOr(oldest)
}

/** A block is final long before as many more payments were made. */
const maxPast = 50_000

const forgetOldest = (all: Map<string, unknown>, most: number): void => {
  for (const oldest of all.keys()) {
    if (all.size <= most) return
    all.delete(oldest)
  }
}

/**
 * @category models
 * @since 0.1.0
 */
export class MemoryRows implements Rows {
  /** There is one process, and with it everything ends. */
  readonly lease = ""
  readonly isAlive = () => true

  readonly books = new Books(
    new Kept<Counter>(emptyCounter, (it) => it.exposed === 0n && this.isPast(it.spent) && this.isPast(it.count)),
    new Kept<Origin>(emptyOrigin, (it) => it.hanging === 0n && this.isPast(it.abandoned) && this.isPast(it.refused))
  )

  private readonly purchases = new Map<string, KeptPurchase>()
  private readonly authorizations = new Map<string, AuthorizationRow>()
  private readonly sessions = new Map<string, SessionRow>()
  /** The open draws of every session. */
  private readonly draws = new Map<string, Set<string>>()
  /** Purchases that the next equal request resumes, by their key, the newest last. */
  private readonly resumable = new Map<string, Array<string>>()
  private readonly open = new Set<string>()
  private readonly endedPurchases = new Set<string>()
  private readonly endedSessions = new Set<string>()
  private readonly foreign = new Map<string, Foreign>()
  /** What was forgotten of authorisations that have moved money, the oldest first, by their marks. */
  private readonly past = new Map<string, Known>()

  // -------------------------------------------------------------------------------------------------------------------
  // One row
  // -------------------------------------------------------------------------------------------------------------------

  purchase = (id: string) => this.purchases.get(id)

  authorization = (id: string) => this.authorizations.get(id)

  session = (id: string) => this.sessions.get(id)

  authorizationsOf = (purchase: string) =>
    this.purchases.get(purchase)?.authorizations.flatMap((id) => this.authorizations.get(id) ?? []) ?? []

  openDraws = (session: string) =>
    Array.from(this.draws.get(session) ?? []).flatMap((id) => this.authorizations.get(id) ?? [])

  claimable = (key: string) => this.purchases.get(this.resumable.get(key)?.at(-1) ?? "")

  // -------------------------------------------------------------------------------------------------------------------
  // Many rows
  // -------------------------------------------------------------------------------------------------------------------

  unsettled(): ReadonlyArray<Authorization> {
    return Array.from(this.open)
      .flatMap((id) => this.authorizations.get(id)?.value ?? [])
      .filter((value) => {
        const keeper = this.sessions.get(value.session ?? "")?.value
        const delivery = this.purchases.get(value.purchase ?? "")?.value.delivery
        return !Transition.hasOwner(value, { keeper, delivery, now: this.books.now })
      })
  }

  unproven(page: Query.Page): ReadonlyArray<Authorization> {
    return Query.page(
      Array.from(this.authorizations.values(), ({ value }) => value).filter(Transition.isUnproven),
      page
    )
  }

  queryPurchases(query: Query.Purchases): ReadonlyArray<Query.Paid> {
    const all = Array.from(this.purchases.values(), ({ value }) => ({
      purchase: value,
      authorizations: this.authorizationsOf(value.id).map((row) => row.value)
    }))
    return Query.purchases(all, query)
  }

  querySessions(query: Query.Sessions): ReadonlyArray<SessionRecord> {
    return Query.sessions(Array.from(this.sessions.values(), ({ value }) => value), query)
  }

  marked(marks: ReadonlySet<string>): ReadonlyArray<Known> {
    const kept = Array.from(this.authorizations.values(), ({ value }) => known(value))
    return [...kept, ...this.past.values()].flatMap((one) => one !== undefined && marks.has(one.mark) ? [one] : [])
  }

  queryForeigns(query: Query.Foreigns): ReadonlyArray<Foreign> {
    return Query.foreigns(Array.from(this.foreign.values()), query)
  }

  // -------------------------------------------------------------------------------------------------------------------
  // Changes
  // -------------------------------------------------------------------------------------------------------------------

  addPurchase = (row: PurchaseRow) => {
    this.purchases.set(row.value.id, { ...row, authorizations: [], open: 0 })
  }

  addAuthorization = (row: AuthorizationRow) => {
    const { id, plan, purchase, session } = row.value
    this.authorizations.set(id, row)
    this.open.add(id)
    if (plan.kind === "draw") this.drawsOf(session).add(id)
    const paid = this.purchases.get(purchase ?? "")
    if (paid === undefined) return
    paid.authorizations.push(id)
    paid.open++
    this.retain(paid)
  }

  addForeign(entry: Foreign): boolean {
    if (this.foreign.has(entry.reference)) return false
    this.foreign.set(entry.reference, entry)
    forgetOldest(this.foreign, maxEnded)
    return true
  }

  recall(reference: string): boolean {
    const entry = this.foreign.get(reference)
    if (entry?.maybeForgotten !== true) return false
    this.foreign.set(reference, new Foreign({ ...entry, maybeForgotten: false }))
    return true
  }

  addSession = (row: SessionRow) => {
    this.sessions.set(row.value.id, row)
  }

  updateAuthorization = (row: AuthorizationRow, value: Authorization) => {
    const before = row.value
    row.value = value
    const isOpen = Transition.isOpen(value.state)
    if (isOpen === Transition.isOpen(before.state)) return
    if (isOpen) this.open.add(value.id)
    else this.open.delete(value.id)
    if (value.plan.kind === "draw") {
      if (isOpen) this.drawsOf(value.session).add(value.id)
      else this.drawsOf(value.session).delete(value.id)
    }
    const purchase = this.purchases.get(value.purchase ?? "")
    if (purchase === undefined) return
    purchase.open += isOpen ? 1 : -1
    this.retain(purchase)
  }

  updateSession = (row: SessionRow, value: SessionRecord) => {
    row.value = value
    const { id, state } = value
    if (state !== "closed" && state !== "presumed") return
    const oldest = Option.getOrUndefined(enqueue(this.endedSessions, id))
    if (oldest === undefined) return
    this.authorizations.delete(this.sessions.get(oldest)?.value.authorization ?? "")
    this.sessions.delete(oldest)
    this.draws.delete(oldest)
  }

  updatePurchase = (row: PurchaseRow, value: Purchase) => {
    const before = row.value
    if (value === before) return
    row.value = value
    const is = PurchaseTransition.isClaimable(value.delivery)
    if (is !== PurchaseTransition.isClaimable(before.delivery)) {
      const others = (this.resumable.get(value.key) ?? []).filter((id) => id !== value.id)
      const ids = is ? [...others, value.id] : others
      if (ids.length === 0) this.resumable.delete(value.key)
      else this.resumable.set(value.key, ids)
    }
    const kept = this.purchases.get(value.id)
    if (kept !== undefined) this.retain(kept)
  }

  private drawsOf(session: string | undefined): Set<string> {
    const known = this.draws.get(session ?? "") ?? new Set()
    if (session !== undefined) this.draws.set(session, known)
    return known
  }

  private isPast(series: Rolling): boolean {
    return series.last + 2 * this.books.longest < this.books.last
  }

  /**
   * A purchase that has ended, with all of its authorisations, may be forgotten one day, and so may one whose content is
   * with a caller who does not read it; any other may not.
   */
  private retain({ open, value }: KeptPurchase): void {
    if (open > 0 || !(PurchaseTransition.isEnded(value.delivery) || value.delivery === "delivering")) {
      this.endedPurchases.delete(value.id)
      return
    }
    const oldest = Option.getOrUndefined(enqueue(this.endedPurchases, value.id))
    if (oldest === undefined) return
    for (const id of this.purchases.get(oldest)?.authorizations ?? []) {
      const authorization = this.authorizations.get(id)
      const it = authorization && known(authorization.value)
      if (it !== undefined) this.past.set(it.id, it)
      this.authorizations.delete(id)
    }
    forgetOldest(this.past, maxPast)
    this.purchases.delete(oldest)
  }
}
