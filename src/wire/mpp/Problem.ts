/**
 * RFC 9457 problem documents, reduced to a code that is known here and to what the merchant wrote for people.
 *
 * @since 0.1.0
 */
import * as Option from "effect/Option"
import type * as Schema from "effect/Schema"
import { cleanText } from "../../Offer.ts"
import * as Json from "../Json.ts"

/**
 * Where the types of the Payment scheme's problems live.
 *
 * @category constants
 * @since 0.1.0
 */
export const base = "https://paymentauth.org/problems/"

/**
 * The problems that are told apart: the scheme's own, those of Tempo sessions, and those that servers are seen to add.
 *
 * @category constants
 * @since 0.1.0
 */
export const codes: ReadonlySet<string> = new Set([
  "payment-required",
  "payment-insufficient",
  "payment-expired",
  "verification-failed",
  "invalid-challenge",
  "malformed-credential",
  "method-unsupported",
  "session/invalid-signature",
  "session/signer-mismatch",
  "session/amount-exceeds-deposit",
  "session/delta-too-small",
  "session/insufficient-balance",
  "session/challenge-not-found",
  "session/channel-not-found",
  "session/channel-finalized",
  "invalid-payload",
  "bad-request",
  "payment-action-required",
  "internal-payment-error"
])

/**
 * A problem. `code` is one of {@link codes}, or `unspecified`; everything else that the server wrote is `merchantText`.
 *
 * @category models
 * @since 0.1.0
 */
export interface Problem {
  readonly code: string
  readonly merchantText: string | undefined
}

const prefixes = [base, "https://ietf.org/payment/problems/", "urn:payment:error:"]

const codeOf = (type: string): string => {
  const prefix = prefixes.find((known) => type.startsWith(known)) ?? ""
  const code = type.slice(prefix.length).replace(/\/$/, "")
  return codes.has(code) ? code : "unspecified"
}

const text = (value: Schema.Json | undefined): string => typeof value === "string" ? cleanText(value) : ""

/**
 * Reads a problem document: an object with a `type`, or with a `title` or `detail` and a numeric `status`.
 *
 * @category decoding
 * @since 0.1.0
 */
export const fromJson = (json: Schema.JsonObject): Option.Option<Problem> => {
  const { detail, status, title, type } = json
  const written = text(detail) || text(title)
  if (typeof type !== "string" && (written === "" || typeof status !== "number")) return Option.none()
  return Option.some({
    code: typeof type === "string" ? codeOf(type) : "unspecified",
    merchantText: written === "" ? undefined : written
  })
}

/**
 * Reads a problem document from a body.
 *
 * @category decoding
 * @since 0.1.0
 */
export const decode = (body: string): Option.Option<Problem> =>
  body.length > Json.maxBodyLength ? Option.none() : Option.flatMap(Json.parseObject(body), fromJson)

/**
 * The members of a problem document of the Payment scheme; its media type is `application/problem+json`.
 *
 * @category encoding
 * @since 0.1.0
 */
export const toJson = (problem: {
  readonly code: string
  readonly title: string
  readonly status: number
  readonly detail?: string
}): Schema.JsonObject => ({
  type: `${base}${problem.code}`,
  title: problem.title,
  status: problem.status,
  ...(problem.detail === undefined ? {} : { detail: problem.detail })
})
