import { assert, describe, it } from "@effect/vitest"
import * as Base64 from "effect/encoding/Base64"
import * as Option from "effect/Option"
import * as Schema from "effect/Schema"
import { isDeepStrictEqual } from "node:util"
import * as Json from "../../src/wire/Json.ts"
import { sent } from "./sent.ts"

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
    const written = sent(JSON.parse(JSON.stringify(value).replace(/\\ud[89a-f][0-9a-f]{2}/g, "")))
    assert.deepStrictEqual(Json.fromBase64(Json.toBase64(written)), Option.some(written))
    assert.deepStrictEqual(Json.fromBase64Url(Json.toBase64Url(written)), Option.some(written))
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

describe("Json.canonical", () => {
  // The first three are published in RFC 8785.
  it.each<readonly [written: string, canonical: string]>([
    [
      `{"numbers":[333333333.33333329,1E30,4.50,2e-3,0.000000000000000000000000001],
        "string":"\\u20ac$\\u000F\\u000aA'\\u0042\\u0022\\u005c\\\\\\"\\/","literals":[null,true,false]}`,
      `{"literals":[null,true,false],"numbers":[333333333.3333333,1e+30,4.5,0.002,1e-27],` +
      `"string":"€$\\u000f\\nA'B\\"\\\\\\\\\\"/"}`
    ],
    [
      `{"\\u20ac":"Euro Sign","\\r":"Carriage Return","\\ufb33":"Hebrew Letter Dalet With Dagesh","1":"One",
        "\\ud83d\\ude00":"Emoji: Grinning Face","\\u0080":"Control","\\u00f6":"Latin Small Letter O With Diaeresis"}`,
      `{"\\r":"Carriage Return","1":"One","\u0080":"Control","ö":"Latin Small Letter O With Diaeresis",` +
      `"€":"Euro Sign","😀":"Emoji: Grinning Face","\ufb33":"Hebrew Letter Dalet With Dagesh"}`
    ],
    [`{"a":[-0,56.0,{"d":true,"10":null,"1":[]}]}`, `{"a":[0,56,{"1":[],"10":null,"d":true}]}`],
    [`{"html":"<b>&amp;'</b>","":{}}`, `{"":{},"html":"<b>&amp;'</b>"}`],
    [`{"10":1,"9":2,"B":3,"a":4,"__proto__":5}`, `{"10":1,"9":2,"B":3,"__proto__":5,"a":4}`]
  ])("writes %s in one way", (written, canonical) => {
    assert.strictEqual(Json.canonical(JSON.parse(written)), canonical)
  })

  it.prop("is the same whatever the order of the members, and means the same", [Schema.JsonObject], ([json]) => {
    const written = sent(json)
    const reversed = Object.fromEntries(Object.entries(written).toReversed())
    assert.strictEqual(Json.canonical(reversed), Json.canonical(written))
    assert.isTrue(isDeepStrictEqual(JSON.parse(Json.canonical(written)), written), JSON.stringify(written))
  })
})

describe("Json.withoutNestedNulls", () => {
  it("leaves out members that are null, at any depth, and nothing else", () => {
    assert.deepStrictEqual(
      Json.withoutNestedNulls({ a: null, b: { c: null, d: [{ e: null, f: 1 }, null] }, g: 0, h: "", i: false }),
      { b: { d: [{ f: 1 }, null] }, g: 0, h: "", i: false }
    )
  })
})
