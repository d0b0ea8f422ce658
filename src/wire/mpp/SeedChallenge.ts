/**
 * The challenge of the `mpp/1.0` dialect: what one request costs at a merchant that takes session tokens.
 *
 * ```http
 * WWW-Authenticate: Payment realm="api.example.com", challenge="<base64 JSON>", scheme="mpp/1.0"
 * ```
 *
 * The JSON is `{ "id", "realm", "resource"?, "priceUsdc": "0.001", "sessionEndpoint"?, "payee"?, "expiresAt"? }`. Its text
 * is handed to the session endpoint as it was received.
 *
 * @since 0.1.0
 */
import * as Option from "effect/Option"
import * as Result from "effect/Result"
import * as Schema from "effect/Schema"
import * as SchemaTransformation from "effect/SchemaTransformation"
import { sessionUsdc } from "../../Asset.ts"
import { Offer } from "../../Offer.ts"
import * as Json from "../Json.ts"
import { Realm, Word } from "../Text.ts"
import * as AuthScheme from "./AuthScheme.ts"
import { Instant, Usdc } from "./SessionEndpoint.ts"

/**
 * The longest challenge that is read, in characters of base64.
 *
 * @category constants
 * @since 0.1.0
 */
export const maxLength = 16 * 1024

/** A price that is written as a number is what its shortest decimal form says: `0.001`, but not `1e-7`. */
const Price = Schema.Union([Schema.String, Schema.Finite]).pipe(
  Schema.decodeTo(
    Usdc,
    SchemaTransformation.transform<string, string | number>({ decode: String, encode: (price) => price })
  )
)

const Members = Schema.Struct({
  id: Word,
  realm: Realm,
  /** The URL that the merchant says it sells. */
  resource: Schema.optionalKey(Schema.String),
  /** The price of one request, in micro-dollars. */
  priceUsdc: Price,
  /** Where the merchant takes sessions from; only ever compared with what is configured. */
  sessionEndpoint: Schema.optionalKey(Schema.String),
  payee: Schema.optionalKey(Word),
  /** Milliseconds since the epoch. */
  expiresAt: Schema.optionalKey(Instant)
})

/**
 * What one request costs, and where it is sold. Members that are not known here are in `rest`.
 *
 * @category models
 * @since 0.1.0
 */
export interface Terms extends Schema.Schema.Type<typeof Members> {
  readonly rest?: Schema.JsonObject
}

/**
 * A challenge that was received; `raw` is its text, in base64.
 *
 * @category models
 * @since 0.1.0
 */
export interface SeedChallenge extends Terms {
  readonly raw: string
}

const decodeMembers = Json.decoder(Members)
const encodeMembers = Schema.encodeSync(Members)

/**
 * Reads the value of the `challenge` parameter: base64 or base64url, with or without padding. None if it is no JSON object;
 * if it is one, the challenge that it states, or which member is wrong. An optional member that is `null` is absent.
 *
 * @category decoding
 * @since 0.1.0
 */
export const read = (raw: string): Option.Option<Result.Result<SeedChallenge, string>> =>
  raw.length > maxLength
    ? Option.none()
    : Option.map(Json.fromBase64(raw), (json) =>
      Result.map(decodeMembers(json), (known) => ({
        ...known,
        rest: Object.fromEntries(Object.entries(json).filter(([name]) => !Object.hasOwn(Members.fields, name))),
        raw
      })))

/**
 * Reads the value of the `challenge` parameter.
 *
 * @category decoding
 * @since 0.1.0
 */
export const decode = (raw: string): Option.Option<SeedChallenge> => Option.flatMap(read(raw), Result.getSuccess)

/**
 * Writes the value of the `challenge` parameter in standard base64.
 *
 * **Example** (One request for a tenth of a cent)
 *
 * ```ts
 * import * as Option from "effect/Option"
 * import * as SeedChallenge from "effect-mpp/wire/mpp/SeedChallenge"
 *
 * const encoded = SeedChallenge.encode({ id: "c_1", realm: "api.example.com", priceUsdc: 1_000n })
 * Option.getOrThrow(SeedChallenge.decode(encoded)).priceUsdc // => 1000n
 * ```
 *
 * @category encoding
 * @since 0.1.0
 */
export const encode = ({ rest, ...known }: Terms): string => Json.toBase64({ ...rest, ...encodeMembers(known) })

/**
 * Writes the value of the `WWW-Authenticate` header.
 *
 * @category encoding
 * @since 0.1.0
 */
export const format = (terms: Terms): string =>
  AuthScheme.format("Payment", [
    ["realm", terms.realm],
    ["challenge", encode(terms)],
    ["scheme", "mpp/1.0"]
  ])

/**
 * The offer that a challenge makes.
 *
 * @category conversions
 * @since 0.1.0
 */
export const toOffer = (challenge: SeedChallenge): Offer => {
  const { expiresAt, id, payee, priceUsdc, raw, realm, resource, sessionEndpoint } = challenge
  return new Offer({
    protocol: "mpp/1.0",
    intent: "session",
    method: "token",
    network: sessionUsdc.network,
    asset: sessionUsdc.address,
    units: priceUsdc,
    payee: payee ?? "",
    realm,
    ...(resource === undefined ? {} : { resource }),
    ...(expiresAt === undefined ? {} : { expiresAt }),
    wire: { challenge: raw, id, realm, ...(sessionEndpoint === undefined ? {} : { sessionEndpoint }) }
  })
}

const decodeWire = Schema.decodeUnknownOption(Schema.Struct({ challenge: Schema.String }))

/**
 * The challenge that an offer was made in.
 *
 * @category conversions
 * @since 0.1.0
 */
export const fromOffer = (offer: Offer): Option.Option<SeedChallenge> =>
  offer.protocol === "mpp/1.0"
    ? Option.flatMap(decodeWire(offer.wire), ({ challenge }) => decode(challenge))
    : Option.none()
