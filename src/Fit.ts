/**
 * Whether an offer fits the request that it is for: where its credential would go, what content it is bound to, and whether
 * the request itself asks not to be paid for that way.
 *
 * @since 0.1.0
 */
import * as Option from "effect/Option"
import type { Exchange } from "./Exchange.ts"
import type { Offer } from "./Offer.ts"
import { PolicyDenied } from "./PaymentError.ts"
import * as AcceptPayment from "./wire/mpp/AcceptPayment.ts"
import * as BodyDigest from "./wire/mpp/BodyDigest.ts"
import * as Challenge from "./wire/mpp/Challenge.ts"
import * as Credential from "./wire/mpp/Credential.ts"

/**
 * What of a request matters for that.
 *
 * @category models
 * @since 0.1.0
 */
export type Request = Pick<Exchange<never, never, never>, "authorized" | "content" | "acceptPayment">

/** Whether the credential for an offer would go into the `Authorization` field. */
const usesAuthorization = (offer: Offer): boolean =>
  offer.protocol !== "x402" &&
  Option.match(Challenge.fromOffer(offer), {
    onNone: () => true,
    onSome: (challenge) => Credential.headerOf(challenge) === "authorization"
  })

const isBoundToOther = (offer: Offer, { content }: Request): boolean => {
  const digest = Option.getOrUndefined(Option.flatMapNullishOr(Challenge.fromOffer(offer), (it) => it.digest))
  return digest !== undefined && (content === undefined || !BodyDigest.matches(digest, content))
}

/**
 * How much the caller wants to pay an offer, from 0 to 1, by the `Accept-Payment` field of the request. What the field does
 * not name is 0; without the field, or with one that cannot be read, everything is 1. It says nothing of x402.
 *
 * @category getters
 * @since 0.1.0
 */
export const preference = (offer: Offer, { acceptPayment }: Request): number => {
  if (acceptPayment === undefined || offer.protocol !== "mpp") return 1
  return Option.match(AcceptPayment.parse(acceptPayment), {
    onNone: () => 1,
    onSome: (ranges) => AcceptPayment.quality(ranges, offer.method, offer.intent)
  })
}

/**
 * Why an offer must not be paid for a request, if there is a reason: rules `authorization-in-use`, `digest-mismatch` and
 * `accept-payment`.
 *
 * @category rules
 * @since 0.1.0
 */
export const objection = (offer: Offer, request: Request): Option.Option<PolicyDenied> => {
  const deny = (rule: string, detail: string) => Option.some(new PolicyDenied({ rule, detail, offer }))
  if (request.authorized && usesAuthorization(offer)) {
    return deny(
      "authorization-in-use",
      "the request has an Authorization header of its own, and it is never overwritten"
    )
  }
  if (isBoundToOther(offer, request)) {
    return deny("digest-mismatch", "the challenge is bound to another content than the request has")
  }
  return preference(offer, request) === 0
    ? deny("accept-payment", "the request's own Accept-Payment header excludes it")
    : Option.none()
}
