import { assert, describe, it } from "@effect/vitest"
import * as Option from "effect/Option"
import * as Moment from "../../src/cli/Moment.ts"

const now = Date.UTC(2026, 0, 31, 12)

describe("a point in time", () => {
  it.each([
    ["90s", "2026-01-31T11:58:30.000Z"],
    ["30m", "2026-01-31T11:30:00.000Z"],
    ["24h", "2026-01-30T12:00:00.000Z"],
    ["7d", "2026-01-24T12:00:00.000Z"],
    ["2w", "2026-01-17T12:00:00.000Z"],
    ["999999w", "1970-01-01T00:00:00.000Z"],
    ["2026-01-30", "2026-01-30T00:00:00.000Z"],
    ["2026-01-30 10:15", "2026-01-30T10:15:00.000Z"],
    ["2026-01-30T10:15:30.5Z", "2026-01-30T10:15:30.500Z"],
    ["2026-01-30T10:15+02:00", "2026-01-30T08:15:00.000Z"]
  ])("is read as it is meant: %s", (text, iso) => {
    assert.strictEqual(Moment.toIso(Option.getOrThrow(Moment.parse(text, now))), iso)
  })

  it.each(["", "now", "0h", "-1h", "1y", "2026", "2026-02-31T25:00", "2026-13-01", "1e9", "30 January 2026"])(
    "is not guessed at: %j",
    (text) => {
      assert.isTrue(Option.isNone(Moment.parse(text, now)))
    }
  )
})
