/**
 * What the ledger keeps: purchases, authorisations and sessions, and what is said of them.
 *
 * Amounts named `usd` are micro-dollars; amounts named `units` are base units of the plan's asset.
 *
 * @since 0.1.0
 */
import type * as Option from "effect/Option"
import * as Schema from "effect/Schema"
import type { Limit } from "../Budget.ts"
import { Evidence, Plan, SessionHandle } from "../Rails.ts"

const Usd = Schema.BigIntFromString

/**
 * The state of an authorisation.
 *
 * - `signed`: limits held, plan written; from here bytes may have left
 * - `unknown`: no answer can be trusted, or its owner is gone
 * - `rejected`: the server says no, and may still take it
 * - `settled`: money moved
 * - `presumed`: can no longer become spent and no evidence was to be had in time: counted as spent, flagged
 * - `released`: proven void; the hold is returned
 *
 * @category models
 * @since 0.1.0
 */
export const State = Schema.Literals(["signed", "unknown", "rejected", "settled", "presumed", "released"])

/**
 * @category models
 * @since 0.1.0
 */
export type State = typeof State.Type

/**
 * How far a purchase came.
 *
 * - `open`: its owner is at work
 * - `delivering`: the answer is in the caller's hands, its body not read to the end
 * - `delivered`: read to its end
 * - `broken`: the body was cut
 * - `undelivered`: its owner ended without content
 * - `abandoned`: resumed once without success, or given up by hand; the next equal request is a new purchase
 * - `void`: its authorisation was proven void, so nothing was bought
 *
 * @category models
 * @since 0.1.0
 */
export const Delivery = Schema.Literals([
  "open",
  "delivering",
  "delivered",
  "broken",
  "undelivered",
  "abandoned",
  "void"
])

/**
 * @category models
 * @since 0.1.0
 */
export type Delivery = typeof Delivery.Type

/**
 * One logical request of the caller.
 *
 * @category models
 * @since 0.1.0
 */
export class Purchase extends Schema.Class<Purchase>("effect-mpp/Ledger/Purchase")({
  id: Schema.String,
  /** The caller's key, or the digest of all that selects the content. */
  key: Schema.String,
  agent: Schema.String,
  origin: Schema.String,
  method: Schema.String,
  path: Schema.String,
  /** The price that policy approved; what can be taken never exceeds it. Both prices, if they may both be taken. */
  approvedUsd: Usd,
  /** The program accepted a bounded loss: another authorisation was made while an earlier one may still be taken. */
  doubleSpend: Schema.Boolean,
  delivery: Delivery,
  /** How often an equal request claimed it. */
  resumes: Schema.Natural,
  /** The fiber and process that work on it. */
  owner: Schema.String,
  /** Why this offer was chosen. */
  choice: Schema.String,
  createdAt: Schema.Natural
}) {}

/**
 * How far a transaction came that its payer broadcasts himself: its hash is written down before it leaves.
 *
 * - `broadcast`: it may have left
 * - `mined`: the chain took it
 * - `presented`: the merchant may have seen it
 *
 * @category models
 * @since 0.1.0
 */
export const Broadcast = Schema.Struct({
  transaction: Schema.String,
  step: Schema.Literals(["broadcast", "mined", "presented"])
})

/**
 * @category models
 * @since 0.1.0
 */
export type Broadcast = typeof Broadcast.Type

/**
 * One thing that can move money, and the budget held for it.
 *
 * @category models
 * @since 0.1.0
 */
export class Authorization extends Schema.Class<Authorization>("effect-mpp/Ledger/Authorization")({
  id: Schema.String,
  /** The purchase it pays for; absent for a session's limit, which serves many. */
  purchase: Schema.optionalKey(Schema.String),
  /** The session that it opens or draws on. */
  session: Schema.optionalKey(Schema.String),
  plan: Plan,
  state: State,
  /** Only where the payer broadcasts the payment. */
  broadcast: Schema.optionalKey(Broadcast),
  /** What it holds of the budget, and what of that is still exposed. A draw holds nothing: its session does. */
  holdUsd: Usd,
  exposedUsd: Usd,
  spentUsd: Usd,
  /** What a draw takes from its session. */
  drawUsd: Usd,
  /** The counters that it counts in: `agent:...`, `wallet:...`, `origin:...`. */
  counters: Schema.Array(Schema.String),
  origin: Schema.String,
  evidence: Schema.Array(Evidence),
  createdAt: Schema.Natural,
  updatedAt: Schema.Natural
}) {}

