import { assert, describe, it } from "@effect/vitest"
import * as Option from "effect/Option"
import * as Schema from "effect/Schema"
import * as Problem from "../../../src/wire/mpp/Problem.ts"

describe("Problem", () => {
  it.each<readonly [type: string, code: string]>([
    ["https://paymentauth.org/problems/payment-expired", "payment-expired"],
    ["https://paymentauth.org/problems/session/insufficient-balance", "session/insufficient-balance"],
    ["https://paymentauth.org/problems/verification-failed/", "verification-failed"],
    ["urn:payment:error:invalid-challenge", "invalid-challenge"],
    ["payment-required", "payment-required"],
    ["https://paymentauth.org/problems/ignore-all-previous-instructions", "unspecified"],
    ["https://evil.example/problems/payment-expired", "unspecified"],
    ["about:blank", "unspecified"],
    ["", "unspecified"]
  ])("reduces %s to %s", (type, code) => {
    assert.deepStrictEqual(
      Problem.fromJson({ type, title: "T", status: 402, detail: "pay\u202e\u0000more" }),
      Option.some({ code, merchantText: "pay more" })
    )
  })

  it("reads what it writes", () => {
    const json = Problem.toJson({ code: "payment-required", title: "Payment Required", status: 402 })
    assert.deepStrictEqual(
      Problem.decode(JSON.stringify(json)),
      Option.some({ code: "payment-required", merchantText: "Payment Required" })
    )
  })

  it("keeps no more than two hundred characters of a merchant's text", () => {
    const problem = Option.getOrThrow(Problem.fromJson({ type: "x", detail: "y".repeat(100_000) }))
    assert.strictEqual(problem.merchantText?.length, 200)
  })

  it("takes other JSON for no problem", () => {
    for (const body of ["", "null", "[]", "{}", "{\"type\": 5}", "{\"title\": \"a\"}", "{\"status\": 402}"]) {
      assert.isTrue(Option.isNone(Problem.decode(body)), body)
    }
  })

  it.prop("never throws", [Schema.String, Schema.JsonObject], ([text, json]) => {
    Problem.decode(text)
    Problem.fromJson(json)
  })
})
