/**
 * The session endpoint of the `mpp/1.0` dialect: what is asked of it and what it answers.
 *
 * `POST <endpoint>` opens a session, `GET <endpoint>/<id>` and `GET <endpoint>?idempotencyKey=<key>` read it,
 * `DELETE <endpoint>/<id>` closes it. Both sides of the counter use these codecs. Money is a decimal string of at most
 * six places; it is micro-dollars here.
 *
 * @since 0.1.0
 */
import * as Schema from "effect/Schema"
import * as SchemaTransformation from "effect/SchemaTransformation"
import * as Amount from "../../Amount.ts"

/**
 * The endpoint that is asked where the configuration names none.
 *
 * @category constants
 * @since 0.1.0
 */
export const defaultEndpoint = "https://pay.tempo.so/session"

/**
 * The most that is read of a request or an answer, in bytes.
 *
 * @category constants
 * @since 0.1.0
 */
export const maxBodyBytes = 64 * 1024

/**
 * Micro-dollars, written as a decimal string (`"0.05"`).
 *
 * @category schemas
 * @since 0.1.0
 */
export const Usdc = Schema.String.check(
  Schema.isPattern(/^\d{1,12}(\.\d{1,6})?$/, { message: "Expected US dollars such as 0.05" })
).pipe(
  Schema.decodeTo(
    Schema.BigInt.check(Schema.isBetweenBigInt({ minimum: 0n, maximum: 10n ** 18n - 1n })),
    SchemaTransformation.transform({
      decode: (text: string) => {
        const [whole = "0", fraction = ""] = text.split(".")
        return BigInt(whole + fraction.padEnd(Amount.usdDecimals, "0"))
      },
      encode: (usd: bigint) => Amount.formatUsd(usd)
    })
  )
)

/**
 * An instant in milliseconds since the epoch, written as RFC 3339.
 *
 * @category schemas
 * @since 0.1.0
 */
export const Instant = Schema.String.check(
  Schema.isPattern(/^\d{4}-\d\d-\d\dT\d\d:\d\d:\d\d(\.\d{1,9})?(Z|[+-]\d\d:\d\d)$/, {
    message: "Expected an instant such as 2026-01-31T12:00:00Z"
  }),
  Schema.makeFilter<string>((text) => Number.isFinite(Date.parse(text)) || "Expected an instant that exists")
).pipe(
  Schema.decodeTo(
    Schema.Int.check(Schema.isBetween({ minimum: 0, maximum: 253_402_300_799_999 })),
    SchemaTransformation.transform({
      decode: (text: string) => Date.parse(text),
      encode: (millis: number) => new Date(millis).toISOString()
    })
  )
)

/**
 * A session's id: characters that need no escaping in a path, and no path of its own.
 *
 * @category schemas
 * @since 0.1.0
 */
export const SessionId = Schema.String.check(
  Schema.isPattern(/^[A-Za-z0-9_-][A-Za-z0-9._~-]{0,127}$/, { message: "Expected a session id" })
)

/**
 * A session's token: the `token68` of RFC 9110, at most 4 KiB, so that it stands alone in an `Authorization` header.
 *
 * @category schemas
 * @since 0.1.0
 */
export const SessionToken = Schema.String.check(
  Schema.isMinLength(16),
  Schema.isMaxLength(4096),
  Schema.isPattern(/^[A-Za-z0-9._~+/-]+={0,2}$/, { message: "Expected a token without odd characters" })
)

/**
 * An origin in its normal form, for example `https://api.example.com`.
 *
 * @category schemas
 * @since 0.1.0
 */
export const Origin = Schema.String.check(
  Schema.isMaxLength(512),
  Schema.makeFilter<string>((text) =>
    (URL.canParse(text) && new URL(text).origin === text) || "Expected an origin such as https://api.example.com"
  )
)

/**
 * The key under which a session is opened once, however often it is asked for.
 *
 * @category schemas
 * @since 0.1.0
 */
export const IdempotencyKey = Schema.String.check(
  Schema.isPattern(/^[\x21-\x7e]{1,255}$/, { message: "Expected 1 to 255 printable characters" })
)

/**
 * What opens a session.
 *
 * @category models
 * @since 0.1.0
 */
export const OpenRequest = Schema.Struct({
  /** The challenge as it was received: base64 of JSON. */
  challenge: Schema.NonEmptyString.check(Schema.isMaxLength(16 * 1024)),
  /** The origin at which the token may be spent, and nowhere else. */
  audience: Origin,
  spendingLimitUsdc: Usdc,
  validitySeconds: Schema.Int.check(Schema.isBetween({ minimum: 1, maximum: 31 * 86_400 })),
  agentId: Schema.optionalKey(Schema.String.check(Schema.isMaxLength(256)))
})

/**
 * @category models
 * @since 0.1.0
 */
export type OpenRequest = typeof OpenRequest.Type

/**
 * The answer to the opening of a session.
 *
 * @category models
 * @since 0.1.0
 */
export const Opened = Schema.Struct({
  sessionId: SessionId,
  sessionToken: SessionToken,
  spendingLimitUsdc: Usdc,
  expiresAt: Instant,
  audience: Schema.optionalKey(Origin)
})

/**
 * What a session has spent; final once its status is no longer `open`.
 *
 * @category models
 * @since 0.1.0
 */
export const Standing = Schema.Struct({
  sessionId: Schema.optionalKey(SessionId),
  spentUsdc: Usdc,
  remainingUsdc: Usdc,
  status: Schema.Literals(["open", "expired", "closed"])
})

/**
 * @category models
 * @since 0.1.0
 */
export type Standing = typeof Standing.Type

/**
 * Whether a realm may speak for an origin: it is the origin's host, with or without port and in any case, or the realm
 * that was listed for that origin.
 *
 * Without this rule one site could hand on the challenge of another, and spend there a limit that was meant for it.
 *
 * @category predicates
 * @since 0.1.0
 */
export const realmFits = (realm: string, origin: string, listed: string | undefined): boolean => {
  if (listed !== undefined && realm === listed) return true
  if (!URL.canParse(origin)) return false
  const { host, hostname, port, protocol } = new URL(origin)
  const given = realm.toLowerCase()
  return given === hostname || given === host ||
    (port === "" && given === `${hostname}:${protocol === "https:" ? 443 : 80}`)
}
