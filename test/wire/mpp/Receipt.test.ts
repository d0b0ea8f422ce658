import { assert, describe, it } from "@effect/vitest"
import * as Option from "effect/Option"
import * as Schema from "effect/Schema"
import * as Json from "../../../src/wire/Json.ts"
import * as Receipt from "../../../src/wire/mpp/Receipt.ts"

const members = {
  method: "tempo",
  reference: "0x1234",
  status: "success" as const,
  timestamp: "2025-01-21T12:00:00.000Z"
}

// Published by another implementation: members in canonical order.
const published =
  "eyJtZXRob2QiOiJ0ZW1wbyIsInJlZmVyZW5jZSI6IjB4MTIzNCIsInN0YXR1cyI6InN1Y2Nlc3MiLCJ0aW1lc3RhbXAiOiIyMDI1LTAxLTIxVDEyOjAwOjAwLjAwMFoifQ"

describe("Receipt.decode", () => {
  it.each([published, `${published}==`, ` ${published} `, Json.toBase64(members)])("reads %s", (header) => {
    assert.deepStrictEqual(Receipt.decode(header), Option.some({ protocol: "mpp", ...members, members }))
  })

  it("keeps what the method adds", () => {
    const session = { ...members, intent: "session", channelId: "0x1234", acceptedCumulative: "50", spent: "25" }
    const receipt = Option.getOrThrow(Receipt.decode(Json.toBase64Url(session)))
    assert.deepStrictEqual(receipt.protocol === "mpp" ? receipt.members : undefined, session)
  })

  it.each<readonly [Schema.JsonObject, string | undefined]>([
    [{ challengeId: "challenge-1", chainId: 4326 }, "challenge-1"],
    [{ challengeId: 5 }, undefined],
    [{}, undefined]
  ])("says which challenge was answered where it has %j", (more, challengeId) => {
    const receipt = Option.getOrThrow(Receipt.decode(Json.toBase64Url({ ...members, ...more })))
    assert.strictEqual(receipt.protocol === "mpp" ? receipt.challengeId : "none", challengeId)
    assert.strictEqual("challengeId" in receipt, challengeId !== undefined)
  })

  it("does without what a receipt may lack, and cleans what it says", () => {
    assert.deepInclude(
      Option.getOrThrow(Receipt.decode(Json.toBase64Url({ status: "success", method: "a\u202eb\nc" }))),
      { method: "a b c", reference: "", timestamp: "" }
    )
  })

  it.each<readonly [string, string]>([
    ["a failure", Json.toBase64Url({ ...members, status: "failed" })],
    ["no method", Json.toBase64Url({ ...members, method: null })],
    ["no JSON", "eXkgd3Jvbmc"],
    ["nothing", ""],
    ["a list", "W10"],
    ["a status of another case", Json.toBase64Url({ ...members, status: "Success" })],
    ["no status", Json.toBase64Url({ ...members, status: null })],
    ["a reference that is a number", Json.toBase64Url({ ...members, reference: 1234 })],
    ["too much", Json.toBase64Url({ ...members, more: "x".repeat(64 * 1024) })],
    ["an odd session", Json.toBase64Url({ sessionId: "a/b", amountUsdc: "1", remainingUsdc: "1" })],
    ["money in an odd form", Json.toBase64Url({ sessionId: "a", amountUsdc: "1e3", remainingUsdc: "1" })]
  ])("takes %s for no receipt", (_, header) => {
    assert.isTrue(Option.isNone(Receipt.decode(header)))
  })

  it("is written with the members that another implementation writes", () => {
    assert.deepStrictEqual(Json.fromBase64Url(Receipt.encode(members)), Json.fromBase64Url(published))
  })

  it("undoes both encodings", () => {
    const draw = { sessionId: "sess_1", amount: 1_000n, remaining: 999_000n }
    assert.deepStrictEqual(
      Receipt.decode(Receipt.encodeSeed(draw)),
      Option.some({ protocol: "mpp/1.0", ...draw })
    )
    assert.deepStrictEqual(
      Receipt.decode(Receipt.encode({ method: "tempo", reference: "0x1", timestamp: "t", members: { status: "no" } })),
      Option.some({
        protocol: "mpp",
        method: "tempo",
        reference: "0x1",
        timestamp: "t",
        status: "success",
        members: { status: "success", method: "tempo", reference: "0x1", timestamp: "t" }
      })
    )
  })

  it.prop("never throws", [Schema.String, Schema.JsonObject], ([text, json]) => {
    Receipt.decode(text)
    Receipt.decode(Json.toBase64(json))
    Receipt.decode(Json.toBase64({ ...members, ...json }))
  })
})
