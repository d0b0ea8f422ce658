import { assert, describe, it } from "@effect/vitest"
import * as Option from "effect/Option"
import * as Result from "effect/Result"
import * as Schema from "effect/Schema"
import * as V2 from "../../../src/wire/x402/V2.ts"
import { entryV2, headerV2, jsonV2, resource } from "./fixtures.ts"

const only = (entry: Schema.Json) => {
  const demand = Option.getOrThrow(V2.decodeHeader(headerV2([entry])))
  assert.strictEqual(demand.entries.length, 1)
  return demand.entries[0]!.requirement
}

describe("x402 version 2", () => {
  it("reads a demand, and keeps all of it as it was received", () => {
    const extensions = { bazaar: { info: { input: { type: "http" } }, schema: {} } }
    const demand = Option.getOrThrow(
      V2.decodeHeader(headerV2([{ ...entryV2, unknown: null }], { extensions, error: "again" }))
    )
    assert.deepStrictEqual(demand, {
      error: "again",
      resource,
      extensions,
      entries: [{
        received: { ...entryV2, unknown: null },
        requirement: Result.succeed<V2.Requirement>({ ...entryV2, amount: 10_000n })
      }],
      unread: 0
    })
  })

  it("does without resource, error and extra", () => {
    const demand = Option.getOrThrow(
      V2.fromJson(jsonV2([{ ...entryV2, extra: null }], { resource: null, error: null, extensions: [] }))
    )
    assert.isUndefined(demand.resource)
    assert.isUndefined(demand.error)
    assert.isUndefined(demand.extensions)
    assert.strictEqual(demand.entries[0]?.requirement._tag, "Success")
  })

  it.each<readonly [member: string, value: Schema.Json]>([
    ["scheme", 1],
    ["network", "base"],
    ["network", "eip155"],
    ["network", "eip155:8453 "],
    ["amount", 10_000],
    ["amount", "1.5"],
    ["amount", "9".repeat(40_000)],
    ["asset", ""],
    ["payTo", "a\u202eb"],
    ["maxTimeoutSeconds", "60"],
    ["extra", []]
  ])("refuses an entry whose %s is odd", (member, value) => {
    assert.deepStrictEqual(only({ ...entryV2, [member]: value }), Result.fail(`its ${member} is missing or malformed`))
  })

  it("takes another version, and what is no base64 of JSON, for no demand", () => {
    for (const header of ["", "e30", "%%%", headerV2([], { x402Version: 1 }), "A".repeat(100_000)]) {
      assert.isTrue(Option.isNone(V2.decodeHeader(header)))
    }
  })

  it("reads what it writes", () => {
    const requirement: V2.Requirement = { ...entryV2, amount: 10_000n }
    const demand = Option.getOrThrow(
      V2.decodeHeader(V2.encodeHeader({ resource, accepts: [requirement], error: "pay" }))
    )
    assert.deepStrictEqual(demand.resource, resource)
    assert.deepStrictEqual(demand.entries, [{ received: entryV2, requirement: Result.succeed(requirement) }])
    const payment = { accepted: entryV2, payload: { signature: "0x12" }, resource, extensions: { a: {} } }
    assert.deepStrictEqual(
      V2.decodePayment(V2.encodePayment(payment)),
      Option.some<V2.Payment>({ x402Version: 2, ...payment })
    )
  })

  it.prop("never throws", [Schema.String, Schema.Json, Schema.JsonObject], ([text, json, members]) => {
    V2.decodeHeader(text)
    V2.decodePayment(text)
    V2.fromJson(jsonV2([json, { ...entryV2, ...members }], members))
  })
})
