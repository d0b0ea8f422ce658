/**
 * Which rows a step will look at. What is found by one row (its session, its counters) is known only when that row is there:
 * so a step is asked again until it wants nothing more.
 *
 * @since 0.1.0
 */
import type { Draft } from "../ledger/Model.ts"
import type { AuthorizationRow, SessionRow } from "../ledger/Rows.ts"
import type { SqlRows } from "./SqlRows.ts"

/**
 * Rows that are not there yet.
 *
 * @category models
 * @since 0.1.0
 */
export class Wants {
  readonly purchases = new Set<string>()
  readonly authorizations = new Set<string>()
  readonly sessions = new Set<string>()
  /** Purchases whose authorisations are wanted, and sessions whose open draws are. */
  readonly paying = new Set<string>()
  readonly drawing = new Set<string>()
  readonly counters = new Set<string>()
  readonly origins = new Set<string>()
  private readonly rows: SqlRows

  constructor(rows: SqlRows) {
    this.rows = rows
  }

  get isEmpty(): boolean {
    return this.purchases.size + this.authorizations.size + this.sessions.size + this.paying.size +
        this.drawing.size + this.counters.size + this.origins.size === 0
  }

  private row<A>(from: ReadonlyMap<string, A | undefined>, into: Set<string>, id: string): A | undefined {
    if (!from.has(id)) into.add(id)
    return from.get(id)
  }

  count(names: ReadonlyArray<string>): void {
    for (const name of names) this.row(this.rows.counters.known, this.counters, name)
  }

  origin(name: string): void {
    this.row(this.rows.origins.known, this.origins, name)
  }

  purchase(id: string) {
    return this.row(this.rows.purchases.known, this.purchases, id)
  }

  /** A purchase, all that was authorised for it, and all that moves when it moves. */
  bought(id: string): void {
    const purchase = this.purchase(id)
    if (purchase === undefined) return
    const paying = this.row(this.rows.paying, this.paying, id)
    for (const one of paying ?? []) this.money(this.row(this.rows.authorizations.known, this.authorizations, one))
    this.count(purchase.counters)
    this.origin(purchase.value.origin)
  }

  private money(row: AuthorizationRow | undefined): void {
    if (row === undefined) return
    this.count(row.value.counters)
    this.origin(row.value.origin)
  }

  authorization(id: string): void {
    const row = this.row(this.rows.authorizations.known, this.authorizations, id)
    if (row === undefined) return
    this.money(row)
    if (row.value.session !== undefined) this.session(row.value.session)
  }

  /** A session, what holds its limit, and its open draws. */
  session(id: string): SessionRow | undefined {
    const session = this.row(this.rows.sessions.known, this.sessions, id)
    if (session === undefined) return undefined
    this.money(this.row(this.rows.authorizations.known, this.authorizations, session.value.authorization))
    const draws = this.row(this.rows.drawing, this.drawing, id)
    for (const one of draws ?? []) this.money(this.row(this.rows.authorizations.known, this.authorizations, one))
    return session
  }

  draft({ authorization, limits, purchase, session }: Draft): void {
    this.row(this.rows.authorizations.known, this.authorizations, authorization.id)
    if (purchase._tag === "Some") this.bought(purchase.value.id)
    if (session._tag === "Some") this.row(this.rows.sessions.known, this.sessions, session.value.id)
    if (authorization.plan.kind === "draw") {
      this.row(this.rows.sessions.known, this.sessions, authorization.session ?? "")
    }
    this.count(authorization.counters)
    this.count(limits.map(({ counter }) => counter))
  }
}
