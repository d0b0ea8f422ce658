/**
 * The digest of a request's body that a challenge is bound to. RFC 9530 writes it with colons, `sha-256=:...:`; servers
 * also leave them out. Both are read.
 *
 * @since 0.1.0
 */
import * as Base64 from "effect/encoding/Base64"
import { sha256 } from "viem/utils"

/**
 * The digest of a body, over its exact bytes.
 *
 * **Example** (The digest of no body)
 *
 * ```ts
 * import * as BodyDigest from "effect-mpp/wire/mpp/BodyDigest"
 *
 * BodyDigest.of(new Uint8Array()) // => "sha-256=:47DEQpj8HBSa+/TImW+5JCeuQeRkm5NMpJWZG3hSuFU=:"
 * ```
 *
 * @category constructors
 * @since 0.1.0
 */
export const of = (bytes: Uint8Array): string => `sha-256=:${Base64.encode(sha256(bytes, "bytes"))}:`

const sha256Digest = /^[ \t]*sha-256=(:?)([A-Za-z0-9+/]{43}=)\1[ \t]*$/i

/**
 * Whether a digest is that of a body. A digest of an algorithm other than SHA-256, or of several, matches nothing.
 *
 * @category predicates
 * @since 0.1.0
 */
export const matches = (digest: string, bytes: Uint8Array): boolean => {
  const written = sha256Digest.exec(digest)?.[2]
  return written !== undefined && written === Base64.encode(sha256(bytes, "bytes"))
}
