/**
 * How far a purchase may come, and who may go on with it. Pure, like the steps of authorisations.
 *
 * @since 0.1.0
 */
import * as Result from "effect/Result"
import { formatUsd } from "../Amount.ts"
import { type Authorization, type Delivery, type Purchase, revise } from "./Model.ts"
import { type Step, takable } from "./Transition.ts"

/** A purchase goes back to `open` by being claimed, or by its owner's next authorisation. */
const deliveries: { readonly [K in Delivery]: ReadonlyArray<Delivery> } = {
  open: ["open", "delivering", "delivered", "broken", "undelivered", "abandoned", "void"],
  delivering: ["delivering", "delivered", "broken"],
  delivered: ["delivered"],
  broken: ["broken", "abandoned", "void"],
  undelivered: ["undelivered", "abandoned", "void"],
  abandoned: ["abandoned"],
  void: ["void"]
}

/**
 * Whether the next equal request resumes the purchase.
 *
 * @category guards
 * @since 0.1.0
 */
export const isClaimable = (delivery: Delivery): boolean => delivery === "undelivered" || delivery === "broken"

/**
 * Whether nothing more happens to a purchase.
 *
 * @category guards
 * @since 0.1.0
 */
export const isEnded = (delivery: Delivery): boolean =>
  delivery === "delivered" || delivery === "abandoned" || delivery === "void"

/**
 * Writes down how far a purchase came. It is void only if all of its authorisations are.
 *
 * @category purchases
 * @since 0.1.0
 */
export const deliver = (
  purchase: Purchase,
  delivery: Delivery,
  authorizations: ReadonlyArray<Authorization>
): Step<Purchase> => {
  if (!deliveries[purchase.delivery].includes(delivery)) {
    return Result.fail(`a purchase that is ${purchase.delivery} cannot become ${delivery}`)
  }
  if (delivery === "void" && authorizations.some((authorization) => authorization.state !== "released")) {
    return Result.fail("a purchase is void only if all of its authorisations are proven void")
  }
  return Result.succeed(purchase.delivery === delivery ? purchase : revise(purchase, { delivery }))
}

/**
 * Claims a purchase whose owner ended without content.
 *
 * @category purchases
 * @since 0.1.0
 */
export const claim = (purchase: Purchase, owner: string): Purchase =>
  revise(purchase, { delivery: "open", owner, resumes: purchase.resumes + 1 })

/**
 * The owner of a purchase is gone: it ended without content, or before all of it was read.
 *
 * @category purchases
 * @since 0.1.0
 */
export const orphan = (purchase: Purchase): Purchase =>
  purchase.delivery === "open"
    ? revise(purchase, { delivery: "undelivered" })
    : purchase.delivery === "delivering"
    ? revise(purchase, { delivery: "broken" })
    : purchase

/**
 * Another price is taken over only if nothing can be taken for the one that was approved, or if the draft says that the
 * program accepts a double spend: then the purchase is marked, and its price is what may be taken in all.
 */
const goOn = ({ authorizations, purchase }: Begun, draft: Purchase): Step<Purchase> => {
  if (purchase.owner !== draft.owner) return Result.fail("the purchase belongs to another owner by now")
  if (purchase.delivery !== "open" && purchase.delivery !== "undelivered") {
    return Result.fail(`the purchase is ${purchase.delivery}, and is not paid for again`)
  }
  const isFree = authorizations.every(({ state }) => state === "released")
  // What was undone may have cost fees, and they are part of what the purchase costs.
  const lostUsd = authorizations.reduce((sum, one) => one.state === "released" ? sum + one.spentUsd : sum, 0n)
  const approvedUsd = isFree || draft.doubleSpend ? draft.approvedUsd + lostUsd : purchase.approvedUsd
  const doubleSpend = purchase.doubleSpend || (!isFree && draft.doubleSpend)
  return Result.succeed(
    purchase.delivery === "open" && purchase.approvedUsd === approvedUsd && purchase.doubleSpend === doubleSpend
      ? purchase
      : revise(purchase, { delivery: "open", approvedUsd, doubleSpend })
  )
}

/**
 * A purchase that was begun, and what was authorised for it.
 *
 * @category models
 * @since 0.1.0
 */
export interface Begun {
  readonly purchase: Purchase
  readonly authorizations: ReadonlyArray<Authorization>
}

/**
 * Begins a purchase by its first authorisation, or goes on with it by another: its owner's business alone, and only while
 * it has not ended. What can be taken for it, by this authorisation and by all that are not released, is never above the
 * price that was approved.
 *
 * @category purchases
 * @since 0.1.0
 */
export const authorize = (begun: Begun | undefined, draft: Purchase, authorization: Authorization): Step<Purchase> =>
  Result.flatMap(begun === undefined ? Result.succeed(draft) : goOn(begun, draft), (purchase) => {
    const before = begun?.authorizations.reduce((total, one) => total + takable(one), 0n) ?? 0n
    const more = takable(authorization)
    return before + more <= purchase.approvedUsd
      ? Result.succeed(purchase)
      : Result.fail(
        `$${formatUsd(more)} more were to be authorised for a purchase for which $${
          formatUsd(before)
        } can be taken, and ` +
          `its approved price is $${formatUsd(purchase.approvedUsd)}`
      )
  })