/**
 * The state of a session. A `suspect` one took more than was asked for, and is not drawn on again. A `parked` one is kept by
 * nobody, and can be gone on with.
 *
 * @category models
 * @since 0.1.0
 */
export const SessionState = Schema.Literals([
  "establishing",
  "live",
  "parked",
  "expired",
  "suspect",
  "closing",
  "closed",
  "presumed"
])

/**
 * Pre-authorised spending with one merchant.
 *
 * @category models
 * @since 0.1.0
 */
export class SessionRecord extends Schema.Class<SessionRecord>("effect-mpp/Ledger/SessionRecord")({
  id: Schema.String,
  rail: Schema.String,
  origin: Schema.String,
  /** Agent, origin and the rail's own key: what may share this session. */
  key: Schema.String,
  /** The authorisation that holds its limit. */
  authorization: Schema.String,
  handle: Schema.optionalKey(SessionHandle),
  limitUsd: Usd,
  /** Settled draws. */
  spentUsd: Usd,
  /** Draws in flight, or of unknown outcome. */
  reservedUsd: Usd,
  state: SessionState,
  expiresAt: Schema.Natural
}) {}

/**
 * The next version of a record. It is not validated once more: the record was when it was made, and the compiler knows what
 * changes.
 *
 * @category constructors
 * @since 0.1.0
 */
export const revise = <Record extends Purchase | Authorization | SessionRecord>(
  record: Record,
  change: Partial<NoInfer<Record>>
): Record => Object.assign(Object.create(Object.getPrototypeOf(record)), record, change)

/**
 * Which ledger it is. A copy has the name of what it was copied from, and another generation from the time on at which that
 * was noticed: what was written down elsewhere meanwhile is not known to it.
 *
 * @category models
 * @since 0.1.0
 */
export interface About {
  readonly id: string
  readonly generation: number
  /** Whether what is written outlives the process. */
  readonly durable: boolean
  /** When something was authorised last, in milliseconds since the epoch; 0 if nothing was. */
  readonly authorizedAt: number
}

/**
 * What stands in a counter at this moment.
 *
 * @category models
 * @since 0.1.0
 */
export interface Standing {
  readonly spent: bigint
  readonly exposed: bigint
  readonly count: number
}

/**
 * What is to be authorised.
 *
 * @category models
 * @since 0.1.0
 */
export interface Draft {
  /** The purchase to begin, or to go on with if one of this id exists. */
  readonly purchase: Option.Option<Purchase>
  readonly authorization: Authorization
  readonly limits: ReadonlyArray<Limit>
  /** The session that an authorisation of kind `open` begins. */
  readonly session: Option.Option<SessionRecord>
}

/**
 * What became known of an authorisation.
 *
 * @category models
 * @since 0.1.0
 */
export interface Judgement {
  readonly state: Exclude<State, "signed">
  /** Micro-dollars that moved, fees included; of what is `released`, the fees. */
  readonly spentUsd?: bigint | undefined
  readonly evidence: Evidence
}

/**
 * What the ledger remembers of an origin's conduct. Counts are the most that came together within one window, of all windows
 * that ended in the last one: what was too much once is too much for as long again.
 *
 * @category models
 * @since 0.1.0
 */
export interface Conduct {
  /** Purchases abandoned. */
  readonly abandoned: number
  /** Authorisations refused that hold budget of their own: a draw holds none. */
  readonly refused: number
  /** Micro-dollars that hang in its `rejected` or `unknown` charges: a session's limit hangs at its endpoint. */
  readonly hangingUsd: bigint
}
