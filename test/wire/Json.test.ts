import { assert, describe, it } from "@effect/vitest"
import * as Base64 from "effect/encoding/Base64"
import * as Option from "effect/Option"
import * as Schema from "effect/Schema"
import * as Json from "../../src/wire/Json.ts"

const nested = (depth: number) => "[".repeat(depth) + "]".repeat(depth)

describe("Json.parse", () => {
  it("reads as deep as it says and no deeper", () => {
    assert.isTrue(Option.isSome(Json.parse(nested(Json.maxDepth))))
    assert.isTrue(Option.isNone(Json.parse(nested(Json.maxDepth + 1))))
    assert.isTrue(Option.isNone(Json.parse("[".repeat(1_000_000))))
    assert.isTrue(Option.isNone(Json.parse("{\"a\":".repeat(100_000))))
  })

  it("does not count brackets within text", () => {
    assert.deepStrictEqual(Json.parse(JSON.stringify("[{\"\\".repeat(50))), Option.some("[{\"\\".repeat(50)))
  })

  it("refuses a number that is no number", () => {
    assert.isTrue(Option.isNone(Json.parse("{\"a\": [1e999]}")))
  })

  it.prop("never throws", [Schema.String], ([text]) => {
    Json.parse(text)
  })
})

describe("Json.fromBase64", () => {
  it.each([
    ["e30", true],
    ["e30=", true],
    ["eyJhIjoi8J-YgD8_In0", true],
    ["eyJhIjoi8J+YgD8/In0=", true],
    ["", false],
    ["=", false],
    ["e", false],
    ["e3 0", false],
    ["e3=0", false],
    ["e30\n", false],
    ["W10", false],
    ["bnVsbA", false]
  ])("says whether %s is an object", (encoded, expected) => {
    assert.strictEqual(Option.isSome(Json.fromBase64(encoded)), expected)
  })

  it("refuses what is no UTF-8", () => {
    const bytes = new Uint8Array([...new TextEncoder().encode("{\"a\":\""), 0xff, ...new TextEncoder().encode("\"}")])
    assert.isTrue(Option.isNone(Json.fromBase64(Base64.encode(bytes))))
  })

  it.prop("undoes both encodings", [Schema.Record(Schema.String, Schema.String)], ([value]) => {
    const sent = JSON.parse(JSON.stringify(value).replace(/\\ud[89a-f][0-9a-f]{2}/g, ""))
    assert.deepStrictEqual(Json.fromBase64(Json.toBase64(sent)), Option.some(sent))
    assert.deepStrictEqual(Json.fromBase64Url(Json.toBase64Url(sent)), Option.some(sent))
  })

  it.prop("never throws", [Schema.String, Schema.Uint8Array], ([text, bytes]) => {
    Json.fromBase64(text)
    Json.fromBase64(Base64.encode(bytes))
  })
})

describe("Json.decoder", () => {
  const decode = Json.decoder(Schema.Struct({ a: Schema.optionalKey(Schema.String), b: Schema.Number }))

  it("takes null for absent and names the member that is wrong", () => {
    assert.deepStrictEqual(decode({ a: null, b: 1, c: 2 }), decode({ b: 1 }))
    assert.include(JSON.stringify(decode({ a: "secret" })), "its b is missing or malformed")
    assert.notInclude(JSON.stringify(decode({ a: 1, b: 2 })), "secret")
  })
})
