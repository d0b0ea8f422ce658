/**
 * The challenges of the `Payment` authentication scheme in `WWW-Authenticate`: the standard form, and the `mpp/1.0`
 * dialect. Each challenge of a line is judged by itself.
 *
 * The two forms cannot be mistaken for each other. A challenge with all of `id`, `realm`, `method`, `intent` and `request`
 * is a standard one, whatever else it has. One with `challenge`, and none of `id`, `method`, `intent` and `request`, is of
 * the dialect. One with only some of the standard parameters is malformed. Anything else is not for us.
 *
 * @since 0.1.0
 */
import * as Option from "effect/Option"
import * as Result from "effect/Result"
import * as Schema from "effect/Schema"
import * as Amount from "../../Amount.ts"
import { cleanText, Offer } from "../../Offer.ts"
import * as Json from "../Json.ts"
import { Realm, Word } from "../Text.ts"
import * as AuthScheme from "./AuthScheme.ts"
import * as SeedChallenge from "./SeedChallenge.ts"
import { Instant } from "./SessionEndpoint.ts"

/**
 * The longest `request` and `opaque` that are read, in characters.
 *
 * @category constants
 * @since 0.1.0
 */
export const maxRequestLength = 16_384

/**
 * The longest challenge that is kept as it came, in characters of its JSON.
 *
 * @category constants
 * @since 0.1.0
 */
export const maxNativeLength = 16_384

/**
 * A challenge as it came, where what carried it has a form of its own for challenges: its JSON, with all that it has. A
 * text, so that nothing on its way through a ledger changes its members or their order.
 *
 * @category models
 * @since 0.1.0
 */
export const Native = Schema.String.check(Schema.isMaxLength(maxNativeLength))

/** Any text of one line: at most 512 characters, none of them a control or format character or a line separator. */
const Id = Schema.String.check(Schema.isPattern(/^[^\p{C}\p{Zl}\p{Zp}]{1,512}$/u, { message: "Expected an id" }))

const Encoded = Schema.String.check(Schema.isMaxLength(maxRequestLength))

/**
 * A standard challenge as it arrived: what its credential has to echo, character for character.
 *
 * **Details**
 *
 * `request` and `opaque` stay in base64url: what is decoded and encoded again would no longer match the challenge's `id`.
 * `header` names the field that the credential goes into; no other than these two is ever written.
 *
 * @category models
 * @since 0.1.0
 */
export const Challenge = Schema.Struct({
  id: Id,
  realm: Realm,
  method: Schema.String.check(Schema.isPattern(/^[a-z][a-z0-9:_-]{0,63}$/, { message: "Expected a payment method" })),
  intent: Schema.String.check(Schema.isPattern(/^[A-Za-z0-9-]{1,64}$/, { message: "Expected an intent" })),
  request: Encoded,
  /** RFC 3339. */
  expires: Schema.optionalKey(Schema.toEncoded(Instant)),
  digest: Schema.optionalKey(Schema.String),
  description: Schema.optionalKey(Schema.String),
  opaque: Schema.optionalKey(Encoded),
  header: Schema.optionalKey(
    Schema.String.check(
      Schema.isPattern(/^(payment-)?authorization$/i, { message: "Expected a header for credentials" })
    )
  )
})

/**
 * @category models
 * @since 0.1.0
 */
export type Challenge = typeof Challenge.Type

/**
 * What a challenge asks for: the JSON object that `request` is in base64url without padding.
 *
 * @category getters
 * @since 0.1.0
 */
export const requestOf = (challenge: Challenge): Option.Option<Schema.JsonObject> =>
  Json.fromBase64Url(challenge.request)

/**
 * What one challenge is.
 *
 * **Details**
 *
 * - `Standard`: the challenge, and what it asks for; `native` where it came in another form than that of a header.
 * - `Seed`: a challenge of the dialect.
 * - `Malformed`: meant for us, and not usable.
 * - `Unsupported`: of the `Payment` scheme and of no form that is known here.
 *
 * @category models
 * @since 0.1.0
 */
export type Outcome =
  | {
    readonly _tag: "Standard"
    readonly challenge: Challenge
    readonly request: Schema.JsonObject
    readonly native?: string
  }
  | { readonly _tag: "Seed"; readonly challenge: SeedChallenge.SeedChallenge }
  | { readonly _tag: "Malformed"; readonly protocol: "mpp" | "mpp/1.0"; readonly why: string }
  | { readonly _tag: "Unsupported"; readonly params: ReadonlyMap<string, string> }

const requiredNames = ["id", "realm", "method", "intent", "request"] as const
const optionalNames = ["expires", "digest", "description", "opaque", "header"] as const

/** `realm` decides nothing: both forms have it. */
const standardOnlyNames = ["id", "method", "intent", "request"] as const

const malformed = (protocol: "mpp" | "mpp/1.0", why: string): Outcome => ({ _tag: "Malformed", protocol, why })

const decodeChallenge = Json.decoder(Challenge)

const readStandard = (params: ReadonlyMap<string, string>): Outcome => {
  const named = [...requiredNames, ...optionalNames].flatMap((name) => {
    const value = params.get(name)
    return value === undefined ? [] : [[name, value] as const]
  })
  return Result.match(decodeChallenge(Object.fromEntries(named)), {
    onFailure: (why) => malformed("mpp", why),
    onSuccess: (challenge) =>
      Option.match(requestOf(challenge), {
        onNone: () => malformed("mpp", "its request is no JSON object in base64url"),
        onSome: (request): Outcome => ({ _tag: "Standard", challenge, request })
      })
  })
}

