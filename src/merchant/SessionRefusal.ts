/**
 * What a session endpoint refuses, and why.
 *
 * @since 0.1.0
 */
import * as HttpServerResponse from "effect/http/HttpServerResponse"
import * as ProblemDetails from "effect/http/ProblemDetails"
import * as Schema from "effect/Schema"

/**
 * The bearer credential belongs to no account.
 *
 * @category errors
 * @since 0.1.0
 */
export class Unauthorized extends Schema.TaggedError<Unauthorized>()("Unauthorized", {}) {
  override get message() {
    return "The credential belongs to no account"
  }
}

/**
 * The account has no session of that id or key.
 *
 * @category errors
 * @since 0.1.0
 */
export class NotFound extends Schema.TaggedError<NotFound>()("SessionNotFound", {}) {
  override get message() {
    return "The account has no such session"
  }
}

/**
 * A session is not opened, and why.
 *
 * @category errors
 * @since 0.1.0
 */
export class OpenRefused extends Schema.TaggedError<OpenRefused>()("OpenRefused", {
  why: Schema.Literals([
    "insufficient-balance",
    "idempotency-key-reused",
    "session-ended",
    "too-many-sessions",
    "malformed-challenge",
    "realm-mismatch",
    "empty-limit"
  ])
}) {
  override get message() {
    return openRefusals[this.why]
  }
}

const openRefusals: { readonly [K in OpenRefused["why"]]: string } = {
  "insufficient-balance": "The account's balance does not cover the limit",
  "idempotency-key-reused": "This Idempotency-Key opened a session for another request",
  "session-ended": "The session of this Idempotency-Key has ended; use a new key",
  "too-many-sessions": "The account has too many open sessions; close one, or wait for one to expire",
  "malformed-challenge": "The challenge cannot be read",
  "realm-mismatch": "The challenge's realm does not belong to the audience",
  "empty-limit": "The spending limit is nothing"
}

/**
 * A token is not debited, and why. `remainingUsd` is what its session may still spend, in micro-dollars.
 *
 * @category errors
 * @since 0.1.0
 */
export class DebitRefused extends Schema.TaggedError<DebitRefused>()("DebitRefused", {
  why: Schema.Literals([
    "unknown-token",
    "wrong-audience",
    "expired",
    "closed",
    "exhausted",
    "invalid-amount",
    "request-id-reused"
  ]),
  remainingUsd: Schema.BigIntFromString
}) {
  override get message() {
    return debitRefusals[this.why]
  }
}

const debitRefusals: { readonly [K in DebitRefused["why"]]: string } = {
  "unknown-token": "No session has this token",
  "wrong-audience": "The token was opened for another origin or realm",
  expired: "The session has expired",
  closed: "The session was closed",
  exhausted: "The session's limit is used up",
  "invalid-amount": "A negative amount cannot be debited",
  "request-id-reused": "This request id was debited with another amount"
}

// A guess: the limit on open sessions is no matter of time.
const tooManyRetryAfter = "60"

const openStatus: { readonly [K in OpenRefused["why"]]: number } = {
  "insufficient-balance": 402,
  "idempotency-key-reused": 422,
  "session-ended": 409,
  "too-many-sessions": 429,
  "malformed-challenge": 422,
  "realm-mismatch": 422,
  "empty-limit": 422
}

/**
 * An RFC 9457 problem of the types `urn:mpp:session:*`.
 *
 * @category responses
 * @since 0.1.0
 */
export const problem = (
  status: number,
  code: string,
  detail: string,
  more: { readonly [member: string]: string } = {}
): HttpServerResponse.HttpServerResponse =>
  ProblemDetails.toResponse({ ...more, type: `urn:mpp:session:${code}`, status, detail })

/**
 * The answer of the endpoint to what it refuses. `more` are further members of the problem.
 *
 * @category responses
 * @since 0.1.0
 */
export const toResponse = (
  refusal: Unauthorized | NotFound | OpenRefused,
  more?: { readonly [member: string]: string }
): HttpServerResponse.HttpServerResponse => {
  switch (refusal._tag) {
    case "Unauthorized":
      return HttpServerResponse.setHeader(
        problem(401, "unauthorized", refusal.message, more),
        "www-authenticate",
        "Bearer"
      )
    case "SessionNotFound":
      return problem(404, "not-found", refusal.message, more)
    case "OpenRefused": {
      const response = problem(openStatus[refusal.why], refusal.why, refusal.message, more)
      return refusal.why === "too-many-sessions"
        ? HttpServerResponse.setHeader(response, "retry-after", tooManyRetryAfter)
        : response
    }
  }
}
