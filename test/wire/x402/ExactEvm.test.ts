import { assert, describe, it } from "@effect/vitest"
import * as Option from "effect/Option"
import * as ExactEvm from "../../../src/wire/x402/ExactEvm.ts"

const wire = {
  signature: `0x${"5f".repeat(64)}1c`,
  authorization: {
    from: "0x70997970C51812dc3A010C7d01b50e0d17dc79C8",
    to: "0x3C44CdDdB6a900fa2b585dd299e03d12FA4293BC",
    value: "10000",
    validAfter: "0",
    validBefore: "1795505352",
    nonce: `0x${"db".repeat(32)}`
  }
}

describe("ExactEvm", () => {
  it("reads every member from text, and writes it again", () => {
    const payload = Option.getOrThrow(ExactEvm.decode(wire))
    assert.strictEqual(payload.authorization.value, 10_000n)
    assert.strictEqual(payload.authorization.validBefore, 1_795_505_352n)
    assert.deepStrictEqual(ExactEvm.encode(payload), wire)
  })

  it.each([
    ["from", "0x1"],
    ["to", `0x${"g".repeat(40)}`],
    ["value", 10_000],
    ["value", "1e4"],
    ["validBefore", "soon"],
    ["nonce", `0x${"db".repeat(31)}`]
  ])("refuses an odd %s", (member, value) => {
    assert.isTrue(
      Option.isNone(ExactEvm.decode({ ...wire, authorization: { ...wire.authorization, [member]: value } }))
    )
  })

  it("refuses a signature that is none, or without measure", () => {
    for (const signature of ["0x", "0x1", "5f", `0x${"5f".repeat(100_000)}`]) {
      assert.isTrue(Option.isNone(ExactEvm.decode({ ...wire, signature })))
    }
  })
})
