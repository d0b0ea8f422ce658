/**
 * Settling through a facilitator, and finding out what became of it.
 *
 * @since 0.1.0
 */
import * as Effect from "effect/Effect"
import type { Facilitator, FacilitatorUnavailable, Settlement, SettlementUnknown, Submission } from "./Facilitator.ts"

/**
 * Whether a settlement is still under way.
 *
 * @category predicates
 * @since 0.1.0
 */
export const isPending = ({ errorReason, success }: Settlement): boolean =>
  !success && errorReason === "settlement_pending"

const isSettling = (settlement: Settlement): boolean => settlement.success || isPending(settlement)

/**
 * Settles a payment. A settlement that is under way, or whose outcome is not known, is asked for once more, as its payer
 * would have to do.
 *
 * What is heard then counts only if it is good: the first request may have moved the money, and there are facilitators that
 * call a payment failed because it was settled before.
 *
 * @category combinators
 * @since 0.1.0
 */
export const settle = (
  facilitator: Facilitator["Service"],
  submission: Submission
): Effect.Effect<Settlement, FacilitatorUnavailable | SettlementUnknown> =>
  facilitator.settle(submission).pipe(
    Effect.catchTag("SettlementUnknown", (unknown) =>
      facilitator.settle(submission).pipe(
        Effect.catchTag("FacilitatorUnavailable", () => Effect.fail(unknown)),
        Effect.filterOrFail(isSettling, () => unknown)
      )),
    Effect.filterOrElse((settlement) => !isPending(settlement), (pending) =>
      facilitator.settle(submission).pipe(
        Effect.filterOrElse(isSettling, () => Effect.succeed(pending)),
        Effect.orElseSucceed(() => pending)
      ))
  )

/**
 * Names an EIP-3009 authorisation by what its chain takes once.
 *
 * @category getters
 * @since 0.1.0
 */
export const nameOf = (authorization: {
  readonly network: string
  readonly asset: string
  readonly from: string
  readonly nonce: string
}): string =>
  [authorization.network, authorization.asset, authorization.from, authorization.nonce].join("/").toLowerCase()
