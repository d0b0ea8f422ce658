/**
 * Money that a wallet has moved and its ledger does not know: it was restored or copied, or another program pays with the
 * same wallet. It counts as spent.
 *
 * @since 0.1.0
 */
import * as Schema from "effect/Schema"
import * as Amount from "../Amount.ts"
import type { Authorization } from "./Model.ts"
import * as Transition from "./Transition.ts"

/**
 * A payment of somebody else, or one that was forgotten.
 *
 * @category models
 * @since 0.1.0
 */
export class Foreign extends Schema.Class<Foreign>("effect-mpp/Ledger/Foreign")({
  /** Names it among all payments of all chains: what was noted once is not noted again. */
  reference: Schema.String,
  network: Schema.String,
  asset: Schema.String,
  payer: Schema.String,
  payee: Schema.String,
  units: Amount.Units,
  /** Micro-dollars. */
  usd: Amount.Units,
  transaction: Schema.String,
  /** The counters that it counts in. */
  counters: Schema.Array(Schema.String),
  /** When it was moved, and when that was noted; in milliseconds since the epoch. */
  at: Schema.Natural,
  notedAt: Schema.Natural,
  /**
   * It was moved while nobody wrote in this ledger: the ledger may have known it, and have been put back to an earlier state.
   * The next equal purchase is stopped, once.
   */
  maybeForgotten: Schema.Boolean
}) {}

/**
 * How far the payments of an account on its chain were compared with a ledger.
 *
 * @category models
 * @since 0.1.0
 */
export interface Watermark {
  readonly block: bigint
  /** The generation of the ledger whose rows they were compared with. */
  readonly generation: number
}

/**
 * An authorisation that a ledger knows, and that can have moved money.
 *
 * @category models
 * @since 0.1.0
 */
export interface Known {
  readonly id: string
  readonly mark: string
  /** The transaction that carried it out, where a chain has told. */
  readonly transaction: string | undefined
}

/**
 * What a ledger knows of an authorisation by its mark; nothing of one that has none, or that counts as returned.
 *
 * @category constructors
 * @since 0.1.0
 */
export const known = ({ broadcast, evidence, id, plan, state }: Authorization): Known | undefined => {
  if (plan.mark === undefined || state === "released") return undefined
  const proof = evidence.findLast((one) => Transition.isProof(one) || one.rank === "observed")
  return { id, mark: plan.mark, transaction: proof?.reference ?? broadcast?.transaction }
}
