/**
 * x402 version 2: the demand is the header `PAYMENT-REQUIRED`, the payment is the header `PAYMENT-SIGNATURE`, the settlement
 * comes back in `PAYMENT-RESPONSE`. Each is base64 of JSON. Networks are CAIP-2.
 *
 * @since 0.1.0
 */
import * as Option from "effect/Option"
import * as Result from "effect/Result"
import * as Schema from "effect/Schema"
import * as Amount from "../../Amount.ts"
import { Network } from "../../Asset.ts"
import * as Json from "../Json.ts"
import { Name, Word } from "../Text.ts"
import * as Required from "./PaymentRequired.ts"

/**
 * The header of a demand, in lower case.
 *
 * @category constants
 * @since 0.1.0
 */
export const requiredHeader = "payment-required"

/**
 * The header of a payment, in lower case.
 *
 * @category constants
 * @since 0.1.0
 */
export const paymentHeader = "payment-signature"

/**
 * The header of a settlement, in lower case.
 *
 * @category constants
 * @since 0.1.0
 */
export const responseHeader = "payment-response"

/**
 * One way to pay.
 *
 * @category models
 * @since 0.1.0
 */
export const Requirement = Schema.Struct({
  scheme: Name,
  network: Network,
  amount: Amount.Units,
  asset: Word,
  payTo: Word,
  maxTimeoutSeconds: Schema.Natural.check(Schema.isGreaterThan(0)),
  /** The scheme's own; for `exact` on EVM the EIP-712 domain's `name` and `version`. */
  extra: Schema.optionalKey(Schema.JsonObject)
})

/**
 * @category models
 * @since 0.1.0
 */
export type Requirement = typeof Requirement.Type

/**
 * A demand.
 *
 * @category models
 * @since 0.1.0
 */
export type PaymentRequired = Required.PaymentRequired<Requirement>

/**
 * Reads a demand from JSON; none where the object is no demand of this version.
 *
 * @category decoding
 * @since 0.1.0
 */
export const fromJson: (json: Schema.JsonObject) => Option.Option<PaymentRequired> = Required.fromJson(
  2,
  Json.decoder(Requirement)
)

/**
 * Reads the value of the `PAYMENT-REQUIRED` header.
 *
 * @category decoding
 * @since 0.1.0
 */
export const decodeHeader = (header: string): Option.Option<PaymentRequired> =>
  header.length > Json.maxHeaderLength ? Option.none() : Option.flatMap(Json.fromBase64(header), fromJson)

/**
 * What is sold.
 *
 * @category models
 * @since 0.1.0
 */
export const Resource = Schema.Struct({
  url: Schema.String,
  description: Schema.optionalKey(Schema.String),
  mimeType: Schema.optionalKey(Schema.String),
  serviceName: Schema.optionalKey(Schema.String),
  tags: Schema.optionalKey(Schema.Array(Schema.String)),
  iconUrl: Schema.optionalKey(Schema.String)
})

/**
 * @category models
 * @since 0.1.0
 */
export type Resource = typeof Resource.Type

const encodeRequirement = Schema.encodeSync(Requirement)

/**
 * Writes the value of the `PAYMENT-REQUIRED` header.
 *
 * @category encoding
 * @since 0.1.0
 */
export const encodeHeader = (demand: {
  readonly resource: Resource
  readonly accepts: ReadonlyArray<Requirement>
  readonly error?: string
  readonly extensions?: Schema.JsonObject
}): string =>
  Json.toBase64({
    x402Version: 2,
    ...(demand.error === undefined ? {} : { error: demand.error }),
    resource: { ...demand.resource },
    accepts: demand.accepts.map((entry) => encodeRequirement(entry)),
    ...(demand.extensions === undefined ? {} : { extensions: demand.extensions })
  })

/**
 * A payment: the entry that was chosen, as it was received, and the scheme's own proof.
 *
 * @category models
 * @since 0.1.0
 */
export const Payment = Schema.Struct({
  x402Version: Schema.Literal(2),
  accepted: Schema.JsonObject,
  payload: Schema.JsonObject,
  resource: Schema.optionalKey(Schema.JsonObject),
  extensions: Schema.optionalKey(Schema.JsonObject)
})

/**
 * @category models
 * @since 0.1.0
 */
export type Payment = typeof Payment.Type

const decodePaymentJson = Json.decoder(Payment)

/**
 * Reads the value of the `PAYMENT-SIGNATURE` header.
 *
 * @category decoding
 * @since 0.1.0
 */
export const decodePayment = (header: string): Option.Option<Payment> =>
  header.length > Json.maxHeaderLength
    ? Option.none()
    : Option.flatMap(Json.fromBase64(header), (json) => Result.getSuccess(decodePaymentJson(json)))

/**
 * Writes the value of the `PAYMENT-SIGNATURE` header. Whoever reads it can take the money.
 *
 * @category encoding
 * @since 0.1.0
 */
export const encodePayment = (payment: Omit<Payment, "x402Version">): string =>
  Json.toBase64({
    x402Version: 2,
    ...(payment.resource === undefined ? {} : { resource: payment.resource }),
    accepted: payment.accepted,
    payload: payment.payload,
    ...(payment.extensions === undefined ? {} : { extensions: payment.extensions })
  })
