/**
 * Ledgers that end with the test.
 */
import { Effect, Layer } from "effect"
import { mkdtempSync, rmSync } from "node:fs"
import { tmpdir } from "node:os"
import { join } from "node:path"
import * as Ledger from "../../src/Ledger.ts"
import * as LedgerSql from "../../src/sql/LedgerSql.ts"

/** A directory that is removed with the scope. */
export const directory = Effect.acquireRelease(
  Effect.sync(() => mkdtempSync(join(tmpdir(), "effect-mpp-"))),
  (path) => Effect.sync(() => rmSync(path, { recursive: true, force: true }))
)

/** An empty ledger in a file of its own. Tests jump through weeks without a renewal. */
export const layerSqlite = Layer.unwrap(
  Effect.map(directory, (path) => LedgerSql.layerSqlite({ filename: join(path, "ledger.sqlite"), lease: "400 days" }))
).pipe(Layer.orDie, Layer.fresh)

/** The ledger that the hostile suites run with: `MPP_TEST_LEDGER=sqlite` lets them run with a durable one. */
export const ledgerOfTests = process.env.MPP_TEST_LEDGER === "sqlite"
  ? layerSqlite
  : Ledger.layerMemory({ quiet: true })
