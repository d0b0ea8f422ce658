import { assert, describe, it } from "@effect/vitest"
import * as Effect from "effect/Effect"
import * as Layer from "effect/Layer"
import * as SqlClient from "effect/sql/SqlClient"
import { execFileSync } from "node:child_process"
import {
  chmodSync,
  chownSync,
  copyFileSync,
  existsSync,
  linkSync,
  lstatSync,
  mkdirSync,
  mkdtempSync,
  readFileSync,
  realpathSync,
  renameSync,
  rmSync,
  statSync,
  symlinkSync,
  writeFileSync
} from "node:fs"
import { createServer } from "node:net"
import { tmpdir } from "node:os"
import { dirname, join, relative } from "node:path"
import * as LedgerFile from "../../src/sql/LedgerFile.ts"
import * as NodeSqlite from "../../src/sql/NodeSqlite.ts"

const root = process.geteuid?.() === 0

/** Modes and owners are those of Unix. */
const unix = process.platform !== "win32"

const directory = Effect.acquireRelease(
  Effect.sync(() => realpathSync(mkdtempSync(join(tmpdir(), "effect-mpp-")))),
  (path) => Effect.sync(() => rmSync(path, { recursive: true, force: true }))
)

const mode = (path: string) => (statSync(path).mode & 0o777).toString(8)

/** Why a file is refused, in words that name its path first where they name one. */
const refusal = (filename: string) =>
  Effect.map(Effect.flip(LedgerFile.prepare(filename)), (error) => {
    assert.strictEqual(error._tag, "LedgerUnavailable")
    assert.strictEqual(error.operation, "open the file")
    return error.detail
  })

/** An empty database, closed. */
const database = (filename: string) =>
  Effect.scoped(Effect.gen(function*() {
    const context = yield* Layer.build(NodeSqlite.layer({ filename }))
    const sql = yield* Effect.provide(SqlClient.SqlClient, context)
    yield* sql`create table t (n integer)`
  }))

const child = join(import.meta.dirname, "ledgerFileProcess.ts")

/** What another process says that keeps a ledger in each of some files: how it went, or why it did not. */
const inProcess = (
  filenames: ReadonlyArray<string>,
  options: { readonly umask?: number; readonly uid?: number; readonly gid?: number } = {}
): ReadonlyArray<unknown> => {
  const { umask, ...user } = options
  const argument = JSON.stringify({ filenames, umask })
  return JSON.parse(execFileSync(process.execPath, ["--no-warnings", child, argument], { encoding: "utf8", ...user }))
}

describe("a file that is not there", () => {
  it.effect("is created, with its directories, for its owner alone", () =>
    Effect.gen(function*() {
      const path = yield* directory
      const filename = join(path, "state", "effect-mpp", "ledger.sqlite")
      const file = yield* LedgerFile.prepare(filename)
      assert.strictEqual(file.filename, filename)
      assert.deepStrictEqual(
        [filename, dirname(filename), dirname(dirname(filename))].map(mode),
        ["600", "700", "700"]
      )
      assert.deepStrictEqual(yield* LedgerFile.prepare(filename), file)
    }))

  it.effect("may be named by a relative path", () =>
    Effect.gen(function*() {
      const filename = join(yield* directory, "ledger.sqlite")
      assert.strictEqual((yield* LedgerFile.prepare(relative(process.cwd(), filename))).filename, filename)
    }))

  it.effect.each([0o000, 0o022])(
    "and what SQLite puts beside it are its owner's alone: umask %i",
    (umask) =>
      Effect.gen(function*() {
        if (!unix) return
        const filename = join(yield* directory, "new", "ledger.sqlite")
        assert.deepStrictEqual(inProcess([filename], { umask }), [{
          directory: "700",
          files: { "ledger.sqlite": "600", "ledger.sqlite-shm": "600", "ledger.sqlite-wal": "600" }
        }])
      })
  )

  it.effect("is not created where a part of its path is a file", () =>
    Effect.gen(function*() {
      const path = yield* directory
      writeFileSync(join(path, "file"), "")
      assert.match(yield* refusal(join(path, "file", "ledger.sqlite")), /a part of the path is no directory/)
      assert.match(yield* refusal(join(path, "file", "deeper", "ledger.sqlite")), /a part of the path is no directory/)
    }))

  it.effect("is not created under a name that is none", () =>
    Effect.gen(function*() {
      assert.match(yield* refusal(":memory:"), /Ledger\.layerMemory/)
      assert.match(yield* refusal(""), /no file is named/)
      assert.match(yield* refusal("  "), /no file is named/)
      assert.match(yield* refusal("a\u0000b"), /no file is named/)
      assert.match(yield* refusal("file:ledger?mode=memory"), /a path is needed/)
      assert.match(yield* refusal("postgres://user:secret@host/db"), /^a path is needed, and this is a URL$/)
      assert.match(yield* refusal(join(yield* directory, "a".repeat(300))), /name that is too long/)
    }))
})

