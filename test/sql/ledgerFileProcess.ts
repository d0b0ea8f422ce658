/**
 * Another process that keeps ledgers: prepares each file, opens it, writes to it, and says what the files look like
 * meanwhile. Its only argument is JSON: `{ filenames, umask? }`.
 */
import * as Effect from "effect/Effect"
import * as Layer from "effect/Layer"
import * as SqlClient from "effect/sql/SqlClient"
import { readdirSync, statSync } from "node:fs"
import { dirname, join } from "node:path"
import * as LedgerFile from "../../src/sql/LedgerFile.ts"
import * as NodeSqlite from "../../src/sql/NodeSqlite.ts"

const { filenames, umask }: { readonly filenames: ReadonlyArray<string>; readonly umask?: number } = JSON.parse(
  process.argv[2]!
)
if (umask !== undefined) process.umask(umask)

const mode = (path: string) => (statSync(path).mode & 0o777).toString(8)

const keep = (filename: string) =>
  Effect.gen(function*() {
    const file = yield* LedgerFile.prepare(filename)
    const context = yield* Layer.build(NodeSqlite.layer({ filename: file.filename }))
    const sql = yield* Effect.provide(SqlClient.SqlClient, context)
    yield* sql`create table if not exists t (n integer)`
    yield* sql`insert into t values (1)`
    const directory = dirname(file.filename)
    return {
      directory: mode(directory),
      files: Object.fromEntries(readdirSync(directory).toSorted().map((name) => [name, mode(join(directory, name))]))
    }
  }).pipe(Effect.scoped, Effect.catch((error) => Effect.succeed(error.message)))

const answer = await Effect.runPromise(Effect.forEach(filenames, keep))
process.stdout.write(JSON.stringify(answer))
