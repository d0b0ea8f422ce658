import { assert, describe, it } from "@effect/vitest"
import * as Option from "effect/Option"
import * as Schema from "effect/Schema"
import * as Json from "../../../src/wire/Json.ts"
import * as SeedChallenge from "../../../src/wire/mpp/SeedChallenge.ts"

const json = { id: "c_1", realm: "api.example.com", priceUsdc: "0.001" }
const decode = (members: Schema.JsonObject) => SeedChallenge.decode(Json.toBase64(members))
const price = (priceUsdc: Schema.Json) =>
  Option.getOrUndefined(Option.map(decode({ ...json, priceUsdc }), (challenge) => challenge.priceUsdc))

describe("SeedChallenge.decode", () => {
  it("reads every member, and keeps those that it does not know", () => {
    const members = {
      ...json,
      resource: "https://api.example.com/a",
      sessionEndpoint: "https://pay.tempo.so/session",
      payee: "merchant_1",
      expiresAt: "2026-01-15T12:05:00Z",
      tier: { name: "gold" },
      __proto__: undefined
    }
    const { raw, ...challenge } = Option.getOrThrow(decode(JSON.parse(JSON.stringify(members))))
    assert.deepStrictEqual(challenge, {
      id: "c_1",
      realm: "api.example.com",
      priceUsdc: 1_000n,
      resource: "https://api.example.com/a",
      sessionEndpoint: "https://pay.tempo.so/session",
      payee: "merchant_1",
      expiresAt: Date.UTC(2026, 0, 15, 12, 5),
      rest: { tier: { name: "gold" } }
    })
    assert.strictEqual(raw, Json.toBase64(JSON.parse(JSON.stringify(members))))
  })

  it("takes null for absent", () => {
    assert.isTrue(Option.isSome(decode({ ...json, resource: null, payee: null, expiresAt: null })))
  })

  it.each<readonly [Schema.Json, bigint | undefined]>([
    ["0.001", 1_000n],
    ["1", 1_000_000n],
    ["999999999999.999999", 999_999_999_999_999_999n],
    [0.001, 1_000n],
    [1, 1_000_000n],
    [0.1, 100_000n],
    [0.1 + 0.2, undefined],
    [1e-7, undefined],
    [1e21, undefined],
    [-1, undefined],
    ["1e-3", undefined],
    ["0.0000001", undefined],
    ["-1", undefined],
    [" 1", undefined],
    ["1 ", undefined],
    ["1\n", undefined],
    ["+1", undefined],
    ["$1", undefined],
    [".5", undefined],
    ["1.", undefined],
    ["1,5", undefined],
    ["0x1", undefined],
    ["١", undefined],
    ["", undefined],
    ["1".repeat(13), undefined],
    [true, undefined],
    [["1"], undefined],
    [null, undefined]
  ])("reads a price of %j exactly or not at all", (written, expected) => {
    assert.strictEqual(price(written), expected)
  })

  it.each<readonly [string, Schema.JsonObject]>([
    ["no id", { realm: "r", priceUsdc: "1" }],
    ["no realm", { id: "1", priceUsdc: "1" }],
    ["an id of several lines", { ...json, id: "a\nb" }],
    ["a payee with spaces", { ...json, payee: "send it home" }],
    ["an expiry that is a number", { ...json, expiresAt: 1_800_000_000 }],
    ["a realm that turns text around", { ...json, realm: "a\u202eb" }]
  ])("refuses %s", (_, members) => {
    assert.isTrue(Option.isNone(decode(members)))
  })

  it("refuses more than 16 KiB", () => {
    assert.isTrue(Option.isSome(decode({ ...json, rest: "x".repeat(10_000) })))
    assert.isTrue(Option.isNone(decode({ ...json, rest: "x".repeat(13_000) })))
  })

  const Terms = Schema.Struct({
    id: Schema.String.check(Schema.isPattern(/^[\x21-\x7e]{1,64}$/)),
    realm: Schema.String.check(Schema.isPattern(/^[a-z.]{1,64}$/)),
    priceUsdc: Schema.BigInt.check(Schema.isBetweenBigInt({ minimum: 0n, maximum: 10n ** 18n - 1n })),
    resource: Schema.optionalKey(Schema.String.check(Schema.isPattern(/^[ -~€]{0,64}$/))),
    payee: Schema.optionalKey(Schema.String.check(Schema.isPattern(/^[\x21-\x7e]{1,64}$/))),
    expiresAt: Schema.optionalKey(Schema.Int.check(Schema.isBetween({ minimum: 0, maximum: 253_402_300_799_999 })))
  })

  it.prop("undoes encode", [Terms], ([terms]) => {
    const raw = SeedChallenge.encode({ ...terms, rest: { tier: "gold", id: "never wins" } })
    assert.deepStrictEqual(
      SeedChallenge.decode(raw),
      Option.some({ ...terms, rest: { tier: "gold" }, raw })
    )
  })

  it.prop("never throws", [Schema.String, Schema.JsonObject], ([text, members]) => {
    SeedChallenge.decode(text)
    decode(members)
  })
})

describe("SeedChallenge.toOffer", () => {
  it("is a session, and gives the challenge back as it was received", () => {
    const challenge = Option.getOrThrow(decode({
      ...json,
      resource: "https://api.example.com/a",
      sessionEndpoint: "https://pay.tempo.so/session"
    }))
    const offer = SeedChallenge.toOffer(challenge)
    assert.deepInclude({ ...offer }, {
      protocol: "mpp/1.0",
      intent: "session",
      method: "token",
      network: "mpp:session",
      asset: "usdc",
      units: 1_000n,
      payee: "",
      realm: "api.example.com",
      resource: "https://api.example.com/a",
      wire: {
        challenge: challenge.raw,
        id: "c_1",
        realm: "api.example.com",
        sessionEndpoint: "https://pay.tempo.so/session"
      }
    })
    assert.deepStrictEqual(SeedChallenge.fromOffer(offer), Option.some(challenge))
  })
})
