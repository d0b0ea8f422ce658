/**
 * What must be true of the file of a ledger before it is opened: it is on a disk of this machine, nobody else can read or
 * replace it, and it is one file under one name.
 *
 * A file that exists is never opened here: whoever closes a file gives up all locks that its process holds on it, and those
 * of SQLite are among them.
 *
 * @see https://www.sqlite.org/howtocorrupt.html
 * @since 0.1.0
 */
import * as Effect from "effect/Effect"
import * as Predicate from "effect/Predicate"
import { type BigIntStats, closeSync, constants, openSync } from "node:fs"
import * as fs from "node:fs/promises"
import { basename, dirname, join, resolve } from "node:path"
import process from "node:process"
import { LedgerUnavailable } from "../PaymentError.ts"
import { kindOf } from "./FileSystems.ts"

/**
 * What a caller vouches for.
 *
 * @category options
 * @since 0.1.0
 */
export interface Options {
  /** Takes the word of whoever says that locks and shared memory work there, and that only one machine writes. */
  readonly allowNetworkFileSystem?: boolean | undefined
}

/**
 * A file that may be opened.
 *
 * @category models
 * @since 0.1.0
 */
export interface LedgerFile {
  /** Its absolute path, without links. */
  readonly filename: string
  /** Which file it is, see {@link identity}. */
  readonly identity: string
  /** Whether the file is in memory, and gone when the machine starts again. */
  readonly volatile: boolean
}

const unavailable = (detail: string) => new LedgerUnavailable({ operation: "open the file", detail })

const refuse = (path: string, why: string) => Effect.fail(unavailable(`${path} ${why}`))

const words: { readonly [code: string]: string } = {
  EACCES: "may not be read and written by this user",
  EPERM: "may not be read and written by this user",
  EROFS: "is on a file system that is read-only",
  ENOSPC: "cannot be created: the disk is full",
  EDQUOT: "cannot be created: the disk is full",
  ENOENT: "is not there",
  ENOTDIR: "cannot be there: a part of the path is no directory",
  EEXIST: "cannot be there: a part of the path is no directory",
  ELOOP: "is a link that leads back to itself",
  ENAMETOOLONG: "has a name that is too long"
}

const code = (thrown: unknown): string =>
  Predicate.hasProperty(thrown, "code") && typeof thrown.code === "string" ? thrown.code : "unknown"

const say = (path: string, code: string): string => `${path} ${words[code] ?? `cannot be used (${code})`}`

/** Something asked of the system about a path; what it answers, or the code of its error in words. */
const ask = <A>(path: string, run: () => PromiseLike<A>): Effect.Effect<A, LedgerUnavailable> =>
  Effect.mapError(askSystem(run), (code) => unavailable(say(path, code)))

const askSystem = <A>(run: () => PromiseLike<A>): Effect.Effect<A, string> =>
  Effect.tryPromise({ try: run, catch: code })

/** The same of something that may be gone in the next moment. */
const askIfThere = <A>(path: string, run: () => PromiseLike<A>): Effect.Effect<A | undefined, LedgerUnavailable> =>
  askSystem(run).pipe(
    Effect.catchIf((code) => code === "ENOENT", () => Effect.succeed(undefined)),
    Effect.mapError((code) => unavailable(say(path, code)))
  )

/** What is there itself, not what a link leads to; nothing if nothing is there. */
const look = (path: string): Effect.Effect<BigIntStats | undefined, LedgerUnavailable> =>
  askIfThere(path, () => fs.lstat(path, { bigint: true }))

/** The bits of the mode that say what others may do, of who owns it and of its group. */
const rights = (stat: BigIntStats) => ({
  mode: Number(stat.mode & 0o777n),
  uid: Number(stat.uid),
  gid: Number(stat.gid)
})

/** A directory for us alone, and those above it that are not there. Node's own way says something else of what went wrong. */
const makeDirectory = (path: string): Effect.Effect<void, LedgerUnavailable> =>
  Effect.gen(function*() {
    if ((yield* askIfThere(path, () => fs.stat(path))) !== undefined) return
    if (dirname(path) !== path) yield* makeDirectory(dirname(path))
    yield* askSystem(() => fs.mkdir(path, 0o700)).pipe(
      // Another process was faster.
      Effect.catchIf((code) => code === "EEXIST", () => Effect.void),
      Effect.mapError((code) => unavailable(say(path, code)))
    )
  })

/** Where a path leads to, if it is a link. */
const follow = Effect.fnUntraced(function*(path: string) {
  const stat = yield* look(path)
  if (stat?.isSymbolicLink() !== true) return path
  const end = yield* askIfThere(path, () => fs.realpath(path))
  return end ?? (yield* refuse(path, "is a link to nothing"))
})

/** The place must be able to carry a write-ahead log, and to remember. */
const guardPlace = Effect.fnUntraced(function*(directory: string, options: Options) {
  const { type } = yield* ask(directory, () => fs.statfs(directory))
  const kind = kindOf(process.platform, type)
  if (kind._tag === "Network" && options.allowNetworkFileSystem !== true) {
    return yield* refuse(
      directory,
      `is on ${kind.name}, where several machines may write and locks are not to be relied on. Keep the ledger on a disk ` +
        "of this machine or in PostgreSQL, or set allowNetworkFileSystem if only this machine writes there"
    )
  }
  return kind._tag === "Volatile"
})

