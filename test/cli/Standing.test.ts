import { assert, describe, it } from "@effect/vitest"
import * as Standing from "../../src/cli/Standing.ts"

describe("a limit as a bar", () => {
  it.each(
    [
      [100n, 0n, 0n, "[........................]"],
      [100n, 50n, 25n, "[############======......]"],
      [100n, 100n, 0n, "[########################]"],
      [100n, 0n, 100n, "[========================]"],
      [1_000_000n, 1n, 0n, "[#.......................]"],
      [1_000_000n, 1n, 1n, "[#=......................]"],
      [1_000_000n, 999_999n, 0n, "[#######################.]"],
      [1_000_000n, 999_998n, 1n, "[######################=.]"],
      [100n, 250n, 10n, "[#######################=]"],
      [0n, 5n, 0n, "[########################]"]
    ] as const
  )("of $%s with %s spent and %s held", (limit, spent, exposed, bar) => {
    assert.strictEqual(Standing.toBar({ limit, spent, exposed }), bar)
  })

  it("is always as long, and shows whatever there is", () => {
    const figures = [0n, 1n, 2n, 24n, 25n, 1_000n, 999_999n, 1_000_000n, 10n ** 12n]
    for (const limit of figures) {
      for (const spent of figures) {
        for (const exposed of figures) {
          const bar = Standing.toBar({ limit, spent, exposed })
          assert.match(bar, /^\[#*=*\.*\]$/)
          assert.strictEqual(bar.length, 26)
          assert.strictEqual(bar.includes("#"), spent > 0n)
          assert.strictEqual(bar.includes("="), exposed > 0n)
          if (limit > 0n) assert.strictEqual(bar.includes("."), spent + exposed < limit)
        }
      }
    }
  })
})
