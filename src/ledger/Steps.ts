/**
 * The steps of a ledger, over the rows of any store. Every one is synchronous and happens whole or not at all: a step that
 * fails has changed nothing.
 *
 * @since 0.1.0
 */
import * as Option from "effect/Option"
import * as Result from "effect/Result"
import type { BudgetExceeded } from "../PaymentError.ts"
import type { Books } from "./Books.ts"
import type { Foreign } from "./Foreign.ts"
import * as Limits from "./Limits.ts"
import type { Authorization, Broadcast, Delivery, Draft, Judgement, Purchase, SessionRecord } from "./Model.ts"
import * as PurchaseTransition from "./PurchaseTransition.ts"
import { Rolling } from "./Rolling.ts"
import type { AuthorizationRow, PurchaseRow, Rows, SessionRow } from "./Rows.ts"
import * as SessionTransition from "./SessionTransition.ts"
import * as Transition from "./Transition.ts"

/** Somebody else goes on with what a process has stood still over for longer than its lease. */
const lost = Result.fail("another process goes on with it by now")

const valueOf = <A>({ value }: { readonly value: A }): A => value

/**
 * @category models
 * @since 0.1.0
 */
export class Steps {
  private readonly rows: Rows
  private readonly books: Books

  constructor(rows: Rows, books: Books) {
    this.rows = rows
    this.books = books
  }

