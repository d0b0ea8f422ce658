/**
 * The rows of a ledger in memory. Every call is one synchronous step, so that no two fibers ever see half of one.
 *
 * What has ended is forgotten, the oldest first, when there is much of it; what is open never is. Counters remember
 * spending beyond that, in windows.
 *
 * @since 0.1.0
 */
import * as Option from "effect/Option"
import * as Result from "effect/Result"
import type { BudgetExceeded } from "../PaymentError.ts"
import { Books } from "./Books.ts"
import * as Limits from "./Limits.ts"
import type { Authorization, Broadcast, Delivery, Draft, Judgement, Purchase, SessionRecord } from "./Model.ts"
import * as PurchaseTransition from "./PurchaseTransition.ts"
import { Rolling } from "./Rolling.ts"
import * as SessionTransition from "./SessionTransition.ts"
import * as Transition from "./Transition.ts"

/**
 * As many purchases, and as many sessions, are kept after they have ended.
 *
 * @category constants
 * @since 0.1.0
 */
export const maxEnded = 10_000

interface AuthorizationRow {
  value: Authorization
  /** When its money was spent, so that what comes back lowers the same entries. */
  readonly spent: Rolling
}

interface PurchaseRow {
  value: Purchase
  readonly authorizations: Array<string>
  /** How many of them are open. */
  open: number
  /** The counters that the purchase itself was counted in, and when. */
  readonly counters: ReadonlyArray<string>
  readonly countedAt: number
}

interface SessionRow {
  value: SessionRecord
  /** Its draws of open outcome. */
  readonly draws: Set<string>
}

/** Adds to the end of a queue, and answers what falls out at its beginning. */
const enqueue = (queue: Set<string>, id: string): Option.Option<string> => {
  queue.add(id)
  if (queue.size <= maxEnded) return Option.none()
  const [oldest] = queue
  if (oldest !== undefined) queue.delete(oldest)
  return Option.fromUndefinedOr(oldest)
}

/**
 * @category models
 * @since 0.1.0
 */
export class Store {
  private now = 0
  private readonly books = new Books()
  private readonly purchases = new Map<string, PurchaseRow>()
  private readonly authorizations = new Map<string, AuthorizationRow>()
  private readonly sessions = new Map<string, SessionRow>()
  /** Purchases that the next equal request resumes, by their key, the newest last. */
  private readonly claimable = new Map<string, Array<string>>()
  private readonly open = new Set<string>()
  private readonly endedPurchases = new Set<string>()
  private readonly endedSessions = new Set<string>()

  // -------------------------------------------------------------------------------------------------------------------
  // Steps
  // -------------------------------------------------------------------------------------------------------------------

  authorize(draft: Draft): Result.Result<void, string | BudgetExceeded> {
    const { authorization, limits } = draft
    const flaw = Limits.flaw(draft)
    if (Option.isSome(flaw)) return Result.fail(flaw.value)
    if (this.authorizations.has(authorization.id)) return Result.fail("the authorisation exists")
    if (Option.exists(draft.session, ({ id }) => this.sessions.has(id))) return Result.fail("the session exists")

    const begun = Option.getOrUndefined(Option.map(draft.purchase, ({ id }) => this.purchases.get(id)))
    const purchase = Option.map(
      draft.purchase,
      (it) =>
        PurchaseTransition.authorize(
          begun && { purchase: begun.value, authorizations: this.authorizationsOf(begun) },
          it,
          authorization
        )
    )
    if (Option.isSome(purchase) && Result.isFailure(purchase.value)) return Result.fail(purchase.value.failure)

    const isDraw = authorization.plan.kind === "draw"
    for (const limit of limits) {
      // A draw spends what its session holds already, and a purchase is counted once.
      if (limit.scope === "count" ? Option.isNone(purchase) || begun !== undefined : isDraw) continue
      const standing = this.books.standing(limit.counter, limit.windowMillis)
      const exceeded = Limits.exceeds(limit, standing, authorization.holdUsd)
      if (Option.isSome(exceeded)) return Result.fail(exceeded.value)
    }

    if (isDraw) {
      const session = this.sessions.get(authorization.session ?? "")
      if (session === undefined) return Result.fail("the session to draw on does not exist")
      const reserved = SessionTransition.reserve(session.value, authorization.drawUsd)
      if (Result.isFailure(reserved)) return Result.fail(reserved.failure)
      session.value = reserved.success
      session.draws.add(authorization.id)
    }
    if (Option.isSome(draft.session)) {
      this.sessions.set(draft.session.value.id, { value: draft.session.value, draws: new Set() })
    }
    if (Option.isSome(purchase) && Result.isSuccess(purchase.value)) {
      this.beginPurchase(purchase.value.success, authorization)
    }
    this.authorizations.set(authorization.id, { value: authorization, spent: new Rolling() })
    this.open.add(authorization.id)
    this.books.expose(authorization.counters, authorization.holdUsd)
    return Result.void
  }

