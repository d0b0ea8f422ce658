import { assert, describe, it } from "@effect/vitest"
import { Effect, Layer, Logger } from "effect"
import { readFileSync, renameSync, rmSync, statSync, writeFileSync } from "node:fs"
import { join } from "node:path"
import * as Ledger from "../../src/Ledger.ts"
import * as LedgerSql from "../../src/sql/LedgerSql.ts"
import { directory } from "./temporary.ts"

const generation = (filename: string) =>
  Effect.map(Ledger.Ledger.use((ledger) => ledger.about), ({ generation }) => generation).pipe(
    Effect.provide(Layer.fresh(LedgerSql.layerSqlite({ filename }))),
    Effect.provide(Logger.layer([]))
  )

describe("the file of a ledger", () => {
  it.effect("is another one where it was deleted and put back, though it may have the number of the first", () =>
    Effect.gen(function*() {
      const path = yield* directory
      const filename = join(path, "ledger.sqlite")
      assert.strictEqual(yield* generation(filename), 1)
      assert.strictEqual(yield* generation(filename), 1)
      const { ino } = statSync(filename)
      const kept = readFileSync(filename)
      rmSync(filename)
      // Many file systems give the number of a file to one of the next.
      for (let n = 0; n < 200; n++) {
        const next = join(path, `next-${n}`)
        writeFileSync(next, kept, { mode: 0o600 })
        if (statSync(next).ino !== ino && n < 199) continue
        renameSync(next, filename)
        break
      }
      assert.strictEqual(yield* generation(filename), 2)
      assert.strictEqual(yield* generation(filename), 2)
    }))

  it.effect("is the same one where it was moved", () =>
    Effect.gen(function*() {
      const path = yield* directory
      const [before, after] = [join(path, "ledger.sqlite"), join(path, "moved.sqlite")]
      assert.strictEqual(yield* generation(before), 1)
      renameSync(before, after)
      assert.strictEqual(yield* generation(after), 1)
    }))
})
