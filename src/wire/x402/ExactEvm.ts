/**
 * The proof of the scheme `exact` on EVM networks: an EIP-3009 `TransferWithAuthorization` and its signature.
 *
 * @since 0.1.0
 */
import * as Schema from "effect/Schema"
import * as Amount from "../../Amount.ts"

const Address = Schema.TemplateLiteral(["0x", Schema.String]).check(
  Schema.isPattern(/^0x[0-9a-fA-F]{40}$/, { message: "Expected an address" })
)

const Nonce = Schema.TemplateLiteral(["0x", Schema.String]).check(
  Schema.isPattern(/^0x[0-9a-fA-F]{64}$/, { message: "Expected 32 bytes" })
)

const Signature = Schema.TemplateLiteral(["0x", Schema.String]).check(
  Schema.isMaxLength(2 + 2 * 8192),
  Schema.isPattern(/^0x(?:[0-9a-fA-F]{2})+$/, { message: "Expected a signature" })
)

/**
 * What the payer signs. On the wire every member is a string; instants are seconds since the epoch.
 *
 * @category models
 * @since 0.1.0
 */
export const Authorization = Schema.Struct({
  from: Address,
  to: Address,
  value: Amount.Units,
  validAfter: Amount.Units,
  validBefore: Amount.Units,
  nonce: Nonce
})

/**
 * @category models
 * @since 0.1.0
 */
export type Authorization = typeof Authorization.Type

/**
 * The `payload` of a payment.
 *
 * @category models
 * @since 0.1.0
 */
export const Payload = Schema.Struct({ signature: Signature, authorization: Authorization })

/**
 * @category models
 * @since 0.1.0
 */
export type Payload = typeof Payload.Type

/**
 * Reads the `payload` of a payment.
 *
 * @category decoding
 * @since 0.1.0
 */
export const decode = Schema.decodeUnknownOption(Payload)

/**
 * Writes the `payload` of a payment.
 *
 * @category encoding
 * @since 0.1.0
 */
export const encode: (payload: Payload) => Schema.JsonObject = Schema.encodeSync(Payload)
