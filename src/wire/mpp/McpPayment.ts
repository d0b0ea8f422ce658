/**
 * The Payment scheme over MCP: a challenge is an object whose `request` is an object too, the credential goes into the
 * metadata of the call and the receipt comes in that of the result.
 *
 * Each challenge is read into the form that it has in `WWW-Authenticate`, so that everything else knows only one, and is
 * kept as it came for its echo. A challenge that cannot be echoed digit for digit is none.
 *
 * @since 0.1.0
 */
import * as Option from "effect/Option"
import type * as Schema from "effect/Schema"
import * as Json from "../Json.ts"
import * as JsonRpc from "../JsonRpc.ts"
import * as AuthScheme from "./AuthScheme.ts"
import * as Challenge from "./Challenge.ts"
import type { Credential } from "./Credential.ts"
import * as PaymentRequest from "./PaymentRequest.ts"

/**
 * The key of a credential, in the metadata of a call.
 *
 * @category constants
 * @since 0.1.0
 */
export const credentialKey = "org.paymentauth/credential"

/**
 * The key of a receipt, in the metadata of a result.
 *
 * @category constants
 * @since 0.1.0
 */
export const receiptKey = "org.paymentauth/receipt"

/**
 * The key of a demand, in the metadata of a result.
 *
 * @category constants
 * @since 0.1.0
 */
export const requiredKey = "org.paymentauth/payment-required"

/**
 * The codes of JSON-RPC errors that are about payment: a payment is demanded, the one that was sent is refused, it cannot be
 * read, or it could not be processed.
 *
 * @category constants
 * @since 0.1.0
 */
export const codes = {
  paymentRequired: -32042,
  verificationFailed: -32043,
  invalidParams: -32602,
  internalError: -32603
} as const

/**
 * A challenge that can be paid and echoed.
 *
 * @category models
 * @since 0.1.0
 */
export interface Received {
  /** Its form in `WWW-Authenticate`, as {@link Challenge.format} writes it: what a credential is matched with. */
  readonly line: string
  /** As it came, whatever else it has. */
  readonly native: Schema.JsonObject
}

/**
 * A demand. `header` is the value of a `WWW-Authenticate` with all challenges, those included that cannot be paid.
 *
 * @category models
 * @since 0.1.0
 */
export interface Required {
  readonly header: string
  readonly received: ReadonlyArray<Received>
  /** How many challenges have numbers that may have lost digits on their way through a parser. */
  readonly inexact: number
}

/** One that is meant for us and lacks what it needs is refused like any other of its kind. */
const unusable = AuthScheme.format("Payment", [["method", "unknown"]])

/** `null` says that a member is absent. What is no text has none of the forms that are known, and stands as it is. */
const textOf = (name: string, value: Schema.Json): string => {
  if (typeof value === "string") return value
  return (name === "request" || name === "opaque") && Json.isObject(value)
    ? PaymentRequest.encode(value)
    : JSON.stringify(value)
}

const names = [
  "id",
  "realm",
  "method",
  "intent",
  "request",
  "expires",
  "digest",
  "description",
  "opaque",
  "header"
]

const lineOf = (native: Schema.JsonObject): string =>
  AuthScheme.format(
    "Payment",
    names.flatMap((name) => {
      const value = Object.hasOwn(native, name) ? native[name] ?? null : null
      return value === null ? [] : [[name, textOf(name, value)] as const]
    })
  )

type Read = { readonly line: string; readonly native?: Schema.JsonObject; readonly inexact?: true }

const readOne = (value: unknown): Read => {
  const native = Option.getOrUndefined(JsonRpc.object(value))
  if (native === undefined) return { line: unusable }
  if (!JsonRpc.isExact(native)) return { line: unusable, inexact: true }
  const line = lineOf(native)
  // All of it is kept and echoed, whatever it has beside what its line tells.
  if (Math.max(line.length, JSON.stringify(native).length) > Json.maxHeaderLength) return { line: unusable }
  const [outcome] = Challenge.parse(line)
  return outcome?._tag === "Standard" ? { line: Challenge.format(outcome.challenge), native } : { line }
}

/** As many lines as a header holds; the rest is not read. */
const within = (read: ReadonlyArray<Read>): ReadonlyArray<Read> => {
  let length = 0
  return read.filter(({ line }) => (length += line.length + 2) <= Json.maxHeaderLength)
}

/**
 * Reads a demand: the `data` of an error, or what a result's metadata has under {@link requiredKey}. None where it lists no
 * challenges. Total.
 *
 * @category decoding
 * @since 0.1.0
 */
export const required = (data: unknown): Option.Option<Required> => {
  const challenges = JsonRpc.member(data, "challenges")
  if (!Array.isArray(challenges) || challenges.length === 0) return Option.none()
  const read = within(challenges.slice(0, AuthScheme.maxChallenges + 1).map(readOne))
  return Option.some({
    header: read.map(({ line }) => line).join(", "),
    received: read.flatMap(({ line, native }) => native === undefined ? [] : [{ line, native }]),
    inexact: read.filter(({ inexact }) => inexact).length
  })
}

/**
 * A challenge in its own form over MCP, as far as the header form tells it: for a credential whose challenge was received
 * in another life.
 *
 * @category encoding
 * @since 0.1.0
 */
export const restore = (challenge: Challenge.Challenge): Schema.JsonObject => ({
  ...challenge,
  request: Option.getOrElse(Challenge.requestOf(challenge), () => challenge.request)
})

/**
 * A credential as MCP carries it: with the challenge as it came.
 *
 * **Example** (The echo is what was received, whatever else it has)
 *
 * ```ts
 * import * as McpPayment from "effect-mpp/wire/mpp/McpPayment"
 *
 * const challenge = { id: "c_1", realm: "shop", method: "tempo", intent: "charge", request: "e30" }
 * const native = { ...challenge, request: {}, note: "kept" }
 * McpPayment.credential({ challenge, payload: { type: "hash" } }, native)
 * // => { challenge: native, payload: { type: "hash" } }
 * ```
 *
 * @category encoding
 * @since 0.1.0
 */
export const credential = ({ payload, source }: Credential, native: Schema.JsonObject): Schema.JsonObject => ({
  challenge: native,
  ...(source === undefined ? {} : { source }),
  payload
})

/** `tempo/charge`, and not `x402/exact` or `mpp/token-session`. */
const railName = /^([a-z][a-z0-9]*)\/(charge|session)(?:#\d+)?$/

/**
 * The capabilities that say which payments a client can make, for `capabilities.experimental`; none where it can make none
 * by this scheme. `rails` are the names of its rails.
 *
 * @category encoding
 * @since 0.1.0
 */
export const capability = (rails: ReadonlyArray<string>): Option.Option<Schema.JsonObject> => {
  const methods: Record<string, { readonly intents: Array<string> }> = {}
  for (const name of rails) {
    const [, method, intent] = railName.exec(name) ?? []
    if (method === undefined || intent === undefined) continue
    const { intents } = methods[method] ??= { intents: [] }
    if (!intents.includes(intent)) intents.push(intent)
  }
  return Object.keys(methods).length === 0 ? Option.none() : Option.some({ methods })
}
