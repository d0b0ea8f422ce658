/**
 * x402 version 1: the demand is the JSON body of a 402, the payment is the header `X-PAYMENT`, the settlement comes back in
 * `X-PAYMENT-RESPONSE`. Networks have names.
 *
 * @since 0.1.0
 */
import * as Option from "effect/Option"
import * as Result from "effect/Result"
import * as Schema from "effect/Schema"
import * as Amount from "../../Amount.ts"
import * as Json from "../Json.ts"
import { Name, Word } from "../Text.ts"
import * as Required from "./PaymentRequired.ts"

/**
 * The header of a payment, in lower case.
 *
 * @category constants
 * @since 0.1.0
 */
export const paymentHeader = "x-payment"

/**
 * The header of a settlement, in lower case.
 *
 * @category constants
 * @since 0.1.0
 */
export const responseHeader = "x-payment-response"

/**
 * One way to pay.
 *
 * @category models
 * @since 0.1.0
 */
export const Requirement = Schema.Struct({
  scheme: Name,
  /** A name, for example `base-sepolia`. */
  network: Name,
  maxAmountRequired: Amount.Units,
  payTo: Word,
  asset: Word,
  maxTimeoutSeconds: Schema.Natural.check(Schema.isGreaterThan(0)),
  /** The URL that the merchant says it sells. */
  resource: Schema.optionalKey(Schema.String),
  description: Schema.optionalKey(Schema.String),
  mimeType: Schema.optionalKey(Schema.String),
  outputSchema: Schema.optionalKey(Schema.Json),
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
  1,
  Json.decoder(Requirement)
)

/**
 * Reads a demand from the body of a 402.
 *
 * @category decoding
 * @since 0.1.0
 */
export const decodeBody = (body: string): Option.Option<PaymentRequired> =>
  body.length > Json.maxBodyLength ? Option.none() : Option.flatMap(Json.parseObject(body), fromJson)

const encodeRequirement = Schema.encodeSync(Requirement)

/**
 * The body of a 402.
 *
 * @category encoding
 * @since 0.1.0
 */
export const toJson = (demand: {
  readonly error: string
  readonly accepts: ReadonlyArray<Requirement>
}): Schema.JsonObject => ({
  x402Version: 1,
  error: demand.error,
  accepts: demand.accepts.map((entry) => encodeRequirement(entry))
})

/**
 * A payment: the scheme and network that were chosen, and the scheme's own proof.
 *
 * @category models
 * @since 0.1.0
 */
export const Payment = Schema.Struct({
  x402Version: Schema.Literal(1),
  scheme: Schema.String,
  network: Schema.String,
  payload: Schema.JsonObject
})

/**
 * @category models
 * @since 0.1.0
 */
export type Payment = typeof Payment.Type

const decodePaymentJson = Json.decoder(Payment)

/**
 * Reads the value of the `X-PAYMENT` header.
 *
 * @category decoding
 * @since 0.1.0
 */
export const decodePayment = (header: string): Option.Option<Payment> =>
  header.length > Json.maxHeaderLength
    ? Option.none()
    : Option.flatMap(Json.fromBase64(header), (json) => Result.getSuccess(decodePaymentJson(json)))

/**
 * Writes the value of the `X-PAYMENT` header. Whoever reads it can take the money.
 *
 * @category encoding
 * @since 0.1.0
 */
export const encodePayment = (payment: Omit<Payment, "x402Version">): string =>
  Json.toBase64({ x402Version: 1, scheme: payment.scheme, network: payment.network, payload: payment.payload })
