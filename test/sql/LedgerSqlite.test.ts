import { Effect, Layer } from "effect"
import { mkdtempSync, rmSync } from "node:fs"
import { tmpdir } from "node:os"
import { join } from "node:path"
import * as LedgerSql from "../../src/sql/LedgerSql.ts"
import { suite } from "../LedgerTest.ts"

/** An empty ledger in a file of its own, each time that it is provided. Tests jump through weeks without a renewal. */
const layer = Layer.unwrap(
  Effect.map(
    Effect.acquireRelease(
      Effect.sync(() => mkdtempSync(join(tmpdir(), "ledger-"))),
      (directory) => Effect.sync(() => rmSync(directory, { recursive: true, force: true }))
    ),
    (directory) => LedgerSql.layerSqlite({ filename: join(directory, "ledger.sqlite"), lease: "400 days" })
  )
)

suite("LedgerSql.layerSqlite", Layer.fresh(layer), { runs: 10 })
