/**
 * The `id` of a challenge as a message authentication code over what it binds, so that a server knows its own challenges
 * again without keeping them: HMAC-SHA256 over realm, method, intent, request, expiry, digest, header and opaque data.
 *
 * The description is not bound. `header` takes part only where it is not `Authorization`.
 *
 * @since 0.1.0
 */
import * as Base64Url from "effect/encoding/Base64Url"
import * as Redacted from "effect/Redacted"
import { concatBytes, sha256 } from "viem/utils"
import type { Challenge } from "./Challenge.ts"

const utf8 = new TextEncoder()
const blockSize = 64

const pad = (key: Uint8Array, value: number): Uint8Array =>
  Uint8Array.from({ length: blockSize }, (_, at) => (key[at] ?? 0) ^ value)

/** RFC 2104. */
const hmac = (secret: string, text: string): Uint8Array => {
  const bytes = utf8.encode(secret)
  const key = bytes.length > blockSize ? sha256(bytes, "bytes") : bytes
  const inner = sha256(concatBytes([pad(key, 0x36), utf8.encode(text)]), "bytes")
  return sha256(concatBytes([pad(key, 0x5c), inner]), "bytes")
}

/** Always the same number of separators: what is absent is empty. */
const boundText = (challenge: Omit<Challenge, "id">): string =>
  [
    challenge.realm,
    challenge.method,
    challenge.intent,
    challenge.request,
    challenge.expires ?? "",
    challenge.digest ?? "",
    ...(challenge.header === undefined || challenge.header.toLowerCase() === "authorization" ? [] : [challenge.header]),
    challenge.opaque ?? ""
  ].join("|")

/**
 * The id of a challenge under a secret.
 *
 * **Example** (Binding a challenge)
 *
 * ```ts
 * import * as ChallengeId from "effect-mpp/wire/mpp/ChallengeId"
 * import * as Redacted from "effect/Redacted"
 *
 * ChallengeId.compute(Redacted.make("test-vector-secret"), {
 *   realm: "api.example.com",
 *   method: "tempo",
 *   intent: "charge",
 *   request: "eyJhbW91bnQiOiIxMDAwMDAwIn0"
 * })
 * // => "X6v1eo7fJ76gAxqY0xN9Jd__4lUyDDYmriryOM-5FO4"
 * ```
 *
 * @category constructors
 * @since 0.1.0
 */
export const compute = (secret: Redacted.Redacted<string>, challenge: Omit<Challenge, "id">): string =>
  Base64Url.encode(hmac(Redacted.value(secret), boundText(challenge)))

/** Every character is looked at, wherever the first difference is. */
const isEqual = (one: string, two: string): boolean => {
  if (one.length !== two.length) return false
  let difference = 0
  for (let at = 0; at < one.length; at++) difference |= one.charCodeAt(at) ^ two.charCodeAt(at)
  return difference === 0
}

/**
 * Whether the id of a challenge was made under one of the secrets: the present one, and those before it whose challenges
 * have not expired yet. Takes as long for a wrong id as for a right one.
 *
 * @category predicates
 * @since 0.1.0
 */
export const verify = (secrets: ReadonlyArray<Redacted.Redacted<string>>, challenge: Challenge): boolean =>
  secrets.map((secret) => isEqual(compute(secret, challenge), challenge.id)).includes(true)