/**
 * Who can write in a directory can put another file in the place of the ledger, and then it has forgotten what was paid. A
 * directory of our own that holds nothing but the ledger is closed to others; one that holds other things is not ours to
 * close, and is refused if others can write in it.
 */
const guardDirectory = Effect.fnUntraced(function*(directory: string, base: string) {
  const stat = yield* look(directory)
  if (stat?.isDirectory() !== true) return yield* refuse(directory, "is no directory")
  const user = process.geteuid?.()
  if (user !== undefined) {
    const { gid, mode, uid } = rights(stat)
    if (uid !== user && uid !== 0) {
      return yield* refuse(directory, `belongs to another user (${uid}), who could replace the ledger`)
    }
    if ((mode & 0o077) !== 0) {
      const entries = uid === user ? yield* ask(directory, () => fs.readdir(directory)) : [directory]
      if (entries.every((name) => name.startsWith(base))) {
        yield* ask(directory, () => fs.chmod(directory, 0o700))
      } else if ((mode & 0o002) !== 0 || ((mode & 0o020) !== 0 && gid !== process.getegid?.() && gid !== 0)) {
        return yield* refuse(
          directory,
          "can be written by other users, who could replace the ledger. Give it a directory of its own"
        )
      }
    }
  }
  yield* ask(directory, () => fs.access(directory, constants.R_OK | constants.W_OK | constants.X_OK))
})

/** A file must be one file, ours and closed to others. Answers whether it is there. */
const guardFile = Effect.fnUntraced(function*(path: string) {
  const stat = yield* look(path)
  if (stat === undefined) return false
  if (stat.isDirectory()) return yield* refuse(path, "is a directory: name a file in it")
  if (!stat.isFile()) return yield* refuse(path, "is no ordinary file")
  if (stat.nlink > 1n) {
    return yield* refuse(
      path,
      "has a second name (a hard link), and who used that one would not see the locks of this one"
    )
  }
  const user = process.geteuid?.()
  if (user !== undefined) {
    const { mode, uid } = rights(stat)
    if (uid !== user) return yield* refuse(path, `belongs to another user (${uid})`)
    if ((mode & 0o600) !== 0o600) return yield* refuse(path, "is read-only")
    if ((mode & 0o077) !== 0) yield* askIfThere(path, () => fs.chmod(path, 0o600))
  }
  yield* askIfThere(path, () => fs.access(path, constants.R_OK | constants.W_OK))
  return true
})

/** Creates the file for us alone, so that what SQLite creates beside it is for us alone too. */
const create = (path: string): Effect.Effect<void, LedgerUnavailable> =>
  Effect.try({
    // In one step: nobody in this process can have opened it before it is closed.
    try: () => closeSync(openSync(path, "wx", 0o600)),
    catch: code
  }).pipe(
    // Another process was faster.
    Effect.catchIf((code) => code === "EEXIST", () => Effect.void),
    Effect.mapError((code) => unavailable(say(path, code)))
  )

/**
 * Which file there is now under a name. A copy is another one, and so is what was put into its place. It holds good while
 * the machine runs: after that, some file systems count anew.
 *
 * @category getters
 * @since 0.1.0
 */
export const identity = Effect.fn("LedgerFile.identity")(function*(
  filename: string
): Effect.fn.Return<string, LedgerUnavailable> {
  const stat = yield* ask(filename, () => fs.stat(filename, { bigint: true }))
  return `${stat.dev}:${stat.ino}`
})

/**
 * Sees to it that a file can hold a ledger. It is created, with its directory, if it is not there; modes that are too open
 * are closed (0600, and 0700 for a directory of its own), and what cannot be made safe is refused.
 *
 * @category constructors
 * @since 0.1.0
 */
export const prepare = Effect.fn("LedgerFile.prepare")(function*(
  filename: string,
  options: Options = {}
): Effect.fn.Return<LedgerFile, LedgerUnavailable> {
  if (filename === ":memory:") {
    return yield* Effect.fail(
      unavailable("a ledger in memory is Ledger.layerMemory, and a crash forgets what was paid")
    )
  }
  if (filename.trim() === "" || filename.includes("\u0000")) return yield* Effect.fail(unavailable("no file is named"))
  if (/^[a-z][a-z0-9+.-]+:/i.test(filename) && process.platform !== "win32") {
    return yield* Effect.fail(unavailable("a path is needed, and this is a URL"))
  }
  const asked = resolve(filename)
  yield* makeDirectory(dirname(asked))
  const named = join(yield* ask(dirname(asked), () => fs.realpath(dirname(asked))), basename(asked))
  const path = yield* follow(named)
  const volatile = yield* guardPlace(dirname(path), options)
  // Who can replace the link can replace the ledger.
  if (named !== path) yield* guardDirectory(dirname(named), basename(named))
  yield* guardDirectory(dirname(path), basename(path))
  // Who can write a log can have it read into the file.
  for (const beside of ["-wal", "-shm", "-journal"]) yield* guardFile(path + beside)
  if (!(yield* guardFile(path))) {
    yield* create(path)
    yield* guardFile(path)
  }
  return { filename: path, identity: yield* identity(path), volatile }
})
