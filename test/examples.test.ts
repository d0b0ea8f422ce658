/**
 * The examples in the documentation are programs: all of them compile, and what they say they return, they return.
 *
 * Taken are the fenced `ts` blocks of the JSDoc in src/, and those of README.md that import something. `expression // =>
 * value` becomes an assertion. A block marked `ts no-run` is compiled only.
 */
import { afterAll, assert, beforeAll, describe, it } from "@effect/vitest"
import { execFile } from "node:child_process"
import { existsSync, globSync, mkdirSync, mkdtempSync, readFileSync, rmSync, writeFileSync } from "node:fs"
import { join, relative, resolve } from "node:path"

interface Example {
  readonly source: string
  /** Where the block's fence stands in its source, counted from 1. */
  readonly line: number
  readonly title: string
  readonly run: boolean
  readonly code: ReadonlyArray<string>
}

const root = resolve(import.meta.dirname, "..")

const extract = (source: string): Array<Example> => {
  const margin = source.endsWith(".ts") ? /^\s*\* ?/ : /^/
  const lines = readFileSync(join(root, source), "utf8").split("\n").map((line) => line.replace(margin, ""))
  const examples: Array<Example> = []
  let title = ""
  for (let at = 0; at < lines.length; at++) {
    title = /^\*\*Example\*\* \((.*)\)/.exec(lines[at]!)?.[1] ?? title
    const fence = /^```ts( no-run)?$/.exec(lines[at]!)
    if (fence === null) continue
    const end = lines.indexOf("```", at)
    assert.isAbove(end, at, `${source}:${at + 1}: the block is not closed`)
    const code = lines.slice(at + 1, end)
    examples.push({ source, line: at + 1, title, run: fence[1] === undefined && code.some(isClaim), code })
    title = ""
    at = end
  }
  return examples
}

const claim = /^(.*\S)\s+\/\/ => (.+)$/
const isClaim = (line: string) => claim.test(line)
const indentation = (line: string) => line.length - line.trimStart().length

/** The line on which the statement that ends on line `end` begins. */
const statementStart = (code: ReadonlyArray<string>, end: number): number => {
  let at = end
  let margin = indentation(code[at]!)
  while (at > 0 && /^[)\]}.|?&:]/.test(code[at]!.trimStart())) {
    if (/^[.|?&:]/.test(code[at]!.trimStart())) margin -= 2
    do at--
    while (at > 0 && (code[at]!.trim() === "" || indentation(code[at]!) > margin))
  }
  return at
}

/** Turns claims into assertions, line for line. */
const assertClaims = (code: ReadonlyArray<string>): Array<string> => {
  const lines = [...code]
  for (const [end, line] of code.entries()) {
    const [, ending, expected] = claim.exec(line) ?? []
    if (ending === undefined) continue
    lines[end] = ending
    const start = statementStart(code, end)
    const [, name] = /^\s*(?:export )?const (\w+)/.exec(lines[start]!) ?? []
    if (name === undefined) {
      lines[start] = lines[start]!.replace(/\S/, ";assert.deepStrictEqual($&")
      lines[end] += `, ${expected})`
    } else {
      lines[end] += `; assert.deepStrictEqual(${name}, ${expected})`
    }
  }
  return lines
}

const moduleOf = (path: string | undefined): string =>
  path === undefined || path === "testing" || path === "merchant" ? join(path ?? "", "index") : path

/** A program whose line numbers are those of the source, so that every complaint points there. */
const program = (example: Example, directory: string): string => {
  const src = relative(directory, join(root, "src"))
  const code = assertClaims(example.code)
    .map((line) => line.replace(/"effect-mpp(?:\/([\w/-]+))?"/, (_, path?: string) => `"${src}/${moduleOf(path)}.ts"`))
  return "import { assert } from \"@effect/vitest\"" + "\n".repeat(example.line) + code.join("\n") + "\nvoid assert\n"
}

const fileName = (example: Example) => `${example.source.replaceAll("/", "_")}_${example.line}.ts`

/** What the compiler says of each file. */
const compile = (directory: string): Promise<ReadonlyMap<string, string>> =>
  new Promise((done) => {
    const tsc = join(root, "node_modules/typescript/bin/tsc")
    execFile(process.execPath, [tsc, "-p", directory, "--pretty", "false"], { maxBuffer: 2 ** 26 }, (_, stdout) => {
      const diagnostics = new Map<string, string>()
      for (const diagnostic of stdout.trim().split(/\n(?=\S)/)) {
        const file = /([^/(]+)\(\d+,\d+\): error/.exec(diagnostic)?.[1] ?? diagnostic
        diagnostics.set(file, `${diagnostics.get(file) ?? ""}${diagnostic}\n`)
      }
      done(diagnostics)
    })
  })

const examples = [
  ...globSync("src/**/*.ts", { cwd: root }).toSorted().flatMap(extract),
  ...(existsSync(join(root, "README.md")) ? extract("README.md") : [])
    .filter(({ code }) => code.some((line) => line.startsWith("import ")))
]

const cache = join(root, "node_modules/.cache")
mkdirSync(cache, { recursive: true })
const directory = mkdtempSync(join(cache, "examples-"))
let diagnostics: ReadonlyMap<string, string> = new Map()

beforeAll(async () => {
  for (const example of examples) writeFileSync(join(directory, fileName(example)), program(example, directory))
  writeFileSync(
    join(directory, "tsconfig.json"),
    JSON.stringify({
      extends: "../../../tsconfig.json",
      compilerOptions: { noUnusedLocals: false, noUnusedParameters: false },
      include: ["*.ts"],
      exclude: []
    })
  )
  diagnostics = await compile(directory)
}, 120_000)

afterAll(() => rmSync(directory, { recursive: true, force: true }))

describe("the examples", () => {
  it("are found", () => assert.isAbove(examples.length, 0))

  for (const example of examples) {
    const place = `${example.source}:${example.line}`
    const name = example.title === "" ? place : `${place} (${example.title})`
    it(`${name} ${example.run ? "compiles and holds" : "compiles"}`, async () => {
      assert.strictEqual(diagnostics.get(fileName(example)) ?? "", "")
      if (example.run) await import(join(directory, fileName(example)))
    })
  }
})