  resent(id: string): Result.Result<void, string> {
    return this.move(id, (value) => Transition.resend(value, this.now))
  }

  advanced(id: string, broadcast: Broadcast): Result.Result<void, string> {
    return this.move(id, (value) => Transition.advance(value, broadcast, this.now))
  }

  judged(id: string, judgement: Judgement): Result.Result<void, string> {
    return Result.flatMap(this.authorizationRow(id), (row) => {
      const { value } = row
      if (value.plan.kind === "charge") return this.move(id, (it) => Transition.judgeCharge(it, judgement, this.now))
      return Result.flatMap(this.sessionRow(value.session ?? ""), ({ holder, session }) => {
        if (value.plan.kind === "open") {
          const draws = this.openDraws(session)
          return Result.map(
            SessionTransition.judgeOpen(session.value, value, draws, judgement, this.now),
            (closed) => this.writeClosed(session, row, closed)
          )
        }
        const drawn = { draw: value, session: session.value, holder: holder.value }
        return Result.map(SessionTransition.judgeDraw(drawn, judgement, this.now), (next) => {
          session.value = next.session
          this.write(row, next.draw)
          this.write(holder, next.holder, row.spent)
        })
      })
    })
  }

  delivered(id: string, delivery: Delivery): Result.Result<void, string> {
    const row = this.purchases.get(id)
    if (row === undefined) return Result.fail(`there is no purchase ${id}`)
    return Result.map(PurchaseTransition.deliver(row.value, delivery, this.authorizationsOf(row)), (value) => {
      const before = row.value.delivery
      this.writePurchase(row, value)
      if (before === value.delivery) return
      if (value.delivery === "abandoned") this.books.abandoned(value.origin)
      if (value.delivery === "void") this.books.uncount(row.counters, row.countedAt)
    })
  }

  claim(key: string, owner: string): Option.Option<{
    readonly purchase: Purchase
    readonly authorization: Authorization
  }> {
    const row = this.purchases.get(this.claimable.get(key)?.at(-1) ?? "")
    const all = row?.authorizations.flatMap((id) => this.authorizations.get(id) ?? []) ?? []
    // What is proven void says nothing of the others.
    const last = all.findLast(({ value }) => value.state !== "released") ?? all.at(-1)
    if (row === undefined || last === undefined) return Option.none()
    this.writePurchase(row, PurchaseTransition.claim(row.value, owner))
    if (last.value.plan.kind !== "open") this.write(last, Transition.orphan(last.value, this.now))
    return Option.some({ purchase: row.value, authorization: last.value })
  }

  updateSession(
    id: string,
    change: Partial<Pick<SessionRecord, "handle" | "state" | "expiresAt" | "limitUsd">>
  ): Result.Result<void, string> {
    return Result.flatMap(
      this.sessionRow(id),
      ({ holder, session }) =>
        Result.map(SessionTransition.changeSession(session.value, holder.value, change, this.now), (next) => {
          session.value = next.session
          this.write(holder, next.holder)
        })
    )
  }