const seedScheme = /^mpp\/1(\.\d+)?$/i

/** None where the parameters are not those of the dialect. */
const readSeed = (params: ReadonlyMap<string, string>): Option.Option<Outcome> => {
  const raw = params.get("challenge")
  if (raw === undefined) return Option.none()
  if (standardOnlyNames.some((name) => params.has(name))) return Option.none()
  if (!seedScheme.test(params.get("scheme") ?? "mpp/1.0")) return Option.none()
  return Option.map(
    SeedChallenge.read(raw),
    Result.match({
      onFailure: (why) => malformed("mpp/1.0", why),
      onSuccess: (challenge): Outcome => {
        const realm = params.get("realm")
        return realm === undefined || realm.toLowerCase() === challenge.realm.toLowerCase()
          ? { _tag: "Seed", challenge }
          : malformed("mpp/1.0", "it names two realms")
      }
    })
  )
}

/**
 * Judges one challenge by its parameters, whose names are in lower case. Total.
 *
 * @category decoding
 * @since 0.1.0
 */
export const fromParams = (params: ReadonlyMap<string, string>): Outcome => {
  const missing = requiredNames.filter((name) => !params.has(name))
  if (missing.length === 0) return readStandard(params)
  return Option.getOrElse(readSeed(params), () =>
    missing.length < requiredNames.length
      ? malformed("mpp", `it lacks ${missing.join(", ")}`)
      : { _tag: "Unsupported", params })
}

/**
 * Judges every `Payment` challenge of a `WWW-Authenticate` value. Total: nothing that a server writes makes it throw.
 *
 * **Example** (One good challenge beside a bad one)
 *
 * ```ts
 * import * as Challenge from "effect-mpp/wire/mpp/Challenge"
 *
 * const line = `Payment id="1", realm="shop.example", method="tempo", intent="charge", request="e30", Payment id="2"`
 * Challenge.parse(line).map(({ _tag }) => _tag) // => ["Standard", "Malformed"]
 * ```
 *
 * @category decoding
 * @since 0.1.0
 */
export const parse = (line: string): ReadonlyArray<Outcome> =>
  line.length > Json.maxHeaderLength
    ? [malformed("mpp", "the header is too long to be read")]
    : AuthScheme.parse(line, "payment").map(Result.match({
      onFailure: (why) => malformed("mpp", why),
      onSuccess: fromParams
    }))

/**
 * Writes the value of the `WWW-Authenticate` header.
 *
 * @category encoding
 * @since 0.1.0
 */
export const format = (challenge: Challenge): string =>
  AuthScheme.format(
    "Payment",
    [...requiredNames, ...optionalNames].flatMap((name) => {
      const value = challenge[name]
      return value === undefined ? [] : [[name, value] as const]
    })
  )

/** What every intent that can be paid says of the money; the rest is the method's. */
const decodeRequest = Json.decoder(Schema.Struct({
  amount: Amount.Units,
  currency: Word,
  recipient: Schema.optionalKey(Word),
  description: Schema.optionalKey(Schema.String),
  externalId: Schema.optionalKey(Schema.String),
  methodDetails: Schema.optionalKey(Schema.Struct({
    chainId: Schema.optionalKey(Schema.NullOr(Schema.Int.check(Schema.isGreaterThan(0)))),
    splits: Schema.optionalKey(Schema.NullOr(Schema.Array(Schema.Struct({ recipient: Word }))))
  }))
}))

/**
 * The offer that a standard challenge makes, or what its request lacks for one.
 *
 * @category conversions
 * @since 0.1.0
 */
export const toOffer = (
  challenge: Challenge,
  request: Schema.JsonObject,
  native?: string
): Result.Result<Offer, string> =>
  Result.map(decodeRequest(request), ({ amount, currency, description, externalId, methodDetails, recipient }) => {
    const named = cleanText(externalId ?? "")
    const chainId = methodDetails?.chainId ?? undefined
    const merchantText = cleanText(challenge.description ?? description ?? "")
    const splits = methodDetails?.splits ?? []
    return new Offer({
      protocol: "mpp",
      intent: challenge.intent,
      method: challenge.method,
      network: chainId === undefined ? "" : `eip155:${chainId}`,
      asset: currency,
      units: amount,
      payee: recipient ?? "",
      ...(splits.length === 0 ? {} : { alsoPays: splits.map((split) => split.recipient) }),
      realm: challenge.realm,
      ...(challenge.expires === undefined ? {} : { expiresAt: Math.max(0, Date.parse(challenge.expires)) }),
      ...(merchantText === "" ? {} : { merchantText }),
      ...(named === "" ? {} : { externalId: named }),
      wire: native === undefined ? challenge : { ...challenge, native }
    })
  })

const decodeWire = Schema.decodeUnknownOption(Challenge)

/**
 * The challenge that an offer was made in, as it was received.
 *
 * @category conversions
 * @since 0.1.0
 */
export const fromOffer = (offer: Offer): Option.Option<Challenge> =>
  offer.protocol === "mpp" ? decodeWire(offer.wire) : Option.none()

const decodeNative = Schema.decodeUnknownOption(Schema.Struct({ native: Native }))

/**
 * The challenge that an offer was made in, as its carrier has it; none where that is the form of a header. It is no part of
 * what {@link fromOffer} gives, so that nothing is compared, signed or sent over HTTP by it.
 *
 * @category conversions
 * @since 0.1.0
 */
export const nativeOf = (offer: Offer): Option.Option<string> =>
  offer.protocol === "mpp" ? Option.map(decodeNative(offer.wire), ({ native }) => native) : Option.none()
