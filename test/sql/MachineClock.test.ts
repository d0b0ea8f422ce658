import { assert, describe, it } from "@effect/vitest"
import * as Effect from "effect/Effect"
import { execFileSync } from "node:child_process"
import { existsSync, readFileSync } from "node:fs"
import * as MachineClock from "../../src/sql/MachineClock.ts"

const bootId = "/proc/sys/kernel/random/boot_id"

describe("the clock of the machine", () => {
  it.effect("never goes back, and stands for milliseconds", () =>
    Effect.gen(function*() {
      const clock = yield* MachineClock.make
      const before = process.hrtime.bigint()
      const times = yield* Effect.replicateEffect(clock.now, 1000)
      const after = process.hrtime.bigint()
      assert.deepStrictEqual(times, times.toSorted((a, b) => a - b))
      assert.isAtLeast(times[0]!, Number(before / 1_000_000n))
      assert.isAtMost(times[999]!, Number(after / 1_000_000n))
      assert.isTrue(times.every(Number.isSafeInteger))
    }))

  it.effect("is the same in every process", () =>
    Effect.gen(function*() {
      const clock = yield* MachineClock.make
      const before = yield* clock.now
      const there = Number(execFileSync(process.execPath, ["-p", "process.hrtime.bigint() / 1_000_000n + ''"], {
        encoding: "utf8"
      }))
      const after = yield* clock.now
      assert.isAtLeast(there, before)
      assert.isAtMost(there, after)
    }))

  it.effect.skipIf(!existsSync(bootId))("says which start of the machine it counts from", () =>
    Effect.gen(function*() {
      const { boot } = yield* MachineClock.make
      assert.isTrue(boot.startsWith(readFileSync(bootId, "utf8").trim()))
      assert.strictEqual((yield* MachineClock.make).boot, boot)
    }))
})