  closeSession(id: string, close: SessionTransition.Close): Result.Result<void, string> {
    return Result.flatMap(this.sessionRow(id), ({ holder, session }) =>
      Result.map(
        SessionTransition.closeSession(session.value, holder.value, this.openDraws(session), close, this.now),
        (closed) => this.writeClosed(session, holder, closed)
      ))
  }

  // -------------------------------------------------------------------------------------------------------------------
  // Reading
  // -------------------------------------------------------------------------------------------------------------------

  tick(now: number): void {
    this.now = this.books.tick(now)
  }

  session(id: string) {
    return Option.map(Option.fromUndefinedOr(this.sessions.get(id)), ({ value }) => value)
  }

  allSessions() {
    return Array.from(this.sessions.values(), ({ value }) => value)
  }

  authorization(id: string) {
    return Option.map(Option.fromUndefinedOr(this.authorizations.get(id)), ({ value }) => value)
  }

  unsettled() {
    const found: Array<Authorization> = []
    for (const id of this.open) {
      const value = this.authorizations.get(id)?.value
      if (value === undefined || this.hasOwner(value)) continue
      found.push(value)
    }
    return found
  }

  unproven() {
    return Array.from(this.authorizations.values(), ({ value }) => value).filter(Transition.isUnproven)
  }

  allPurchases() {
    return Array.from(this.purchases.values(), (row) => ({
      purchase: row.value,
      authorizations: this.authorizationsOf(row)
    }))
  }

  standing(counter: string, windowMillis: number) {
    return this.books.standing(counter, windowMillis)
  }

  conduct(origin: string, windowMillis: number) {
    return this.books.conduct(origin, windowMillis)
  }

  // -------------------------------------------------------------------------------------------------------------------
  // Rows
  // -------------------------------------------------------------------------------------------------------------------

  private authorizationRow(id: string): Result.Result<AuthorizationRow, string> {
    return Result.fromNullishOr(this.authorizations.get(id), () => `there is no authorisation ${id}`)
  }

  private move(
    id: string,
    step: (authorization: Authorization) => Transition.Step<Authorization>
  ): Result.Result<void, string> {
    return Result.flatMap(
      this.authorizationRow(id),
      (row) => Result.map(step(row.value), (value) => this.write(row, value))
    )
  }

  private sessionRow(id: string): Result.Result<{ session: SessionRow; holder: AuthorizationRow }, string> {
    const session = this.sessions.get(id)
    const holder = this.authorizations.get(session?.value.authorization ?? "")
    return session === undefined || holder === undefined
      ? Result.fail(`there is no session ${id}`)
      : Result.succeed({ session, holder })
  }

  private authorizationsOf(row: PurchaseRow): ReadonlyArray<Authorization> {
    return row.authorizations.flatMap((id) => this.authorizations.get(id)?.value ?? [])
  }

  private openDraws(session: SessionRow): ReadonlyArray<Authorization> {
    return Array.from(session.draws).flatMap((id) => this.authorizations.get(id)?.value ?? [])
  }

  private hasOwner(authorization: Authorization): boolean {
    const keeper = this.sessions.get(authorization.session ?? "")?.value
    const purchase = this.purchases.get(authorization.purchase ?? "")?.value
    return Transition.hasOwner(authorization, { keeper, delivery: purchase?.delivery, now: this.now })
  }

  private beginPurchase(purchase: Purchase, authorization: Authorization): void {
    const begun = this.purchases.get(purchase.id)
    if (begun !== undefined) {
      begun.authorizations.push(authorization.id)
      begun.open++
      return this.writePurchase(begun, purchase)
    }
    const { counters, id } = authorization
    this.purchases.set(purchase.id, { value: purchase, authorizations: [id], open: 1, counters, countedAt: this.now })
    this.books.count(counters)
  }

