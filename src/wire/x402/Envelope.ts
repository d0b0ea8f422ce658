/**
 * The forms that one x402 payment can be sent in. All envelopes of an offer carry the same authorisation.
 *
 * @since 0.1.0
 */
import type * as Array from "effect/Array"
import * as Option from "effect/Option"
import * as Redacted from "effect/Redacted"
import * as Schema from "effect/Schema"
import type { Offer } from "../../Offer.ts"
import * as V1 from "./V1.ts"
import * as V2 from "./V2.ts"

/**
 * An entry as it was received, with what stood around it in version 2.
 *
 * @category models
 * @since 0.1.0
 */
export const Envelope = Schema.Struct({
  version: Schema.Literals([1, 2]),
  requirement: Schema.JsonObject,
  resource: Schema.optionalKey(Schema.JsonObject),
  extensions: Schema.optionalKey(Schema.JsonObject)
})

/**
 * @category models
 * @since 0.1.0
 */
export type Envelope = typeof Envelope.Type

const Wire = Schema.Struct({ envelopes: Schema.NonEmptyArray(Envelope) })
const decodeWire = Schema.decodeUnknownOption(Wire)

/**
 * The envelopes of an offer, the preferred one first.
 *
 * @category conversions
 * @since 0.1.0
 */
export const fromOffer = (offer: Offer): Option.Option<Array.NonEmptyReadonlyArray<Envelope>> =>
  offer.protocol === "x402" ? Option.map(decodeWire(offer.wire), ({ envelopes }) => envelopes) : Option.none()

const text = (value: Schema.Json | undefined): string => typeof value === "string" ? value : ""

/**
 * The header field that sends a proof in an envelope; its name is in lower case.
 *
 * @category encoding
 * @since 0.1.0
 */
export const seal = (
  { extensions, requirement, resource, version }: Envelope,
  payload: Schema.JsonObject
): { readonly [header: string]: Redacted.Redacted<string> } => {
  const redact = (value: string) => Redacted.make(value, { label: "payment credential" })
  if (version === 1) {
    const { network, scheme } = requirement
    return { [V1.paymentHeader]: redact(V1.encodePayment({ scheme: text(scheme), network: text(network), payload })) }
  }
  return {
    [V2.paymentHeader]: redact(V2.encodePayment({
      accepted: requirement,
      payload,
      ...(resource === undefined ? {} : { resource }),
      ...(extensions === undefined ? {} : { extensions })
    }))
  }
}
