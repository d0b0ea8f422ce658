/**
 * What answers a challenge: `Authorization: Payment <...>`, with a credential for one standard challenge or with the token
 * of a session.
 *
 * A standard credential is base64url JSON of an object with `challenge` and `payload`, good for one challenge; anything
 * else is a token, good until its session ends. A token that could be read as a credential is none.
 *
 * @since 0.1.0
 */
import * as Option from "effect/Option"
import * as Redacted from "effect/Redacted"
import * as Schema from "effect/Schema"
import * as Json from "../Json.ts"
import { Challenge } from "./Challenge.ts"
import { SessionToken } from "./SessionEndpoint.ts"

/**
 * A credential for a standard challenge. The challenge is echoed as it was received.
 *
 * @category models
 * @since 0.1.0
 */
export const Credential = Schema.Struct({
  challenge: Challenge,
  /** Who pays: `did:pkh:eip155:<chainId>:<address>`. */
  source: Schema.optionalKey(Schema.String),
  /** What proves the payment, in the method's own form. */
  payload: Schema.JsonObject
})

/**
 * @category models
 * @since 0.1.0
 */
export type Credential = typeof Credential.Type

/**
 * What a request carries.
 *
 * @category models
 * @since 0.1.0
 */
export type Presented =
  | { readonly _tag: "Standard"; readonly credential: Credential }
  | { readonly _tag: "Token"; readonly token: Redacted.Redacted<string> }
  | { readonly _tag: "Malformed"; readonly why: string }

/**
 * The header field that the credential for a challenge goes into, in lower case.
 *
 * @category getters
 * @since 0.1.0
 */
export const headerOf = (challenge: Challenge): "authorization" | "payment-authorization" =>
  challenge.header?.toLowerCase() === "payment-authorization" ? "payment-authorization" : "authorization"

const label = "payment credential"

/**
 * The header value that presents a credential.
 *
 * @category encoding
 * @since 0.1.0
 */
export const format = (credential: Credential): Redacted.Redacted<string> =>
  Redacted.make(
    `Payment ${
      Json.toBase64Url({
        challenge: credential.challenge,
        ...(credential.source === undefined ? {} : { source: credential.source }),
        payload: credential.payload
      })
    }`,
    { label }
  )

/**
 * The header value that presents the token of a session.
 *
 * @category encoding
 * @since 0.1.0
 */
export const formatToken = (token: Redacted.Redacted<string>): Redacted.Redacted<string> =>
  Redacted.make(`Payment ${Redacted.value(token)}`, { label })

/** The scheme's name alone, or with what follows it after spaces. */
const presentation = /^payment(?:[ \t]+(\S+))?$/i
const isOurs = (part: string) => /^payment(?!\S)/i.test(part)

const decodeCredential = Json.decoder(Credential)
const isToken = Schema.is(SessionToken)

/**
 * Reads what a request presents in its `Authorization` (or `Payment-Authorization`) header; none where that header is of
 * another scheme.
 *
 * **Details**
 *
 * Credentials of other schemes may stand beside it after a comma, as when a field is sent twice. Two of this scheme are
 * not one credential. A quote is part of no credential of ours, and begins a text that is not searched.
 *
 * @category decoding
 * @since 0.1.0
 */
export const parse = (header: string): Option.Option<Presented> => {
  const tooLong = header.length > Json.maxHeaderLength
  const [unquoted = ""] = (tooLong ? header.slice(0, 16) : header).split("\"", 1)
  const ours = unquoted.split(",").map((part) => part.trim()).filter(isOurs)
  if (ours.length === 0) return Option.none()
  const presented = tooLong || ours.length > 1 ? undefined : presentation.exec(ours[0]!)?.[1]
  return Option.some(
    presented === undefined ? { _tag: "Malformed", why: "it is not one credential" } : read(presented)
  )
}

/** Optional members of the challenge that are `null` are absent; the payload is the method's to read. */
const normalize = (json: Schema.JsonObject): Schema.JsonObject => ({
  ...json,
  ...(Json.isObject(json.challenge) ? { challenge: Json.withoutNulls(json.challenge) } : {})
})

const read = (presented: string): Presented => {
  const json = Option.getOrUndefined(Json.fromBase64(presented))
  if (json !== undefined && "challenge" in json && "payload" in json) {
    const credential = decodeCredential(normalize(json))
    return credential._tag === "Success"
      ? { _tag: "Standard", credential: credential.success }
      : { _tag: "Malformed", why: credential.failure }
  }
  return isToken(presented)
    ? { _tag: "Token", token: Redacted.make(presented, { label: "session token" }) }
    : { _tag: "Malformed", why: "it is neither a credential nor a token" }
}
