/**
 * What a rail adds that keeps sessions.
 *
 * @since 0.1.0
 */
import type * as Effect from "effect/Effect"
import * as Schema from "effect/Schema"
import * as Amount from "../Amount.ts"
import type { Offer } from "../Offer.ts"
import type * as PaymentError from "../PaymentError.ts"
import type { Plan, PlanContext } from "./Plan.ts"
import type { Evidence } from "./Verdict.ts"

/**
 * What was drawn of a session as the ledger has it, in base units: settled draws, and those in flight or of unknown outcome.
 *
 * @category models
 * @since 0.1.0
 */
export interface Drawn {
  readonly limit: bigint
  readonly spent: bigint
  readonly reserved: bigint
}

/**
 * What a session's authority says that was spent, in base units.
 *
 * @category models
 * @since 0.1.0
 */
export interface Figures {
  readonly spent: bigint
  readonly remaining: bigint
  readonly open: boolean
  /** What the payer paid for transactions, in micro-dollars. Absent: what was held for them. */
  readonly feeUsd?: bigint
  /** Why to believe it. Absent: it is the word of the configured session endpoint. */
  readonly evidence?: Evidence
}

/**
 * A session at its authority, without its secret.
 *
 * @category models
 * @since 0.1.0
 */
export class SessionHandle extends Schema.Class<SessionHandle>("effect-mpp/Rails/SessionHandle")({
  /** The authority's own name for the session. */
  wireId: Schema.String,
  limit: Amount.Units,
  expiresAt: Schema.Natural,
  /** Whether another process with the same wallet can go on with it: it has no secret of its own. Absent: no. */
  resumable: Schema.optionalKey(Schema.Boolean),
  /** What the rail needs to inspect and close it. No secret. */
  data: Schema.Json
}) {}

/**
 * What a rail adds that keeps sessions.
 *
 * @category models
 * @since 0.1.0
 */
export interface SessionOps {
  /** Two offers of one origin with the same key are served by the same session. */
  readonly key: (offer: Offer) => string
  /**
   * Draws go out one after another: each says how much was drawn by then. Requests that servers of such sessions take for
   * their management are not paid for before they are asked to.
   */
  readonly inOrder: boolean
  /** What is paid in would be stranded if it were forgotten: no session is opened where the ledger does not outlive the process. */
  readonly needsDurableLedger?: boolean
  /** Whether a refusal to open a session proves that none was opened. */
  readonly attests: boolean
  /** The plan of kind `open`. It signs nothing. */
  readonly planOpen: (
    offer: Offer,
    context: PlanContext & {
      readonly limit: bigint
      readonly validityMillis: number
      readonly idempotencyKey: string
      /** The resource that was asked for, without its query. */
      readonly resource: { readonly method: string; readonly url: string }
    }
  ) => Effect.Effect<Plan, PaymentError.PolicyDenied | PaymentError.ChainError | PaymentError.InsufficientFunds>
  /**
   * Carries an `open` plan out. Repeating it with the same plan never opens a second session. `WalletError`, `Unavailable`
   * with `notSent` and, where the authority attests, `RateLimited` and `PaymentRejected` prove that none was opened; the
   * other failures prove nothing.
   */
  readonly establish: (plan: Plan) => Effect.Effect<
    SessionHandle,
    | PaymentError.Unavailable
    | PaymentError.RateLimited
    | PaymentError.ProtocolError
    | PaymentError.PaymentRejected
    | PaymentError.WalletError
  >
  /** The plan of kind `draw`: spends `units` of a session. */
  readonly planDraw: (handle: SessionHandle, offer: Offer, drawn: Drawn) => Plan
  /** Whether so much is of unknown outcome that the session is to be closed, which tells. Absent: never. */
  readonly isWorn?: (drawn: Drawn, price: bigint) => boolean
  readonly inspect: (
    handle: SessionHandle
  ) => Effect.Effect<Figures, PaymentError.Unavailable | PaymentError.ProtocolError>
  /** Closes the session and forgets its secret; answers the final figures. Repeating it is safe. */
  readonly close: (
    handle: SessionHandle,
    drawn: Drawn
  ) => Effect.Effect<Figures, PaymentError.Unavailable | PaymentError.ProtocolError | PaymentError.ChainError>
}
