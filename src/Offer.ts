/**
 * One way to pay for one resource, whatever the protocol that it was demanded in.
 *
 * Codecs turn demands into offers, rails say which they can pay, policy which they may. An offer is plain data: it can be
 * stored, printed and digested.
 *
 * @since 0.1.0
 */
import * as Predicate from "effect/Predicate"
import * as Schema from "effect/Schema"
import { sha256, stringToHex } from "viem/utils"
import * as Amount from "./Amount.ts"

/**
 * The protocol that an offer was made in: the standard Payment scheme (`mpp`), the token-session dialect (`mpp/1.0`), or
 * x402.
 *
 * @category models
 * @since 0.1.0
 */
export const Protocol = Schema.Literals(["mpp", "mpp/1.0", "x402"])

/**
 * One way to pay for one resource.
 *
 * **Details**
 *
 * `wire` is the demand as it arrived, for the rail that answers it, and the codecs. `merchantText` is what the
 * merchant wrote for people: capped, cleaned of control and bidirectional characters, and never put into a message.
 *
 * @category models
 * @since 0.1.0
 */
export class Offer extends Schema.Class<Offer>("effect-mpp/Offer")({
  protocol: Protocol,
  /** The version of the protocol where it has one: 1 or 2 for x402. */
  version: Schema.optionalKey(Schema.Int),
  /** `charge` pays once; `session` authorises spending ahead. */
  intent: Schema.String,
  /** The payment method: `tempo`, `evm`, ... for MPP; `token` for `mpp/1.0`; the scheme (`exact`) for x402. */
  method: Schema.String,
  /** CAIP-2. `mpp:session` for token sessions. Empty where the demand does not say. */
  network: Schema.String,
  /** The asset as the demand names it. */
  asset: Schema.String,
  /** The price of one request, in base units of the asset. */
  units: Amount.Units,
  payee: Schema.String,
  /** Who else gets a part of the units: the payee has the rest. How much is in the demand: see `wire/mpp/Shares`. */
  alsoPays: Schema.optionalKey(Schema.Array(Schema.String)),
  realm: Schema.optionalKey(Schema.String),
  /** The URL that the merchant says it sells. */
  resource: Schema.optionalKey(Schema.String),
  /** After this instant (milliseconds since the epoch) the demand is void. */
  expiresAt: Schema.optionalKey(Schema.Natural),
  /** For how long the merchant wants an authorisation to be valid, in seconds. */
  validitySeconds: Schema.optionalKey(Schema.Natural),
  merchantText: Schema.optionalKey(Schema.String),
  /** How the merchant names what is sold in its own books: its text, cleaned. */
  externalId: Schema.optionalKey(Schema.String),
  wire: Schema.Json
}) {
  /** A digest that changes with everything that matters for the money: what an approval binds to. */
  get digest(): string {
    return sha256(stringToHex(JSON.stringify([
      this.protocol,
      this.version ?? 0,
      this.intent,
      this.method,
      this.network,
      this.asset.toLowerCase(),
      this.units.toString(),
      this.payee.toLowerCase(),
      this.realm ?? "",
      // Who else gets a part of a charge stands there alone.
      this.protocol === "mpp" && this.intent === "charge" && Predicate.hasProperty(this.wire, "request")
        ? this.wire.request
        : ""
    ])))
  }
}

/**
 * A demand that is not payable, and why; in our own words.
 *
 * @category models
 * @since 0.1.0
 */
export class Refused extends Schema.Class<Refused>("effect-mpp/Offer/Refused")({
  /** What was refused: `x402 exact on eip155:8453`, `mpp challenge`. */
  what: Schema.String,
  why: Schema.String
}) {}

/**
 * The longest text of a merchant that is kept.
 *
 * @category constants
 * @since 0.1.0
 */
export const maxMerchantText = 200

/**
 * Makes text from outside harmless to show: control, format and bidirectional characters removed, at most
 * {@link maxMerchantText} characters.
 *
 * @category constructors
 * @since 0.1.0
 */
export const cleanText = (text: string): string =>
  Array.from(text.slice(0, 4 * maxMerchantText).replace(/[\p{C}\u2028\u2029]+/gu, " ").trim())
    .slice(0, maxMerchantText).join("")
