import { assert, describe, it } from "@effect/vitest"
import * as Effect from "effect/Effect"
import { existsSync, mkdtempSync, rmSync } from "node:fs"
import promises from "node:fs/promises"
import { syncBuiltinESMExports } from "node:module"
import { tmpdir } from "node:os"
import { join } from "node:path"
import { kindOf } from "../../src/sql/FileSystems.ts"
import * as LedgerFile from "../../src/sql/LedgerFile.ts"

describe("a file system", () => {
  const cases: ReadonlyArray<readonly [string, number, string]> = [
    ["ext4", 0xEF53, "Unsuspicious"],
    ["xfs", 0x58465342, "Unsuspicious"],
    ["btrfs", 0x9123683E, "Unsuspicious"],
    ["zfs", 0x2FC12FC1, "Unsuspicious"],
    ["f2fs", 0xF2F52010, "Unsuspicious"],
    ["overlay of a container", 0x794C7630, "Unsuspicious"],
    ["nothing that is known", 0x12345678, "Unsuspicious"],
    ["tmpfs", 0x01021994, "Volatile"],
    ["ramfs", 0x858458F6, "Volatile"],
    ["nfs", 0x6969, "Network"],
    ["smb", 0x517B, "Network"],
    ["cifs", 0xFF534D42, "Network"],
    ["cifs, as a negative number", 0xFF534D42 - 2 ** 32, "Network"],
    ["smb2", 0xFE534D42, "Network"],
    ["9p", 0x01021997, "Network"],
    ["fuse", 0x65735546, "Network"],
    ["afs", 0x5346414F, "Network"],
    ["kafs", 0x6B414653, "Network"],
    ["coda", 0x73757245, "Network"],
    ["ncp", 0x564C, "Network"],
    ["ceph", 0x00C36400, "Network"],
    ["lustre", 0x0BD00BD0, "Network"],
    ["gpfs", 0x47504653, "Network"],
    ["gfs2", 0x01161970, "Network"],
    ["ocfs2", 0x7461636F, "Network"],
    ["beegfs", 0x19830326, "Network"],
    ["vboxsf", 0x786F4256, "Network"],
    ["vmhgfs", 0xBACBACBC, "Network"]
  ]
  it.each(cases)("is known by its number on Linux: %s", (_, type, kind) => {
    assert.strictEqual(kindOf("linux", type)._tag, kind)
  })

  it("is not known elsewhere", () => {
    // On macOS 0x1a is apfs, and numbers are given out as file systems come.
    assert.strictEqual(kindOf("darwin", 0x6969)._tag, "Unsuspicious")
    assert.strictEqual(kindOf("win32", 0)._tag, "Unsuspicious")
  })
})

describe.skipIf(process.platform !== "linux")("the file of a ledger", () => {
  /** Has the system say that all is on a file system of this type. */
  const onFileSystem = (type: number) =>
    Effect.acquireRelease(
      Effect.sync(() => {
        const { statfs } = promises
        Object.assign(promises, { statfs: () => Promise.resolve({ type }) })
        syncBuiltinESMExports()
        return statfs
      }),
      (statfs) =>
        Effect.sync(() => {
          Object.assign(promises, { statfs })
          syncBuiltinESMExports()
        })
    )

  const directory = Effect.acquireRelease(
    Effect.sync(() => mkdtempSync(join(tmpdir(), "effect-mpp-"))),
    (path) => Effect.sync(() => rmSync(path, { recursive: true, force: true }))
  )

  it.effect("is not created on a network", () =>
    Effect.gen(function*() {
      const filename = join(yield* directory, "ledger.sqlite")
      yield* onFileSystem(0x6969)
      const error = yield* Effect.flip(LedgerFile.prepare(filename))
      assert.strictEqual(error._tag, "LedgerUnavailable")
      assert.match(error.detail, /is on NFS.*PostgreSQL/)
      assert.isFalse(existsSync(filename))
    }))

  it.effect("is created on a network by whoever says that this is safe there", () =>
    Effect.gen(function*() {
      const filename = join(yield* directory, "ledger.sqlite")
      yield* onFileSystem(0x65735546)
      const file = yield* LedgerFile.prepare(filename, { allowNetworkFileSystem: true })
      assert.deepStrictEqual([file.filename, file.volatile], [filename, false])
      assert.isTrue(existsSync(filename))
    }))

  it.effect("is said to be gone after a restart where the file system is in memory", () =>
    Effect.gen(function*() {
      const filename = join(yield* directory, "ledger.sqlite")
      yield* onFileSystem(0x01021994)
      assert.isTrue((yield* LedgerFile.prepare(filename)).volatile)
    }))
})
