import { assert, describe, it } from "@effect/vitest"
import { Option } from "effect"
import * as JsonRpc from "../../src/wire/JsonRpc.ts"

const nested = (depth: number): unknown => JSON.parse("[".repeat(depth) + "]".repeat(depth))

describe("JsonRpc", () => {
  it("takes an object for what it is", () => {
    const value = { a: [1, "2", null, true, { b: {} }] }
    assert.deepStrictEqual(JsonRpc.object(value), Option.some(value))
  })

  it.each([
    ["an array", []],
    ["null", null],
    ["a text", "{}"],
    ["a number that no JSON can be made from", { a: Infinity }],
    ["a value that is none of JSON's", { a: undefined }],
    ["a level too many", { a: nested(32) }],
    ["a depth that no recursion survives", { a: nested(1_000_000) }]
  ])("takes %s for no object", (_, value) => {
    assert.deepStrictEqual(JsonRpc.object(value), Option.none())
  })

  it("finds members of objects, and none that an object has by birth", () => {
    assert.strictEqual(JsonRpc.member({ a: 1 }, "a"), 1)
    assert.isUndefined(JsonRpc.member({}, "constructor"))
    assert.isUndefined(JsonRpc.member(["x"], "0"))
    assert.isUndefined(JsonRpc.member(undefined, "a"))
  })

  it("finds what metadata says, if it is an object", () => {
    assert.deepStrictEqual(JsonRpc.metadata({ _meta: { a: { b: 1 } } }, "a"), Option.some({ b: 1 }))
    for (const result of [undefined, null, "x", {}, { _meta: null }, { _meta: { a: "x" } }, { _meta: [] }]) {
      assert.deepStrictEqual(JsonRpc.metadata(result, "a"), Option.none())
    }
  })

  it.each(["0", "1", "-1", "9007199254740991", `{"a":[{"b":42431}]}`, `"1152921504606846976"`, "null"])(
    "can write %s again as it came",
    (text) => assert.isTrue(JsonRpc.isExact(JSON.parse(text)))
  )

  it.each(["1152921504606846976", "9007199254740992", "-9007199254740993", "0.1", "1e300", "-0", `{"a":[[1.5]]}`])(
    "cannot say whether %s came as it would be written",
    (text) => assert.isFalse(JsonRpc.isExact(JSON.parse(text)))
  )
})
