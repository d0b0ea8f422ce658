/**
 * Money that has left a wallet, as a chain tells it: what a ledger is compared with, so that it notices what it has forgotten
 * and what others have spent.
 *
 * @since 0.1.0
 */
import type * as Effect from "effect/Effect"
import type { Asset } from "./Asset.ts"
import type { ChainError } from "./PaymentError.ts"

/**
 * What was moved, to whom, and when.
 *
 * @category models
 * @since 0.1.0
 */
export interface Details {
  /** The price, and what the payer paid for the transaction itself in the same asset; nothing if nothing was moved. */
  readonly units: bigint
  readonly fee: bigint
  readonly payee: string
  /** The time of its block, in milliseconds since the epoch. */
  readonly at: number
}

/**
 * A payment of the kind that a rail makes, whoever made it.
 *
 * @category models
 * @since 0.1.0
 */
export interface Movement {
  /** Names it among all payments of all chains. */
  readonly reference: string
  /** The hash of its transaction. */
  readonly transaction: string
  /** What an authorisation of it is found by: the `mark` of its plan is one of these. */
  readonly marks: ReadonlyArray<string>
  /** Whether its block is final. */
  readonly isFinal: boolean
  /** Asked for only where nobody knows the payment. */
  readonly details: Effect.Effect<Details, ChainError>
}

/**
 * What has left an account since a block.
 *
 * @category models
 * @since 0.1.0
 */
export interface Moved {
  /** In the order of the chain; those of blocks that are not final yet included, as far as was looked. */
  readonly movements: ReadonlyArray<Movement>
  /**
   * The last final block that was looked at, or where the next search begins: before the last one began, where the chain is
   * not as long as it was said to be.
   */
  readonly until: bigint
  /** Whether all that is final was looked at. */
  readonly isComplete: boolean
}

/**
 * Where a search begins: after a block, or at a time in milliseconds since the epoch.
 *
 * @category models
 * @since 0.1.0
 */
export type Since = bigint | { readonly at: number }

/**
 * An asset that a rail's wallet holds on a chain, and the kind of payments that leave it.
 *
 * @category models
 * @since 0.1.0
 */
export interface Account {
  /** Rails that share a wallet and pay alike have the same account. */
  readonly name: string
  readonly network: string
  readonly asset: Asset
  readonly payer: string
  /** Whether no two payments have the same mark. */
  readonly hasUniqueMarks: boolean
  /** What left it since then; without that, nothing did, and it is only said which block is the latest. */
  readonly moved: (since: Since | undefined) => Effect.Effect<Moved, ChainError>
}
