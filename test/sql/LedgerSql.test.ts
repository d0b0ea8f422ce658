import { assert, describe, it } from "@effect/vitest"
import { Effect, Layer, Logger } from "effect"
import { existsSync, mkdtempSync, rmSync, statfsSync } from "node:fs"
import { join } from "node:path"
import * as Ledger from "../../src/Ledger.ts"
import * as LedgerSql from "../../src/sql/LedgerSql.ts"
import { authorize, charge, claim, deliver, judge } from "../ledger.ts"
import { directory } from "./temporary.ts"

/** A ledger, opened once more. */
const another = (filename: string) => Layer.build(Layer.fresh(LedgerSql.layerSqlite({ filename })))

describe("a ledger in a file", () => {
  it.effect("tells what this process has begun or goes on with from what others have", () =>
    Effect.gen(function*() {
      const filename = join(yield* directory, "ledger.sqlite")
      const [one, other] = [yield* another(filename), yield* another(filename)]
      const mine = Effect.flatMap(Ledger.Ledger, (ledger) =>
        Effect.map(ledger.purchases({ mine: true }), (found) => found.map(({ purchase }) => purchase.id)))
      yield* Effect.provide(authorize(charge("a", 10n)), one)
      yield* Effect.provide(authorize(charge("b", 10n)), other)
      assert.deepStrictEqual(yield* Effect.provide(mine, one), ["p-a"])
      assert.deepStrictEqual(yield* Effect.provide(mine, other), ["p-b"])
      yield* Effect.gen(function*() {
        yield* judge("a", "unknown", "claimed")
        yield* deliver("p-a", "undelivered")
      }).pipe(Effect.provide(one))
      yield* Effect.provide(claim("key of p-a", "x"), other)
      assert.deepStrictEqual(yield* Effect.provide(mine, one), [])
      assert.deepStrictEqual(yield* Effect.provide(mine, other), ["p-b", "p-a"])
    }))

  /** The type of a file system that is in memory, on Linux. */
  const tmpfs = 0x01021994
  const memory = "/dev/shm"
  const isThere = process.platform === "linux" && existsSync(memory) && statfsSync(memory).type === tmpfs

  it.effect.skipIf(!isThere)(
    "warns where the file is gone when the machine starts again, and nowhere else",
    () =>
      Effect.gen(function*() {
        const volatile = yield* Effect.acquireRelease(
          Effect.sync(() => mkdtempSync(join(memory, "effect-mpp-"))),
          (path) => Effect.sync(() => rmSync(path, { recursive: true, force: true }))
        )
        const warnings = Effect.fnUntraced(function*(path: string) {
          const all: Array<string> = []
          const logger = Logger.make(({ message }) => void all.push(String(message)))
          yield* Effect.provide(another(join(path, "ledger.sqlite")), Logger.layer([logger]))
          return all
        })
        const [warning, ...more] = yield* warnings(volatile)
        assert.match(warning ?? "", /is in memory: a machine that starts again has forgotten what was signed/)
        assert.deepStrictEqual(more, [])
        const kept = yield* directory
        if (statfsSync(kept).type !== tmpfs) assert.deepStrictEqual(yield* warnings(kept), [])
      })
  )
})
