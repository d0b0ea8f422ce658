/**
 * How far a purchase may come, and who may go on with it. Pure, like the steps of authorisations.
 *
 * @since 0.1.0
 */
import * as Result from "effect/Result"
import { type Authorization, type Delivery, type Purchase, revise } from "./Model.ts"
import type { Step } from "./Transition.ts"

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
 * Goes on with a purchase by another authorisation: its owner's business alone, and only while it has not ended.
 *
 * @category purchases
 * @since 0.1.0
 */
export const goOn = (purchase: Purchase, owner: string): Step<Purchase> =>
  purchase.owner !== owner
    ? Result.fail("the purchase belongs to another owner by now")
    : purchase.delivery === "open"
    ? Result.succeed(purchase)
    : purchase.delivery === "undelivered"
    ? Result.succeed(revise(purchase, { delivery: "open" }))
    : Result.fail(`the purchase is ${purchase.delivery}, and is not paid for again`)
