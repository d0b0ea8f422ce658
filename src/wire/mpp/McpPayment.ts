/**
 * The Payment scheme over MCP: a challenge is an object whose `request` is an object too, the credential goes into the
 * metadata of the call and the receipt comes in that of the result.
 *
 * Each challenge is read into what it would be in `WWW-Authenticate`, so that everything else knows only one form, and its
 * JSON goes with it into the ledger for the echo. A challenge that cannot be echoed digit for digit is none.
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
 * A demand: what each of its challenges is.
 *
 * @category models
 * @since 0.1.0
 */
export interface Required {
  readonly challenges: ReadonlyArray<Challenge.Outcome>
  /** How many of them have numbers that may have lost digits on their way through a parser. */
  readonly inexact: number
}

/** One that is meant for us and lacks what it needs is refused like any other of its kind. */
const unusable = (why: string): Challenge.Outcome => ({ _tag: "Malformed", protocol: "mpp", why })

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

/** A challenge by what its header form would have. */
const paramsOf = (native: Schema.JsonObject): ReadonlyMap<string, string> =>
  new Map(names.flatMap((name) => {
    const value = Object.hasOwn(native, name) ? native[name] ?? null : null
    return value === null ? [] : [[name, textOf(name, value)] as const]
  }))

interface Read {
  readonly outcome: Challenge.Outcome
  readonly length: number
  readonly inexact: boolean
}

const readOne = (value: unknown): Read => {
  const refused = (why: string, inexact = false) => ({ outcome: unusable(why), length: 0, inexact })
  const native = Option.getOrUndefined(JsonRpc.object(value))
  if (native === undefined) return refused("it is no object")
  if (!JsonRpc.isExact(native)) return refused("it has numbers that may have lost digits", true)
  // All of it is kept and echoed, whatever it has beside what is read of it.
  const text = JSON.stringify(native)
  if (text.length > Challenge.maxNativeLength) return refused("it is too long to be kept")
  const outcome = Challenge.fromParams(paramsOf(native))
  return {
    outcome: outcome._tag === "Standard" ? { ...outcome, native: text } : outcome,
    length: text.length,
    inexact: false
  }
}

/** As many as a header holds; the rest is not read. */
const within = (read: ReadonlyArray<Read>): ReadonlyArray<Read> => {
  let sum = 0
  return read.filter(({ length }) => (sum += length) <= Json.maxHeaderLength)
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
  const read = within(challenges.slice(0, AuthScheme.maxChallenges).map(readOne))
  return Option.some({
    challenges: read.map(({ outcome }) => outcome),
    inexact: read.filter(({ inexact }) => inexact).length
  })
}

/** A challenge as far as the header form tells it: for one whose original was not kept. */
const restore = (challenge: Challenge.Challenge): Schema.JsonObject => ({
  ...challenge,
  request: Option.getOrElse(Challenge.requestOf(challenge), () => challenge.request)
})

/** The original of a challenge; none where the text is that of another one. */
const original = (challenge: Challenge.Challenge, native: string): Option.Option<Schema.JsonObject> =>
  Option.filter(Json.parseObject(native), (json) => {
    const read = Challenge.fromParams(paramsOf(json))
    return read._tag === "Standard" && Challenge.format(read.challenge) === Challenge.format(challenge)
  })

/**
 * A credential as MCP carries it: with the challenge as it came. `native` is its JSON, as {@link required} has read it.
 *
 * **Details**
 *
 * Where there is none, or the one of another challenge, the challenge is written as far as its header form tells it.
 *
 * **Example** (The echo is what was received, whatever else it has)
 *
 * ```ts
 * import * as McpPayment from "effect-mpp/wire/mpp/McpPayment"
 *
 * const challenge = { id: "c_1", realm: "shop", method: "tempo", intent: "charge", request: "e30" }
 * const native = { ...challenge, request: {}, note: "kept" }
 * McpPayment.credential({ challenge, payload: { type: "hash" } }, JSON.stringify(native))
 * // => { challenge: native, payload: { type: "hash" } }
 * ```
 *
 * @category encoding
 * @since 0.1.0
 */
export const credential = (
  { challenge, payload, source }: Credential,
  native: string | undefined
): Schema.JsonObject => ({
  challenge: Option.fromUndefinedOr(native).pipe(
    Option.flatMap((text) => original(challenge, text)),
    Option.getOrElse(() => restore(challenge))
  ),
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