describe("a file that is there", () => {
  it.effect.skipIf(!unix)(
    "is closed to others, and so are its directory and what lies beside it",
    () =>
      Effect.gen(function*() {
        const path = join(yield* directory, "ledgers")
        mkdirSync(path)
        chmodSync(path, 0o777)
        const filename = join(path, "ledger.sqlite")
        yield* database(filename)
        const files = [filename, `${filename}-wal`, `${filename}-shm`]
        for (const file of files) {
          if (!existsSync(file)) writeFileSync(file, "")
          chmodSync(file, 0o666)
        }
        yield* LedgerFile.prepare(filename)
        assert.deepStrictEqual([path, ...files].map(mode), ["700", "600", "600", "600"])
      })
  )

  it.effect.skipIf(!unix)(
    "leaves a directory as it is that holds other things too, if nobody else can write in it",
    () =>
      Effect.gen(function*() {
        const path = yield* directory
        writeFileSync(join(path, "package.json"), "{}")
        chmodSync(path, 0o755)
        yield* LedgerFile.prepare(join(path, "ledger.sqlite"))
        assert.deepStrictEqual([path, join(path, "ledger.sqlite")].map(mode), ["755", "600"])
      })
  )

  it.effect.skipIf(!unix)(
    "is refused in a directory of other things that others can write in",
    () =>
      Effect.gen(function*() {
        const path = yield* directory
        const filename = join(path, "ledger.sqlite")
        writeFileSync(join(path, "package.json"), "{}")
        for (const open of [0o777, 0o1777]) {
          chmodSync(path, open)
          assert.match(yield* refusal(filename), /can be written by other users, who could replace the ledger/)
          assert.strictEqual(statSync(path).mode & 0o7777, open)
        }
        assert.isFalse(existsSync(filename))
      })
  )

  it.effect("is found behind links, and is the same one by whatever name", () =>
    Effect.gen(function*() {
      const path = yield* directory
      const filename = join(path, "real", "ledger.sqlite")
      const file = yield* LedgerFile.prepare(filename)
      symlinkSync(join(path, "real"), join(path, "directory"))
      mkdirSync(join(path, "links"))
      symlinkSync(filename, join(path, "links", "file"))
      assert.deepStrictEqual(yield* LedgerFile.prepare(join(path, "directory", "ledger.sqlite")), file)
      assert.deepStrictEqual(yield* LedgerFile.prepare(join(path, "links", "file")), file)
    }))

  it.effect.skipIf(!unix)(
    "is refused behind a link that others can replace, that leads nowhere, or back to itself",
    () =>
      Effect.gen(function*() {
        const path = yield* directory
        const { filename } = yield* LedgerFile.prepare(join(path, "real", "ledger.sqlite"))
        mkdirSync(join(path, "links"))
        const link = join(path, "links", "file")
        symlinkSync(filename, link)
        writeFileSync(join(path, "links", "other"), "")
        chmodSync(join(path, "links"), 0o777)
        assert.match(yield* refusal(link), /can be written by other users/)
        symlinkSync(join(path, "nowhere"), join(path, "dangling"))
        assert.match(yield* refusal(join(path, "dangling")), /is a link to nothing/)
        assert.isFalse(existsSync(join(path, "nowhere")))
        symlinkSync(join(path, "loop"), join(path, "loop"))
        assert.match(yield* refusal(join(path, "loop")), /leads back to itself/)
      })
  )

  it.effect("is refused if it is no file", () =>
    Effect.gen(function*() {
      const path = yield* directory
      mkdirSync(join(path, "ledgers", "ledger.sqlite"), { recursive: true })
      assert.match(yield* refusal(join(path, "ledgers", "ledger.sqlite")), /is a directory: name a file in it/)
      assert.match(yield* refusal(`${join(path, "ledgers")}/`), /is a directory: name a file in it/)
      const server = createServer()
      const socket = join(path, "socket")
      yield* Effect.acquireRelease(
        Effect.callback<void>((resume) => void server.listen(socket, () => resume(Effect.void))),
        () => Effect.sync(() => server.close())
      )
      assert.match(yield* refusal(socket), /is no ordinary file/)
    }))

  it.effect("is refused if it has two names, or if what lies beside it is a link", () =>
    Effect.gen(function*() {
      const path = yield* directory
      const { filename } = yield* LedgerFile.prepare(join(path, "ledger.sqlite"))
      symlinkSync(join(path, "elsewhere"), `${filename}-wal`)
      assert.match(yield* refusal(filename), /-wal is no ordinary file/)
      rmSync(`${filename}-wal`)
      linkSync(filename, join(path, "second"))
      assert.match(yield* refusal(filename), /has a second name/)
    }))

  it.effect.skipIf(!unix)("is refused if it is read-only", () =>
    Effect.gen(function*() {
      const { filename } = yield* LedgerFile.prepare(join(yield* directory, "ledger.sqlite"))
      chmodSync(filename, 0o400)
      assert.match(yield* refusal(filename), /ledger\.sqlite is read-only/)
      assert.strictEqual(mode(filename), "400")
    }))

  it.effect("is not touched if it is no database: opening it says so", () =>
    Effect.gen(function*() {
      const filename = join(yield* directory, "notes.txt")
      writeFileSync(filename, "not a database, but something dear to somebody", { mode: 0o600 })
      yield* LedgerFile.prepare(filename)
      const error = yield* Effect.flip(database(filename))
      assert.strictEqual(NodeSqlite.explain(error), "the file is no SQLite database")
      assert.strictEqual(readFileSync(filename, "utf8"), "not a database, but something dear to somebody")
    }))

  it.effect("has another identity than its copy, and than what is put into its place", () =>
    Effect.gen(function*() {
      const path = yield* directory
      const file = yield* LedgerFile.prepare(join(path, "ledger.sqlite"))
      assert.strictEqual(yield* LedgerFile.identity(file.filename), file.identity)
      copyFileSync(file.filename, join(path, "copy"))
      assert.notStrictEqual((yield* LedgerFile.prepare(join(path, "copy"))).identity, file.identity)
      renameSync(file.filename, join(path, "moved"))
      assert.strictEqual(yield* LedgerFile.identity(join(path, "moved")), file.identity)
      assert.match((yield* Effect.flip(LedgerFile.identity(file.filename))).detail, /is not there/)
      renameSync(join(path, "copy"), file.filename)
      assert.notStrictEqual(yield* LedgerFile.identity(file.filename), file.identity)
    }))

  it.effect("keeps the locks of those in this process who have it open", () =>
    Effect.gen(function*() {
      const { filename } = yield* LedgerFile.prepare(join(yield* directory, "ledger.sqlite"))
      const sql = yield* Effect.provide(
        SqlClient.SqlClient,
        yield* Layer.build(NodeSqlite.layer({ filename }))
      )
      yield* sql`create table t (n integer)`
      yield* sql.withTransaction(Effect.gen(function*() {
        yield* sql`insert into t values (1)`
        yield* LedgerFile.prepare(filename)
        assert.match(String(inProcess([filename])[0]), /database is locked/)
      }))
    }))
})

