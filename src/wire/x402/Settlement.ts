/**
 * What an x402 server says of the settlement, in `PAYMENT-RESPONSE` and `X-PAYMENT-RESPONSE`, and the codes in which it says
 * why a payment failed.
 *
 * @since 0.1.0
 */
import * as Option from "effect/Option"
import * as Result from "effect/Result"
import * as Schema from "effect/Schema"
import * as Amount from "../../Amount.ts"
import { cleanText } from "../../Offer.ts"
import * as Json from "../Json.ts"
import * as Networks from "./Networks.ts"

/**
 * A settlement, or its failure. `transaction` may be a real one although `success` is false.
 *
 * @category models
 * @since 0.1.0
 */
export interface Settlement {
  readonly protocol: "x402"
  readonly success: boolean
  /** Empty where there is none. */
  readonly transaction: string
  /** CAIP-2. */
  readonly network: string
  readonly payer: string | undefined
  /** What was taken, where it is said. */
  readonly amount: bigint | undefined
  /** One of {@link codes}, or `unspecified`; absent where no reason is given. */
  readonly errorReason: string | undefined
  readonly merchantText: string | undefined
}

const Wire = Schema.Struct({
  success: Schema.Boolean,
  transaction: Schema.optionalKey(Schema.String),
  network: Schema.optionalKey(Schema.String),
  payer: Schema.optionalKey(Schema.String),
  amount: Schema.optionalKey(Schema.Json),
  errorReason: Schema.optionalKey(Schema.Json),
  errorMessage: Schema.optionalKey(Schema.Json),
  error: Schema.optionalKey(Schema.Json)
})

const decodeWire = Json.decoder(Wire)
const decodeUnits = Schema.decodeUnknownOption(Amount.Units)

/**
 * Reads the header leniently: what it claims is that money moved.
 *
 * @category decoding
 * @since 0.1.0
 */
export const decode = (header: string): Option.Option<Settlement> => {
  if (header.length > Json.maxHeaderLength) return Option.none()
  return Option.flatMap(
    Json.fromBase64(header.trim()),
    (json) =>
      Option.map(Result.getSuccess(decodeWire(json)), (wire): Settlement => {
        const network = wire.network ?? ""
        const reason = wire.errorReason ?? wire.error
        const text = [wire.errorMessage, reason].find((written) => typeof written === "string")
        return {
          protocol: "x402",
          success: wire.success,
          transaction: cleanText(wire.transaction ?? ""),
          network: Option.getOrElse(Networks.fromName(network), () => cleanText(network)),
          payer: wire.payer === undefined ? undefined : cleanText(wire.payer),
          amount: Option.getOrUndefined(decodeUnits(wire.amount)),
          errorReason: typeof reason === "string" && reason !== "" ? codeOf(reason) : undefined,
          merchantText: text === undefined ? undefined : cleanText(text)
        }
      })
  )
}

/**
 * Writes the value of the `PAYMENT-RESPONSE` header (`network` is CAIP-2), or of `X-PAYMENT-RESPONSE` (`network` is a name).
 *
 * @category encoding
 * @since 0.1.0
 */
export const encode = (settlement: {
  readonly success: boolean
  readonly transaction: string
  readonly network: string
  readonly payer?: string
  readonly amount?: bigint
  readonly errorReason?: string
}): string => {
  const { amount, errorReason, network, payer, success, transaction } = settlement
  return Json.toBase64({
    success,
    ...(errorReason === undefined ? {} : { errorReason }),
    ...(payer === undefined ? {} : { payer }),
    transaction,
    network,
    ...(amount === undefined ? {} : { amount: amount.toString() })
  })
}

const exactEvm = [
  "scheme",
  "network_mismatch",
  "missing_eip712_domain",
  "recipient_mismatch",
  "signature",
  "authorization_value",
  "transaction_failed",
  "transfer_event_mismatch",
  "token_name_mismatch",
  "token_version_mismatch",
  "eip3009_not_supported",
  "nonce_already_used",
  "insufficient_balance",
  "transaction_simulation_failed",
  "failed_to_parse_signature",
  "payload_undeployed_smart_wallet",
  "payload_authorization_valid_before",
  "payload_authorization_valid_after",
  "payload_authorization_value",
  "payload_authorization_value_mismatch",
  "payload_signature",
  "payload_recipient_mismatch"
].map((code) => `invalid_exact_evm_${code}`)

const permit2 = [
  "invalid_permit2_spender",
  "invalid_permit2_recipient_mismatch",
  "invalid_permit2_signature",
  "permit2_deadline_expired",
  "permit2_not_yet_valid",
  "permit2_amount_mismatch",
  "permit2_token_mismatch",
  "permit2_allowance_required",
  "permit2_simulation_failed",
  "permit2_insufficient_balance",
  "permit2_proxy_not_deployed",
  "permit2_invalid_amount",
  "permit2_invalid_destination",
  "permit2_invalid_owner",
  "permit2_payment_too_early",
  "permit2_invalid_nonce",
  "permit2_2612_amount_mismatch"
]

/**
 * The reasons that are told apart.
 *
 * @category constants
 * @since 0.1.0
 */
export const codes: ReadonlySet<string> = new Set([
  ...exactEvm,
  ...permit2,
  "asset_not_deployed_contract",
  "settlement_pending",
  "invalid_transaction_state",
  "unsupported_payload_type",
  "eip6492_factory_not_allowed",
  "smart_wallet_deployment_failed",
  "insufficient_funds",
  "invalid_network",
  "invalid_payload",
  "invalid_payment",
  "invalid_payment_requirements",
  "invalid_scheme",
  "unsupported_scheme",
  "invalid_x402_version",
  "unexpected_verify_error",
  "unexpected_settle_error",
  "extension_echo_mismatch",
  "duplicate_settlement",
  "payment_required",
  "payment_expired"
])

/**
 * The known code that a text is, or `unspecified`.
 *
 * @category getters
 * @since 0.1.0
 */
export const codeOf = (text: string): string => codes.has(text) ? text : "unspecified"