  authorize(draft: Draft): Result.Result<void, string | BudgetExceeded> {
    const { rows } = this
    const { authorization, limits } = draft
    const flaw = Limits.flaw(draft)
    if (Option.isSome(flaw)) return Result.fail(flaw.value)
    if (rows.authorization(authorization.id) !== undefined) return Result.fail("the authorisation exists")
    if (Option.exists(draft.session, ({ id }) => rows.session(id) !== undefined)) {
      return Result.fail("the session exists")
    }

    const begun = Option.getOrUndefined(Option.map(draft.purchase, ({ id }) => rows.purchase(id)))
    if (begun !== undefined && begun.lease !== rows.lease) return lost
    const purchase = Option.map(
      draft.purchase,
      (it) =>
        PurchaseTransition.authorize(
          begun && { purchase: begun.value, authorizations: rows.authorizationsOf(it.id).map(valueOf) },
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
      const session = rows.session(authorization.session ?? "")
      if (session === undefined) return Result.fail("the session to draw on does not exist")
      if (session.lease !== rows.lease) return Result.fail("another process keeps the session")
      const reserved = SessionTransition.reserve(session.value, authorization.drawUsd)
      if (Result.isFailure(reserved)) return Result.fail(reserved.failure)
      rows.updateSession(session, reserved.success)
    }
    const { lease } = rows
    this.books.keepTime()
    if (Option.isSome(draft.session)) rows.addSession({ value: draft.session.value, lease })
    if (Option.isSome(purchase) && Result.isSuccess(purchase.value)) {
      this.beginPurchase(begun, purchase.value.success, authorization)
    }
    rows.addAuthorization({ value: authorization, lease, spent: new Rolling() })
    this.books.expose(authorization.counters, authorization.holdUsd)
    return Result.void
  }

  /** Money that moved without an authorisation of this ledger, at the time when it did. */
  foreign({ at, counters, usd }: Foreign): void {
    this.books.spendAt(counters, usd, at)
  }

  resent(id: string): Result.Result<void, string> {
    return this.own(id, (value) => Transition.resend(value, this.books.now))
  }

  advanced(id: string, broadcast: Broadcast): Result.Result<void, string> {
    return this.own(id, (value) => Transition.advance(value, broadcast, this.books.now))
  }

  /** Whoever brings evidence is heard; what only an owner can know is his to say. */
  judged(id: string, judgement: Judgement): Result.Result<void, string> {
    const { now } = this.books
    return Result.flatMap(this.authorizationRow(id), (row) => {
      const { lease, value } = row
      if (lease !== this.rows.lease && this.rows.isAlive(lease)) {
        if (judgement.evidence.what === Transition.notSent) return lost
        // It is on its way again, and its new owner will hear what becomes of it.
        if (value.state === "signed" && !Transition.isFinal(judgement.state)) return Result.void
      }
      if (value.plan.kind === "charge") return this.move(id, (it) => Transition.judgeCharge(it, judgement, now))
      return Result.flatMap(this.sessionRow(value.session ?? ""), ({ holder, session }) => {
        if (value.plan.kind === "open") {
          const draws = this.rows.openDraws(session.value.id).map(valueOf)
          return Result.map(
            SessionTransition.judgeOpen(session.value, value, draws, judgement, now),
            (closed) => this.writeClosed(session, row, closed)
          )
        }
        const drawn = { draw: value, session: session.value, holder: holder.value }
        return Result.map(SessionTransition.judgeDraw(drawn, judgement, now), (next) => {
          this.rows.updateSession(session, next.session)
          this.write(row, next.draw)
          this.write(holder, next.holder, row.spent)
        })
      })
    })
  }

  delivered(id: string, delivery: Delivery): Result.Result<void, string> {
    const row = this.rows.purchase(id)
    if (row === undefined) return Result.fail(`there is no purchase ${id}`)
    const isOthers = row.lease !== this.rows.lease && this.rows.isAlive(row.lease)
    if (isOthers && !PurchaseTransition.isClaimable(row.value.delivery)) return lost
    const authorizations = this.rows.authorizationsOf(id).map(valueOf)
    return Result.map(PurchaseTransition.deliver(row.value, delivery, authorizations), (value) => {
      const before = row.value.delivery
      this.rows.updatePurchase(row, value)
      if (before === value.delivery) return
      if (value.delivery === "abandoned") this.books.abandoned(value.origin)
      if (value.delivery === "void") this.books.uncount(row.counters, row.countedAt)
    })
  }

  claim(key: string, owner: string): Option.Option<{
    readonly purchase: Purchase
    readonly authorization: Authorization
  }> {
    const { lease } = this.rows
    const row = this.rows.claimable(key)
    const all = row === undefined ? [] : this.rows.authorizationsOf(row.value.id)
    // What is proven void says nothing of the others.
    const last = all.findLast(({ value }) => value.state !== "released") ?? all.at(-1)
    if (row === undefined || last === undefined) return Option.none()
    this.rows.updatePurchase(row, PurchaseTransition.claim(row.value, owner), lease)
    for (const one of all) if (one.value.plan.kind !== "open") this.rows.updateAuthorization(one, one.value, lease)
    if (last.value.plan.kind !== "open") this.write(last, Transition.orphan(last.value, this.books.now))
    return Option.some({ purchase: row.value, authorization: last.value })
  }

  /**
   * What was begun under leases that ran out has no owner any more: it is not known what was sent, a purchase has ended
   * without content, and a session is drawn on no more.
   */
  orphaned(found: {
    readonly purchases: ReadonlyArray<PurchaseRow>
    readonly authorizations: ReadonlyArray<AuthorizationRow>
    readonly sessions: ReadonlyArray<SessionRow>
  }): void {
    for (const row of found.purchases) this.rows.updatePurchase(row, PurchaseTransition.orphan(row.value))
    for (const row of found.authorizations) {
      if (row.value.plan.kind !== "open") this.write(row, Transition.orphan(row.value, this.books.now))
    }
    for (const row of found.sessions) this.rows.updateSession(row, SessionTransition.orphan(row.value))
  }

  updateSession(
    id: string,
    change: Partial<Pick<SessionRecord, "handle" | "state" | "expiresAt" | "limitUsd">>
  ): Result.Result<void, string> {
    return Result.flatMap(this.sessionRow(id), ({ holder, session }) => {
      const isParked = session.value.state === "parked"
      if (session.lease !== this.rows.lease && !isParked && this.rows.isAlive(session.lease)) return lost
      return Result.map(
        SessionTransition.changeSession(session.value, holder.value, change, this.books.now),
        (next) => {
          // Whoever goes on with it keeps it from then on.
          this.rows.updateSession(session, next.session, isParked ? this.rows.lease : session.lease)
          this.write(holder, next.holder)
        }
      )
    })
  }

  closeSession(id: string, close: SessionTransition.Close): Result.Result<void, string> {
    return Result.flatMap(this.sessionRow(id), ({ holder, session }) => {
      const draws = this.rows.openDraws(id).map(valueOf)
      return Result.map(
        SessionTransition.closeSession(session.value, holder.value, draws, close, this.books.now),
        (closed) => this.writeClosed(session, holder, closed)
      )
    })
  }

  // -------------------------------------------------------------------------------------------------------------------
  // Rows
  // -------------------------------------------------------------------------------------------------------------------

  private authorizationRow(id: string): Result.Result<AuthorizationRow, string> {
    return Result.fromNullishOr(this.rows.authorization(id), () => `there is no authorisation ${id}`)
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

  /** What only the owner does. */
  private own(
    id: string,
    step: (authorization: Authorization) => Transition.Step<Authorization>
  ): Result.Result<void, string> {
    return Result.flatMap(
      this.authorizationRow(id),
      ({ lease }) => lease === this.rows.lease ? this.move(id, step) : lost
    )
  }

  private sessionRow(id: string): Result.Result<{ session: SessionRow; holder: AuthorizationRow }, string> {
    const session = this.rows.session(id)
    const holder = this.rows.authorization(session?.value.authorization ?? "")
    return session === undefined || holder === undefined
      ? Result.fail(`there is no session ${id}`)
      : Result.succeed({ session, holder })
  }

  private beginPurchase(begun: PurchaseRow | undefined, purchase: Purchase, { counters }: Authorization): void {
    if (begun !== undefined) return this.rows.updatePurchase(begun, purchase)
    this.rows.addPurchase({ value: purchase, lease: this.rows.lease, counters, countedAt: this.books.now })
    this.books.count(counters)
  }

  /** Writes a new version of an authorisation, and moves its money with it. Returned money comes out of `spent`. */
  private write(row: AuthorizationRow, value: Authorization, spent: Rolling = row.spent): void {
    const before = row.value
    if (value === before) return
    this.books.expose(value.counters, value.exposedUsd - before.exposedUsd)
    this.moveSpending(row, value.spentUsd - before.spentUsd, spent)
    this.books.hang(value.origin, Transition.hanging(value) - Transition.hanging(before))
    if (value.plan.kind === "charge" && value.state === "rejected" && before.state !== "rejected") {
      this.books.refused(value.origin)
    }
    this.rows.updateAuthorization(row, value)
  }

  /** The spending of a draw is noted with it, and counts through the authorisation that holds its session's limit. */
  private moveSpending(row: AuthorizationRow, usd: bigint, source: Rolling): void {
    if (usd === 0n) return
    const { counters, plan: { kind } } = row.value
    const { now } = this.books
    if (kind === "draw") {
      if (usd > 0n) row.spent.add(now, usd)
      return
    }
    if (usd > 0n) {
      row.spent.add(now, usd)
      return this.books.spend(counters, usd)
    }
    const entries = source.take(-usd)
    if (source !== row.spent) { for (const { amount, at } of entries) row.spent.lower(at, amount) }
    this.books.refund(counters, entries)
  }

  private writeClosed(session: SessionRow, holder: AuthorizationRow, closed: SessionTransition.Closed): void {
    this.rows.updateSession(session, closed.session)
    for (const draw of closed.draws) {
      const row = this.rows.authorization(draw.id)
      if (row !== undefined) this.write(row, draw)
    }
    this.write(holder, closed.holder)
  }
}