  /** Writes a new version of an authorisation, and moves its money with it. Returned money comes out of `spent`. */
  private write(row: AuthorizationRow, value: Authorization, spent: Rolling = row.spent): void {
    const before = row.value
    if (value === before) return
    row.value = value
    this.books.expose(value.counters, value.exposedUsd - before.exposedUsd)
    this.moveSpending(row, value.spentUsd - before.spentUsd, spent)
    this.books.hang(value.origin, Transition.hanging(value) - Transition.hanging(before))
    if (value.plan.kind === "charge" && value.state === "rejected" && before.state !== "rejected") {
      this.books.refused(value.origin)
    }
    const isOpen = Transition.isOpen(value.state)
    if (isOpen === Transition.isOpen(before.state)) return
    if (isOpen) this.open.add(value.id)
    else this.open.delete(value.id)
    const session = this.sessions.get(value.session ?? "")
    if (value.plan.kind === "draw" && session !== undefined) {
      if (isOpen) session.draws.add(value.id)
      else session.draws.delete(value.id)
    }
    const purchase = this.purchases.get(value.purchase ?? "")
    if (purchase !== undefined) {
      purchase.open += isOpen ? 1 : -1
      this.retain(purchase)
    }
  }

  /** The spending of a draw is noted with it, and counts through the authorisation that holds its session's limit. */
  private moveSpending(row: AuthorizationRow, usd: bigint, source: Rolling): void {
    if (usd === 0n) return
    const { counters, plan: { kind } } = row.value
    if (kind === "draw") {
      if (usd > 0n) row.spent.add(this.now, usd)
      return
    }
    if (usd > 0n) {
      row.spent.add(this.now, usd)
      return this.books.spend(counters, usd)
    }
    const entries = source.take(-usd)
    if (source !== row.spent) { for (const { amount, at } of entries) row.spent.lower(at, amount) }
    this.books.refund(counters, entries)
  }

  private writeClosed(session: SessionRow, holder: AuthorizationRow, closed: SessionTransition.Closed): void {
    session.value = closed.session
    for (const draw of closed.draws) {
      const row = this.authorizations.get(draw.id)
      if (row !== undefined) this.write(row, draw)
    }
    this.write(holder, closed.holder)
    const { id, state } = session.value
    if (state !== "closed" && state !== "presumed") return
    const oldest = enqueue(this.endedSessions, id)
    if (Option.isNone(oldest)) return
    this.authorizations.delete(this.sessions.get(oldest.value)?.value.authorization ?? "")
    this.sessions.delete(oldest.value)
  }

  private writePurchase(row: PurchaseRow, value: Purchase): void {
    const before = row.value
    if (value === before) return
    row.value = value
    const is = PurchaseTransition.isClaimable(value.delivery)
    if (is !== PurchaseTransition.isClaimable(before.delivery)) {
      const others = (this.claimable.get(value.key) ?? []).filter((id) => id !== value.id)
      const ids = is ? [...others, value.id] : others
      if (ids.length === 0) this.claimable.delete(value.key)
      else this.claimable.set(value.key, ids)
    }
    this.retain(row)
  }

  /**
   * A purchase that has ended, with all of its authorisations, may be forgotten one day, and so may one whose content is
   * with a caller who does not read it; any other may not.
   */
  private retain({ open, value }: PurchaseRow): void {
    if (open > 0 || !(PurchaseTransition.isEnded(value.delivery) || value.delivery === "delivering")) {
      this.endedPurchases.delete(value.id)
      return
    }
    const oldest = enqueue(this.endedPurchases, value.id)
    if (Option.isNone(oldest)) return
    for (const id of this.purchases.get(oldest.value)?.authorizations ?? []) this.authorizations.delete(id)
    this.purchases.delete(oldest.value)
  }
}
