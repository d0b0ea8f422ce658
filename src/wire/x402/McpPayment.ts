/**
 * x402 over MCP. In version 2 the demand is a tool result that is an error, in version 1 a JSON-RPC error; the payment goes
 * into the metadata of the call and the settlement comes in that of the result, in both of them.
 *
 * @since 0.1.0
 */
import * as Array from "effect/Array"
import * as Option from "effect/Option"
import type * as Schema from "effect/Schema"
import * as Json from "../Json.ts"
import * as JsonRpc from "../JsonRpc.ts"

/**
 * The key of a payment, in the metadata of a call.
 *
 * @category constants
 * @since 0.1.0
 */
export const paymentKey = "x402/payment"

/**
 * The key of a settlement, in the metadata of a result or within a demand.
 *
 * @category constants
 * @since 0.1.0
 */
export const settlementKey = "x402/payment-response"

/**
 * The code of the JSON-RPC error that demands a payment.
 *
 * @category constants
 * @since 0.1.0
 */
export const requiredCode = 402

const isDemand = (value: unknown): boolean =>
  globalThis.Array.isArray(JsonRpc.member(value, "accepts")) &&
  (JsonRpc.member(value, "x402Version") === 1 || JsonRpc.member(value, "x402Version") === 2)

/** The demand itself, or what is wrapped as an error of the protocol. */
const within = (value: unknown): Option.Option<Schema.JsonObject> =>
  Array.findFirst(
    [value, JsonRpc.member(JsonRpc.member(value, "x402/error"), "data")],
    (one) => isDemand(one) ? JsonRpc.object(one) : Option.none()
  )

const firstText = (result: unknown): string => {
  const content = JsonRpc.member(result, "content")
  const text = globalThis.Array.isArray(content) ? JsonRpc.member(content[0], "text") : undefined
  return typeof text === "string" && text.length <= Json.maxBodyLength ? text : ""
}

/**
 * The demand that a response makes, of either version. A result is only one if it is an error; what is sold may well be
 * about payments.
 *
 * @category decoding
 * @since 0.1.0
 */
export const demand = ({ error, result }: JsonRpc.Response): Option.Option<Schema.JsonObject> => {
  if (error !== undefined) {
    return Option.orElse(
      error.code === requiredCode ? within(error.data) : Option.none(),
      // Servers that take both protocols put it beside their challenges.
      () => within(JsonRpc.member(error.data, "x402"))
    )
  }
  return JsonRpc.member(result, "isError") === true
    ? Option.orElse(
      within(JsonRpc.member(result, "structuredContent")),
      () => Option.flatMap(Json.parseObject(firstText(result)), within)
    )
    : Option.none()
}

/**
 * The settlement that a response reports, also where it failed.
 *
 * @category decoding
 * @since 0.1.0
 */
export const settlement = (response: JsonRpc.Response): Option.Option<Schema.JsonObject> =>
  Option.orElse(
    JsonRpc.metadata(response.result, settlementKey),
    () => Option.flatMap(demand(response), (it) => JsonRpc.object(it[settlementKey]))
  )
