import { assert, describe, it } from "@effect/vitest"
import { Context, Effect, Layer } from "effect"
import { TestClock } from "effect/testing"
import { join } from "node:path"
import * as Ledger from "../../src/Ledger.ts"
import * as LedgerSql from "../../src/sql/LedgerSql.ts"
import { OlderBuckets } from "../../src/sql/OlderBuckets.ts"
import * as Say from "../ledger.ts"
import * as Temporary from "./temporary.ts"

const built = <E>(layer: Layer.Layer<Ledger.Ledger, E>) =>
  Effect.map(Layer.build(Layer.fresh(layer)), Context.get(Ledger.Ledger))

const windows = [60_000, Say.hour, 24 * Say.hour, 30 * 24 * Say.hour]

describe("older buckets", () => {
  it.effect("count for every process, whichever of them has counted", () =>
    Effect.gen(function*() {
      const filename = join(yield* Temporary.directory, "ledger.sqlite")
      const onDisk = LedgerSql.layerSqlite({ filename, lease: "400 days" })
      const memory = yield* built(Ledger.layerMemory({ quiet: true }))
      const processes = [yield* built(onDisk), yield* built(onDisk)]
      yield* TestClock.adjust(1_700_000_000_000)
      // Far more than are recent, near and far apart.
      for (let at = 0; at < 300; at++) {
        yield* TestClock.adjust([1_000, 3_000, 61_000, 1_900_000][at % 4]!)
        const draft = Say.charge(`a${at}`, BigInt(at % 7 + 1))
        const settled: Ledger.Judgement = { state: "settled", evidence: Say.evidence("attested") }
        const unknown: Ledger.Judgement = { state: "unknown", evidence: Say.evidence("presumed") }
        const presumed: Ledger.Judgement = { state: "presumed", evidence: Say.evidence("presumed") }
        // What was taken for spent long ago is found to be void, so that older buckets change too.
        const released: Ledger.Judgement = { state: "released", evidence: Say.evidence("proven") }
        for (const ledger of [memory, processes[at % 3 === 0 ? 0 : 1]!]) {
          yield* ledger.authorize(draft)
          for (const judgement of at % 50 === 4 ? [unknown, presumed] : [settled]) {
            yield* ledger.judged(`a${at}`, judgement)
          }
          if (at % 50 === 49) yield* ledger.judged(`a${at - 45}`, released)
        }
        if (at % 20 !== 0 && at % 50 !== 49) continue
        for (const window of windows) {
          const expected = yield* memory.standing("agent:a", window)
          for (const ledger of processes) assert.deepStrictEqual(yield* ledger.standing("agent:a", window), expected)
        }
      }
      assert.strictEqual((yield* memory.standing("agent:a", 30 * 24 * Say.hour)).count, 300)
    }))

  it("are remembered for those that were used last, and for the version that they are of", () => {
    const older = new OlderBuckets()
    const buckets = (version: string) => ({ version, spent: [], count: [] })
    for (let at = 0; at <= 256; at++) older.keep(`c${at}`, buckets(`v${at}`))
    assert.deepStrictEqual(older.versions(["c0", "c1", "c256", "new"]), ["v1", "v256"])
    assert.strictEqual(older.find("c1", "v1")?.version, "v1")
    assert.isUndefined(older.find("c1", "v2"))
    assert.isUndefined(older.find("c0", "v0"))
    assert.strictEqual(older.find("new", "")?.version, "")
    assert.notStrictEqual(older.newVersion("lease"), older.newVersion("lease"))
  })
})
