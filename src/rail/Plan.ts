/**
 * What a payment is made from, and what is sent for it.
 *
 * @since 0.1.0
 */
import type * as Effect from "effect/Effect"
import type * as Redacted from "effect/Redacted"
import * as Schema from "effect/Schema"
import * as Amount from "../Amount.ts"
import * as Challenge from "../wire/mpp/Challenge.ts"
import type { Verdict } from "./Verdict.ts"

/**
 * Everything that an authorisation is made from, without a secret: what the ledger holds before the signer is called.
 *
 * @category models
 * @since 0.1.0
 */
export class Plan extends Schema.Class<Plan>("effect-mpp/Rails/Plan")({
  /** The name of the rail, for example `x402/exact`. */
  rail: Schema.String,
  /** `charge` pays once, `open` authorises a session's limit, `draw` spends within a session. */
  kind: Schema.Literals(["charge", "open", "draw"]),
  network: Schema.String,
  /** Address of the asset in our own table. */
  asset: Schema.String,
  /** The most that this authorisation can take, in base units. */
  units: Amount.Units,
  payer: Schema.String,
  payee: Schema.String,
  /** The most that fees which the payer pays come to, in micro-dollars: part of the hold. Absent: none. */
  feeUsd: Schema.optionalKey(Amount.Units),
  /** When it can no longer become spent (milliseconds since the epoch); absent: never. */
  spendableUntil: Schema.optionalKey(Schema.Natural),
  /** When what it answers has expired (milliseconds since the epoch): it is not presented any more from then on. */
  presentableUntil: Schema.optionalKey(Schema.Natural),
  /**
   * Of a draw: the most that can be taken of its session for it and for all draws before it. Sending it again takes nothing
   * more. Absent: each time that it is sent may be debited.
   */
  cumulative: Schema.optionalKey(Amount.Units),
  /** What a payment of it is found by on its chain. */
  mark: Schema.optionalKey(Schema.String),
  /** The complete unsigned payload, in the rail's own form. */
  data: Schema.Json,
  /** The challenge that it answers as its carrier has it, for the echo; no rail writes or reads it. Absent over HTTP. */
  native: Schema.optionalKey(Challenge.Native)
}) {}

/**
 * What is sent with a request: header fields, in one envelope or in several equivalent ones.
 *
 * **Details**
 *
 * All envelopes carry the same authorisation. The first is sent first; another one only if the answer says that the
 * server did not look into the first.
 *
 * @category models
 * @since 0.1.0
 */
export interface Credential {
  readonly envelopes: readonly [Envelope, ...ReadonlyArray<Envelope>]
  /** What must have happened on a chain before it is presented. */
  readonly broadcast?: Broadcast | undefined
}

/**
 * A transaction that the payer sends to the chain himself, and whose hash the credential presents.
 *
 * @category models
 * @since 0.1.0
 */
export interface Broadcast {
  /** Its hash, which is written down before it leaves. */
  readonly transaction: string
  /** Sends it unless it was sent before, and waits until it is mined, or never can be. Repeating it is safe. */
  readonly run: Effect.Effect<Verdict>
}

/**
 * Header fields of one form of a credential. Names are lower case.
 *
 * @category models
 * @since 0.1.0
 */
export type Envelope = { readonly [header: string]: Redacted.Redacted<string> }

/**
 * What a rail must know to plan a payment.
 *
 * @category models
 * @since 0.1.0
 */
export interface PlanContext {
  readonly origin: string
  readonly purchase: string
  readonly agent: string
}
