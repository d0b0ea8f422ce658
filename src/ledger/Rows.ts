/**
 * The rows that the steps of a ledger read and write, whatever keeps them. A step is synchronous: a store that must fetch
 * its rows does that before the step, and writes down what has changed after it.
 *
 * @since 0.1.0
 */
import type { Authorization, Purchase, SessionRecord } from "./Model.ts"
import type { Rolling } from "./Rolling.ts"

/**
 * A purchase, and where it was counted.
 *
 * @category models
 * @since 0.1.0
 */
export interface PurchaseRow {
  value: Purchase
  /** The lease of the process that works on it. */
  lease: string
  /** The counters that the purchase itself was counted in, and when. */
  readonly counters: ReadonlyArray<string>
  readonly countedAt: number
}

/**
 * An authorisation, and when its money was spent.
 *
 * @category models
 * @since 0.1.0
 */
export interface AuthorizationRow {
  value: Authorization
  lease: string
  /** When its money was spent, so that what comes back lowers the same entries. */
  readonly spent: Rolling
}

/**
 * A session.
 *
 * @category models
 * @since 0.1.0
 */
export interface SessionRow {
  value: SessionRecord
  /** The lease of the process that keeps it: nobody else draws on it. */
  lease: string
}

/**
 * What the steps need of a store. Rows are changed by the `update` functions alone.
 *
 * @category models
 * @since 0.1.0
 */
export interface Rows {
  /** The lease that this process writes under. What was begun under another one is not its own. */
  readonly lease: string
  /** Whether the process that writes under a lease still lives. */
  readonly isAlive: (lease: string) => boolean

  readonly purchase: (id: string) => PurchaseRow | undefined
  readonly authorization: (id: string) => AuthorizationRow | undefined
  readonly session: (id: string) => SessionRow | undefined
  /** In the order in which they were made. */
  readonly authorizationsOf: (purchase: string) => ReadonlyArray<AuthorizationRow>
  readonly openDraws: (session: string) => ReadonlyArray<AuthorizationRow>
  /** The purchase that the next equal request resumes, the newest if there are several. */
  readonly claimable: (key: string) => PurchaseRow | undefined

  readonly addPurchase: (row: PurchaseRow) => void
  readonly addAuthorization: (row: AuthorizationRow) => void
  readonly addSession: (row: SessionRow) => void

  readonly updatePurchase: (row: PurchaseRow, value: Purchase, lease?: string) => void
  readonly updateAuthorization: (row: AuthorizationRow, value: Authorization, lease?: string) => void
  readonly updateSession: (row: SessionRow, value: SessionRecord, lease?: string) => void
}
