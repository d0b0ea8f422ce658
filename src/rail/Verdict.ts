/**
 * What an answer says of the money, and how much that is worth.
 *
 * @since 0.1.0
 */
import * as Schema from "effect/Schema"

/**
 * How much a piece of evidence is worth: `proven` by a finalized block, `observed` in the latest one, `attested` by the
 * configured session endpoint, `claimed` by the merchant, `presumed` from time alone.
 *
 * A claim may commit money and never frees it: only `proven` (for a token session `attested`) returns a hold.
 *
 * @category models
 * @since 0.1.0
 */
export const Rank = Schema.Literals(["proven", "observed", "attested", "claimed", "presumed"])

/**
 * @category models
 * @since 0.1.0
 */
export type Rank = typeof Rank.Type

/**
 * A reason to believe something of an authorisation.
 *
 * @category models
 * @since 0.1.0
 */
export class Evidence extends Schema.Class<Evidence>("effect-mpp/Rails/Evidence")({
  rank: Rank,
  /** In our own words: `receipt`, `authorization used`, `status 402`. */
  what: Schema.String,
  /** A transaction hash or the like, of harmless characters. */
  reference: Schema.optionalKey(Schema.String),
  /** It does not fit what was signed: another payer, payee, network or amount. */
  mismatch: Schema.optionalKey(Schema.Boolean),
  detail: Schema.optionalKey(Schema.Json)
}) {}

/**
 * What an answer says of the money, and what to do next.
 *
 * - `Settled`: it moved (`units` of it). With `content`, the answer is what was bought.
 * - `Rejected`: the server says no, and may still take it.
 * - `Void`: proven that it can never move.
 *
 * Fees come on top: `feeUsd` is what the payer paid for them, in micro-dollars. Where a settled one does not say, it counts
 * all that was held for them.
 *
 * - `Unknown`: no statement can be trusted. With `content`, the answer is what was bought all the same.
 *
 * @category models
 * @since 0.1.0
 */
export type Verdict =
  | {
    readonly _tag: "Settled"
    readonly units: bigint
    readonly feeUsd?: bigint
    readonly content: boolean
    readonly evidence: Evidence
    /** Of a draw: what its session has paid for in all, as its server says, and the most that was ever signed; in base units. */
    readonly session?: { readonly total: bigint; readonly signed: bigint }
  }
  | { readonly _tag: "Rejected"; readonly problem: string; readonly evidence: Evidence }
  | { readonly _tag: "Void"; readonly feeUsd?: bigint; readonly evidence: Evidence }
  | {
    readonly _tag: "Unknown"
    readonly content: boolean
    readonly evidence: Evidence
    readonly next: Next
  }

/**
 * What may resolve an unknown outcome.
 *
 * - `resend`: the same authorisation again, after `after` milliseconds if the server said so;
 * - `envelope`: the same authorisation in the credential's next envelope;
 * - `reconcile`: ask the chain or the authority;
 * - `renew`: the session's token expired: renew the session once, and draw again;
 * - `challenge`: the same authorisation again, with another challenge of the server's: it did not look beyond the first.
 *
 * @category models
 * @since 0.1.0
 */
export type Next =
  | { readonly _tag: "resend"; readonly after?: number | undefined }
  | { readonly _tag: "envelope" }
  | { readonly _tag: "reconcile" }
  | { readonly _tag: "renew" }
  | { readonly _tag: "challenge" }