describe.skipIf(!root)("what belongs to others", () => {
  const somebody = 1000
  const nobody = { uid: 65534, gid: 65534 }

  it.effect("is refused, and left as it is", () =>
    Effect.gen(function*() {
      const path = yield* directory
      const { filename } = yield* LedgerFile.prepare(join(path, "ledgers", "ledger.sqlite"))
      chownSync(filename, somebody, somebody)
      chmodSync(filename, 0o644)
      assert.match(yield* refusal(filename), /ledger\.sqlite belongs to another user \(1000\)/)
      assert.strictEqual(mode(filename), "644")
      chownSync(filename, 0, 0)
      chownSync(dirname(filename), somebody, somebody)
      assert.match(yield* refusal(filename), /ledgers belongs to another user \(1000\), who could replace the ledger/)
      chownSync(dirname(filename), 0, 0)
      writeFileSync(`${filename}-wal`, "")
      chownSync(`${filename}-wal`, somebody, somebody)
      assert.match(yield* refusal(filename), /-wal belongs to another user \(1000\)/)
    }))

  it.effect("is refused to a user who may not even look at it", () =>
    Effect.gen(function*() {
      const path = yield* directory
      const { filename } = yield* LedgerFile.prepare(join(path, "ledger.sqlite"))
      const refusals = () => inProcess([filename, join(path, "new", "ledger.sqlite")], nobody).map(String)
      for (const refusal of refusals()) assert.match(refusal, /may not be read and written by this user/)
      chmodSync(path, 0o755)
      const [there, absent] = refusals()
      assert.match(there!, /may not be read and written by this user|belongs to another user \(0\)/)
      assert.match(absent!, /may not be read and written by this user/)
    }))

  it.effect("is usable where the system gave its user a directory", () =>
    Effect.gen(function*() {
      const path = yield* directory
      chmodSync(path, 0o711)
      const own = join(path, "own")
      mkdirSync(own)
      chownSync(own, nobody.uid, nobody.gid)
      const shared = join(path, "shared")
      mkdirSync(shared)
      chownSync(shared, 0, nobody.gid)
      chmodSync(shared, 0o770)
      const foreign = join(path, "foreign")
      mkdirSync(foreign)
      chownSync(foreign, 0, somebody)
      chmodSync(foreign, 0o777)
      const files = [own, shared, foreign].map((directory) => join(directory, "ledger.sqlite"))
      const modes = { "ledger.sqlite": "600", "ledger.sqlite-shm": "600", "ledger.sqlite-wal": "600" }
      const [inOwn, inShared, inForeign] = inProcess(files, { ...nobody, umask: 0 })
      assert.deepStrictEqual(inOwn, { directory: "700", files: modes })
      assert.strictEqual(lstatSync(files[0]!).uid, nobody.uid)
      assert.deepStrictEqual(inShared, { directory: "770", files: modes })
      assert.match(String(inForeign), /can be written by other users/)
    }))
})

/** Mounts in a namespace of its own need the rights of root. */
const mounts = (() => {
  try {
    execFileSync("unshare", ["-m", "true"], { stdio: "ignore" })
    return root
  } catch {
    return false
  }
})()

describe.skipIf(!mounts)("a file system that is read-only", () => {
  const within = (path: string, filenames: ReadonlyArray<string>): ReadonlyArray<unknown> =>
    JSON.parse(execFileSync("unshare", [
      "-m",
      "sh",
      "-c",
      `mount --bind "$1" "$1" && mount -o remount,bind,ro "$1" && exec "$2" --no-warnings "$3" "$4"`,
      "sh",
      path,
      process.execPath,
      child,
      JSON.stringify({ filenames })
    ], { encoding: "utf8" }))

  it.effect("is told from a file that is", () =>
    Effect.gen(function*() {
      const path = yield* directory
      const { filename } = yield* LedgerFile.prepare(join(path, "ledger.sqlite"))
      for (const refusal of within(path, [filename, join(path, "new"), join(path, "a", "b")])) {
        assert.match(String(refusal), /is on a file system that is read-only/)
      }
    }))
})
