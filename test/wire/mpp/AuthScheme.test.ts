import { assert, describe, it } from "@effect/vitest"
import * as Result from "effect/Result"
import * as Schema from "effect/Schema"
import * as AuthScheme from "../../../src/wire/mpp/AuthScheme.ts"

const payments = (line: string) =>
  AuthScheme.parse(line, "payment").map(Result.match({
    onFailure: (why) => why,
    onSuccess: (params) => Object.fromEntries(params)
  }))

const twice = "a parameter is given twice"
const unended = "a parameter's value is missing or does not end"
const stray = "it has text that is no parameter"

describe("AuthScheme.parse", () => {
  it.each<readonly [line: string, expected: ReadonlyArray<Record<string, string> | string>]>([
    ["", []],
    [" , ,, ", []],
    [`Payment id="1"`, [{ id: "1" }]],
    [`pAyMeNt\tid="1"`, [{ id: "1" }]],
    [`Payment ID="1", Realm=shop`, [{ id: "1", realm: "shop" }]],
    [`Payment id = "1" ,realm\t=\t"r"`, [{ id: "1", realm: "r" }]],
    [`Payment realm="r" challenge="abc=" scheme="mpp/1.0"`, [{ realm: "r", challenge: "abc=", scheme: "mpp/1.0" }]],
    [`Payment request=ab+/c==`, [{ request: "ab+/c==" }]],
    [`Payment id="1", Payment id="2"`, [{ id: "1" }, { id: "2" }]],
    [`Payment id="1",Payment id="2"`, [{ id: "1" }, { id: "2" }]],
    [`Basic realm="a", Payment id="1", Bearer scope="x", error="y"`, [{ id: "1" }]],
    [`Negotiate YWJj/+d==, Payment id="1"`, [{ id: "1" }]],
    [`Bearer, Payment id="1", Digest nonce="2"`, [{ id: "1" }]],
    ["Payment", [{}]],
    ["Payment, Payment", [{}, {}]],
    [`Bearer Payment id="1"`, []],
    [`Bearer realm="x" Payment id="1"`, []],
    [`Bearer a="1", payment="2"`, []],
    [`XPayment id="1", Payment-Extra id="2"`, []],
    [`Basic realm="Payment id=1, Payment id=2"`, []],
    [`Basic realm="x\\", Payment id=\\"1"`, []],
    [`Basic realm="never ends, Payment id=1`, []],
    [`Payment description="comma, Payment fake challenge", id="1"`, [
      { description: "comma, Payment fake challenge", id: "1" }
    ]],
    [`Payment d="a \\"quoted\\" \\\\ \\, b"`, [{ d: "a \"quoted\" \\ , b" }]],
    [`Payment d="\\u20ac \\uD83D\\uDE00 \\u20 \\ux"`, [{ d: "€ 😀 u20 ux" }]],
    [`Payment __proto__="1", constructor="2", toString="3"`, [
      Object.fromEntries([["__proto__", "1"], ["constructor", "2"], ["tostring", "3"]])
    ]],
    [`Payment empty=""`, [{ empty: "" }]],
    [`Payment id="1", id="2", Payment id="3"`, [twice, { id: "3" }]],
    [`Payment id="1", ID="2"`, [twice]],
    [`Payment id="1`, [unended]],
    [`Payment id="1\\`, [unended]],
    [`Payment id=, realm=r`, [unended]],
    [`Payment ="value"`, []],
    [`Payment id="1", ="value"`, [stray]],
    [`Payment id="1" stray, realm="r"`, [stray]],
    [`Payment eyJhIjoxfQ`, [stray]]
  ])("reads %s", (line, expected) => {
    assert.deepStrictEqual(payments(line), expected)
  })

  it("stops after fifty challenges and says so", () => {
    const outcomes = payments("Payment id=1, ".repeat(10_000))
    assert.strictEqual(outcomes.length, AuthScheme.maxChallenges + 1)
    assert.include(String(outcomes.at(-1)), "more than 50")
  })

  it.prop("never throws", [Schema.String], ([line]) => {
    payments(line)
    payments(`Payment ${line}`)
    payments(`Payment id="${line}`)
  })

  it.each(["\\\"", "a=\"", "a", ",", " ", "\"\"", "=", "a=b ", "\\u12", "Payment,"])(
    "reads a megabyte of %s to its end",
    (piece) => {
      assert.isAtMost(
        payments(`Payment ${piece.repeat(1_000_000 / piece.length)}`).length,
        AuthScheme.maxChallenges + 1
      )
    }
  )
})

describe("AuthScheme.format", () => {
  it.each<readonly [value: string, written: string]>([
    ["", `""`],
    ["plain", `"plain"`],
    ["say \"hi\"", `"say \\"hi\\""`],
    ["back\\slash", `"back\\\\slash"`],
    ["\\u20ac", `"\\\\u20ac"`],
    ["a — b", `"a \\u2014 b"`],
    ["😀", `"\\ud83d\\ude00"`],
    ["é\t", `"\\u00e9\\u0009"`]
  ])("writes %j as %s", (value, written) => {
    assert.strictEqual(AuthScheme.format("Payment", [["d", value]]), `Payment d=${written}`)
  })

  it("keeps every value on its line and in its quotes", () => {
    assert.strictEqual(
      AuthScheme.format("Payment", [["a", "x\r\nSet-Cookie: y=\"1\""], ["b", "— \\"]]),
      `Payment a="x\\u000d\\u000aSet-Cookie: y=\\"1\\"", b="\\u2014 \\\\"`
    )
  })

  it.prop("is undone by parse", [Schema.String, Schema.String], ([one, two]) => {
    assert.deepStrictEqual(payments(AuthScheme.format("Payment", [["one", one], ["two", two]])), [{ one, two }])
  })
})
