/**
 * The rules of the house that neither the compiler nor the linter can express: the order of the modules, what an effect
 * never does, how long a file may be, and that every export says what it is and since when.
 */
import { assert, describe, it } from "@effect/vitest"
import { transformSync } from "esbuild"
import { globSync, readFileSync } from "node:fs"
import { join, normalize, resolve } from "node:path"
import manifest from "../package.json" with { type: "json" }

/** From the ground to the roof: a file imports what stands above it here, and never what stands below. */
const order = [
  "Asset Amount Offer PaymentError wire/",
  "Demand ResponseBody Sent Transport chain/ Chain Secp256k1 Wallet policy/ Policy Budget Movement rail/ Rails Exchange ledger/ Ledger RetryPolicy Telemetry",
  "Fit Challenges Choice ClockGuard Foreign Warnings Workload session/ Session Outcome Ending Attempt PurchaseKey BoundedLoss Purchase Resume Admission payment/ Payment Reconciler PayingClient",
  "PayingMcp Discovery",
  "rails/ sql/ Agent index merchant/ testing/ promise/ mcp/ cli/"
].flatMap((floor) => floor.split(" "))

/** The way out of Effect, the executables, and the local chains that start processes. */
const edges = /^(promise|cli|mcp|testing\/chain)\//

/** One concept each, and more than 400 lines of it. */
const long = new Set(["PaymentError.ts"])

const src = resolve(import.meta.dirname, "../src")
const files = globSync("**/*.ts", { cwd: src }).toSorted()
const read = (file: string) => readFileSync(join(src, file), "utf8")

/** The code alone: no comments, no types. */
const code = (file: string) => transformSync(read(file), { loader: "ts", target: "esnext", legalComments: "none" }).code

/** Where a file stands in the order; -1 if nobody said. */
const rank = (file: string) =>
  order.findIndex((entry) => entry.endsWith("/") ? file.startsWith(entry) : file === `${entry}.ts`)

/** Our own modules that a file imports, for their types or more. */
const imports = (file: string) =>
  read(file).split("\n")
    .filter((line) => !/^\s*\*/.test(line))
    .flatMap((line) => [...line.matchAll(/(?:\bfrom |\bimport\(|^import )"(\.[^"]+)"/g)])
    .map(([, path]) => normalize(join(file, "..", path!)))

/** Exports that nothing is said of, or not since when. */
const undocumented = (file: string) => {
  const text = read(file)
  return [
    ...text.matchAll(
      /^export (?:declare |abstract |async )*(?:const|function\*?|class|interface|type|namespace) (\w+)/gm
    )
  ]
    .filter(({ 1: name }, at, all) => all[at - 1]?.[1] !== name || !text.includes(`export function ${name}`))
    .filter(({ index }) => {
      const above = text.slice(0, index)
      const comment = above.slice(above.lastIndexOf("/**"))
      return !comment.endsWith("*/\n") || !comment.includes("@since")
    })
    .map(({ 1: name }) => name)
}

const all = (find: (file: string) => ReadonlyArray<unknown>) =>
  files.flatMap((file) => find(file).map((found) => `${file}: ${found}`))

describe("the house", () => {
  it("gives every module a place", () => {
    assert.deepStrictEqual(files.filter((file) => rank(file) === -1), [])
  })

  it("is built from the ground: imports go to what stands above in the order", () => {
    assert.deepStrictEqual(all((file) => imports(file).filter((it) => rank(it) > rank(file))), [])
  })

  it("has no promises, no dates of its own and no process within", () => {
    const forbidden = /\basync\b|(?<!\.)\bawait\b|\bnew Date\(\)|\bnew Promise\b|\bglobalThis\.(?:process|Date)\b/g
    assert.deepStrictEqual(all((file) => edges.test(file) ? [] : code(file).match(forbidden) ?? []), [])
  })

  it("has short files", () => {
    const lines = (file: string) => read(file).split("\n").length - 1
    assert.deepStrictEqual(files.filter((file) => lines(file) > 400 && !long.has(file)), [])
  })

  it("says of every module and every export what it is, and since when", () => {
    const silent = files.filter((file) => !/^(?:#!.*\n)?\/\*\*\n(?: \*.*\n)*? \* @since /.test(read(file)))
    assert.deepStrictEqual(silent, [])
    assert.deepStrictEqual(all(undocumented), [])
  })

  it("withholds modules that exist", () => {
    const withheld = Object.entries(manifest.exports).filter(([, target]) => target === null).map(([path]) => path)
    const future = new Set(["./mcp/*", "./bin/*", "./index", "./*/index"])
    const exists = (path: string) =>
      path.endsWith("/*")
        ? files.some((file) => file.startsWith(path.slice(2, -1)))
        : files.includes(`${path.slice(2)}.ts`)
    assert.deepStrictEqual(withheld.filter((path) => !future.has(path) && !exists(path)), [])
  })
})
