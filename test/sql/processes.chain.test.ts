import { Effect, Layer } from "effect"
import { mkdtempSync, rmSync } from "node:fs"
import { tmpdir } from "node:os"
import { join } from "node:path"
import * as LedgerSql from "../../src/sql/LedgerSql.ts"
import { start } from "./processes.ts"
import { type Place, suite } from "./processesTest.ts"

const place = Effect.map(
  Effect.acquireRelease(
    Effect.sync(() => mkdtempSync(join(tmpdir(), "ledger-"))),
    (directory) => Effect.sync(() => rmSync(directory, { recursive: true, force: true }))
  ),
  (directory) => {
    const filename = join(directory, "ledger.sqlite")
    return {
      start: (leaseMillis) => start({ filename, leaseMillis }),
      layer: Layer.fresh(LedgerSql.layerSqlite({ filename })),
      endsIdle: false
    } satisfies Place
  }
)

suite("SQLite", place)
