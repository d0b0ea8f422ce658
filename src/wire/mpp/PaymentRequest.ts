/**
 * The `request` and `opaque` of a challenge as they travel: base64url without padding of canonical JSON.
 *
 * Only for what is written here. What was received is kept and echoed as it came: to decode and encode it again may change
 * it, and its challenge's `id` would no longer match.
 *
 * @since 0.1.0
 */
import * as Base64Url from "effect/encoding/Base64Url"
import type * as Schema from "effect/Schema"
import * as Json from "../Json.ts"

/**
 * Encodes what a challenge asks for.
 *
 * **Example** (The order of the members does not matter)
 *
 * ```ts
 * import * as PaymentRequest from "effect-mpp/wire/mpp/PaymentRequest"
 *
 * const encoded = PaymentRequest.encode({ pi: "pi_3abc123XYZ", deposit: "dep_456" })
 * encoded // => "eyJkZXBvc2l0IjoiZGVwXzQ1NiIsInBpIjoicGlfM2FiYzEyM1hZWiJ9"
 * ```
 *
 * @category encoding
 * @since 0.1.0
 */
export const encode = (json: Schema.JsonObject): string => Base64Url.encode(Json.canonical(json))
