import { assert, describe, it } from "@effect/vitest"
import { Option } from "effect"
import * as Policy from "../../src/Policy.ts"

describe("conduct", () => {
  const judge = (figures: Partial<Policy.Figures>) =>
    Policy.conduct(
      { abandoned: 0, refused: 0, hangingUsd: 0n, ...figures },
      { limit: 1_000_000n },
      "https://api.example.com"
    ).pipe(Option.map(({ rule }) => rule), Option.getOrElse(() => ""))

  it("closes an origin after three purchases that were not delivered", () => {
    assert.strictEqual(judge({ abandoned: 2 }), "")
    assert.strictEqual(judge({ abandoned: 3 }), "origin-undelivered")
  })

  it("closes an origin after two refusals", () => {
    assert.strictEqual(judge({ refused: 1 }), "")
    assert.strictEqual(judge({ refused: 2 }), "origin-refusals")
  })

  it("closes an origin where more than a fifth of the plan hangs", () => {
    assert.strictEqual(judge({ hangingUsd: 200_000n }), "")
    assert.strictEqual(judge({ hangingUsd: 200_001n }), "origin-exposure")
  })
})
