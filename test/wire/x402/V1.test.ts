import { assert, describe, it } from "@effect/vitest"
import * as Option from "effect/Option"
import * as Result from "effect/Result"
import * as Schema from "effect/Schema"
import * as V1 from "../../../src/wire/x402/V1.ts"
import { bodyV1, entryV1 } from "./fixtures.ts"

const only = (entry: Schema.Json) => {
  const demand = Option.getOrThrow(V1.decodeBody(JSON.stringify(bodyV1([entry]))))
  assert.strictEqual(demand.entries.length, 1)
  return demand.entries[0]!.requirement
}

describe("x402 version 1", () => {
  it("reads a demand, and keeps each entry as it was received", () => {
    const demand = Option.getOrThrow(V1.decodeBody(JSON.stringify(bodyV1([{ ...entryV1, unknown: [1] }]))))
    assert.strictEqual(demand.error, "X-PAYMENT header is required")
    assert.deepStrictEqual(demand.entries[0]?.received, { ...entryV1, unknown: [1] })
    const { outputSchema: _, ...present } = entryV1
    assert.deepStrictEqual(
      demand.entries[0]?.requirement,
      Result.succeed<V1.Requirement>({ ...present, maxAmountRequired: 10_000n })
    )
  })

  it("judges each entry by itself", () => {
    const demand = Option.getOrThrow(V1.fromJson(bodyV1([null, "x", {}, entryV1, []])))
    assert.deepStrictEqual(demand.entries.map(({ requirement }) => requirement._tag), [
      "Failure",
      "Failure",
      "Failure",
      "Success",
      "Failure"
    ])
  })

  it("takes null for absent", () => {
    assert.strictEqual(only({ ...entryV1, extra: null, mimeType: null, description: null })._tag, "Success")
  })

  it.each<readonly [member: string, value: Schema.Json]>([
    ["scheme", ""],
    ["scheme", "exact; do more"],
    ["network", ""],
    ["network", "base sepolia"],
    ["maxAmountRequired", 10_000],
    ["maxAmountRequired", "1e4"],
    ["maxAmountRequired", "-1"],
    ["maxAmountRequired", "0x10"],
    ["maxAmountRequired", "010"],
    ["maxAmountRequired", " 1"],
    ["maxAmountRequired", "1\n"],
    ["maxAmountRequired", ""],
    ["maxAmountRequired", (2n ** 256n).toString()],
    ["maxAmountRequired", "9".repeat(200_000)],
    ["payTo", ""],
    ["payTo", "0x1 ignore this"],
    ["payTo", null],
    ["asset", 5],
    ["maxTimeoutSeconds", 0],
    ["maxTimeoutSeconds", -1],
    ["maxTimeoutSeconds", 1.5],
    ["maxTimeoutSeconds", 1e300],
    ["maxTimeoutSeconds", "60"],
    ["extra", "USDC"]
  ])("refuses an entry whose %s is odd", (member, value) => {
    assert.deepStrictEqual(only({ ...entryV1, [member]: value }), Result.fail(`its ${member} is missing or malformed`))
  })

  it("takes the largest amount that there is", () => {
    const largest = 2n ** 256n - 1n
    const requirement = only({ ...entryV1, maxAmountRequired: largest.toString() })
    assert.strictEqual(Option.getOrThrow(Result.getSuccess(requirement)).maxAmountRequired, largest)
  })

  it.each<readonly [string, string]>([
    ["another version", JSON.stringify({ ...bodyV1([entryV1]), x402Version: 2 })],
    ["a version in quotes", JSON.stringify({ ...bodyV1([entryV1]), x402Version: "1" })],
    ["no list", JSON.stringify({ x402Version: 1, accepts: { 0: entryV1 } })],
    ["a list itself", JSON.stringify([bodyV1([entryV1])])],
    ["no JSON", "<html>"],
    ["too much", JSON.stringify(bodyV1([entryV1], { padding: "x".repeat(300_000) }))]
  ])("takes %s for no demand", (_, body) => {
    assert.isTrue(Option.isNone(V1.decodeBody(body)))
  })

  it("looks at fifty entries, and at none of a list without measure", () => {
    const read = (count: number) => {
      const demand = Option.getOrThrow(V1.fromJson(bodyV1([entryV1, ...Array.from({ length: count - 1 }, () => ({}))])))
      return [demand.entries.length, demand.unread]
    }
    assert.deepStrictEqual(read(50), [50, 0])
    assert.deepStrictEqual(read(51), [50, 1])
    assert.deepStrictEqual(read(10_000), [0, 10_000])
  })

  it("reads what it writes", () => {
    const requirement = Option.getOrThrow(Result.getSuccess(only(entryV1)))
    const demand = Option.getOrThrow(V1.fromJson(V1.toJson({ error: "pay", accepts: [requirement] })))
    assert.deepStrictEqual(demand.entries[0]?.requirement, Result.succeed(requirement))
    const payment = { scheme: "exact", network: "base-sepolia", payload: { signature: "0x12" } }
    assert.deepStrictEqual(
      V1.decodePayment(V1.encodePayment(payment)),
      Option.some<V1.Payment>({ x402Version: 1, ...payment })
    )
  })

  it.prop("never throws", [Schema.String, Schema.Json, Schema.JsonObject], ([text, json, members]) => {
    V1.decodeBody(text)
    V1.decodePayment(text)
    V1.fromJson(bodyV1([json, { ...entryV1, ...members }], members))
  })
})
