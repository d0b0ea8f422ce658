/**
 * What a request to an MCP server says of payment, in its metadata and in the capabilities of the client.
 *
 * @since 0.1.0
 */
import * as Option from "effect/Option"
import * as Predicate from "effect/Predicate"
import * as Redacted from "effect/Redacted"
import type * as Schema from "effect/Schema"
import * as Json from "./Json.ts"
import * as JsonRpc from "./JsonRpc.ts"
import * as Credential from "./mpp/Credential.ts"
import * as McpPayment from "./mpp/McpPayment.ts"
import * as X402 from "./x402/McpPayment.ts"
import * as V1 from "./x402/V1.ts"
import * as V2 from "./x402/V2.ts"

/**
 * Named values: the parameters of a request, or its metadata.
 *
 * @category models
 * @since 0.1.0
 */
export type Members = { readonly [name: string]: unknown }

const orEmpty = (value: unknown) => Predicate.isObject(value) ? value : {}

/**
 * The parameters of a request with more metadata.
 *
 * @category combinators
 * @since 0.1.0
 */
export const withMetadata = (params: Members = {}, metadata: Members): Members => ({
  ...params,
  _meta: { ...orEmpty(params._meta), ...metadata }
})

/**
 * Whether parameters carry a payment.
 *
 * @category predicates
 * @since 0.1.0
 */
export const hasPayment = ({ _meta }: Members): boolean =>
  [McpPayment.credentialKey, X402.paymentKey].some((key) => JsonRpc.member(_meta, key) !== undefined)

/**
 * The metadata that carries a credential, which is given as header fields; none where it has a form that does not travel
 * over MCP. `native` is the challenge as it came. Whoever reads the metadata can take the money.
 *
 * @category encoding
 * @since 0.1.0
 */
export const payment = (
  fields: { readonly [header: string]: Redacted.Redacted<string> },
  native: string | undefined
): Option.Option<Members> => {
  const [[name, value] = [], ...others] = Object.entries(fields)
  if (name === undefined || value === undefined || others.length > 0) return Option.none()
  const header = Redacted.value(value)
  if (name === V1.paymentHeader || name === V2.paymentHeader) {
    return Option.map(Json.fromBase64(header), (json) => ({ [X402.paymentKey]: json }))
  }
  return Option.flatMap(Credential.parse(header), (presented) =>
    presented._tag === "Standard"
      ? Option.some({ [McpPayment.credentialKey]: McpPayment.credential(presented.credential, native) })
      : Option.none())
}

const capabilitiesKey = "io.modelcontextprotocol/clientCapabilities"

const advertised = (capabilities: unknown, capability: Schema.JsonObject): Members => ({
  ...orEmpty(capabilities),
  experimental: { ...orEmpty(JsonRpc.member(capabilities, "experimental")), payment: capability }
})

/**
 * The parameters of a request that say which payments can be made: once where a client initializes, and with each request
 * where clients do not.
 *
 * **Example** (A client that can pay one way)
 *
 * ```ts
 * import * as McpCall from "effect-mpp/wire/McpCall"
 *
 * const params = { capabilities: {} }
 * McpCall.advertise("initialize", params, { methods: { tempo: { intents: ["charge"] } } })
 * // => { capabilities: { experimental: { payment: { methods: { tempo: { intents: ["charge"] } } } } } }
 * ```
 *
 * @category combinators
 * @since 0.1.0
 */
export const advertise = (
  method: string,
  params: Members | undefined,
  capability: Schema.JsonObject
): Members | undefined => {
  if (method === "initialize") return { ...params, capabilities: advertised(params?.capabilities, capability) }
  const capabilities = JsonRpc.member(params?._meta, capabilitiesKey)
  return capabilities === undefined
    ? params
    : withMetadata(params, { [capabilitiesKey]: advertised(capabilities, capability) })
}
