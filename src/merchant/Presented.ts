/**
 * What a request presents to be served, and what is said of a credential that nothing here takes.
 *
 * @since 0.1.0
 */
import type * as Headers from "effect/http/Headers"
import * as Option from "effect/Option"
import * as Result from "effect/Result"
import * as AcceptPayment from "../wire/mpp/AcceptPayment.ts"
import * as Credential from "../wire/mpp/Credential.ts"
import { type Demand, type Presented, Refused } from "./Way.ts"

/** The fields that hold credentials. The second is for resources that need the first for something else. */
const fields = ["authorization", "payment-authorization"] as const

const scheme = /(?:^|,)[ \t]*payment(?=[ \t,]|$)/gi

const tooMany = new Refused({
  status: 400,
  code: "bad-request",
  detail: "The request presents more than one credential of the Payment scheme",
  demands: false
})

/**
 * Reads what a request presents. Several credentials of the Payment scheme are refused: they would buy one answer.
 *
 * @category decoding
 * @since 0.1.0
 */
export const read = (headers: Headers.Headers): Result.Result<Presented, Refused> => {
  const values = fields.flatMap((field) => headers[field] ?? [])
  if (values.reduce((count, value) => count + (value.match(scheme)?.length ?? 0), 0) > 1) return Result.fail(tooMany)
  const [credential] = values.flatMap((value) => Option.toArray(Credential.parse(value)))
  return Result.succeed({ headers, credential })
}

const malformed = (why: string) =>
  new Refused({
    status: 402,
    code: "malformed-credential",
    detail: `The credential cannot be read: ${why}`,
    demands: true
  })

/**
 * Why a credential is not taken that belongs to none of the ways to pay.
 *
 * @category constructors
 * @since 0.1.0
 */
export const unusable = (credential: Credential.Presented): Refused => {
  switch (credential._tag) {
    case "Standard":
      return new Refused({
        status: 400,
        code: "method-unsupported",
        detail: "The credential is of a method or an intent that is not offered here",
        demands: false
      })
    case "Token":
      return malformed("it is the token of a session, and sessions are not offered here")
    case "Malformed":
      return malformed(credential.why)
  }
}

/**
 * The challenges that a request can use, the best liked first. What the request does not say, cannot be read in, or
 * excludes altogether leaves them as they are.
 *
 * @category combinators
 * @since 0.1.0
 */
export const preferred = (
  challenges: Demand["challenges"],
  headers: Headers.Headers
): Demand["challenges"] => {
  const ranges = Option.flatMap(Option.fromUndefinedOr(headers["accept-payment"]), AcceptPayment.parse)
  if (Option.isNone(ranges)) return challenges
  const liked = challenges
    .map((challenge) => ({
      challenge,
      quality: AcceptPayment.quality(ranges.value, challenge.method, challenge.intent)
    }))
    .filter(({ quality }) => quality > 0)
  return liked.length === 0
    ? challenges
    : liked.toSorted((one, other) => other.quality - one.quality).map(({ challenge }) => challenge)
}
