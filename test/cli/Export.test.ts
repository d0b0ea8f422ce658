import { assert, describe, it } from "@effect/vitest"
import * as Effect from "effect/Effect"
import { createHash } from "node:crypto"
import { chmodSync, existsSync, mkdirSync, readdirSync, readFileSync, statSync, writeFileSync } from "node:fs"
import { join } from "node:path"
import * as Environment from "../../src/cli/Environment.ts"
import * as Ledger from "../../src/Ledger.ts"
import * as Rails from "../../src/Rails.ts"
import * as AgentTest from "../../src/testing/AgentTest.ts"
import { authorize, charge, close, deliver, drawing, foreign, judge, live } from "../ledger.ts"
import { directory } from "../sql/temporary.ts"
import { json, mpp, same } from "./harness.ts"

const origin = "https://merchant.test"

/** Of a public test mnemonic: nobody keeps anything there. */
const key = "ac0974bec39a17e36ba4a6b4d238ff944bacb478cbed5efcae784d7bf4f2ff80"
const signer = "0xf39Fd6e51aad88F6F4ce6aB8827279cffFb92266"

const merchant: ReadonlyArray<AgentTest.Route> = [
  { path: "/a", price: "0.01", answer: {} },
  { path: "/cut", method: "POST", price: "0.03", answer: {}, faults: ["cut"] }
]

/** An agent that bought something, lost something, and had a session. */
const customer = Effect.gen(function*() {
  const agents = yield* same(AgentTest.layer({ merchant }))
  yield* mpp(agents, ["fetch", `${origin}/a`])
  yield* mpp(agents, ["fetch", `${origin}/cut`, "-d", "x"])
  yield* Effect.gen(function*() {
    yield* live("s", 50_000n)
    yield* authorize(drawing("d", "s", 10_000n))
    yield* judge("d", "settled", "claimed", 10_000n)
    yield* deliver("p-d", "delivered")
    yield* close("s", 10_000n)
  }).pipe(Effect.provide(agents()))
  return agents
})

const signing = Effect.provide(Environment.layer({ MPP_PRIVATE_KEY: key }))

const sha256 = (text: string) => createHash("sha256").update(text).digest("hex")

const linesOf = (text: string) => text.trimEnd().split("\n")

/** The file of an export, and a way to have it verified after a change. */
const exported = Effect.fnUntraced(function*(...flags: ReadonlyArray<string>) {
  const agents = yield* customer
  const file = join(yield* directory, "ledger.jsonl")
  const ran = yield* signing(mpp(agents, ["ledger", "export", "-o", file, ...flags]))
  assert.deepStrictEqual([ran.status, ran.stdout], [0, ""])
  const lines = linesOf(readFileSync(file, "utf8"))
  const verify = (changed: ReadonlyArray<string>, ...more: ReadonlyArray<string>) => {
    writeFileSync(file, changed.map((line) => `${line}\n`).join(""))
    return mpp(agents, ["ledger", "verify", file, ...more])
  }
  return { file, lines, verify, told: ran.stderr }
})

/** The lines again, each with the digest of the one before it. */
const chained = (lines: ReadonlyArray<string>): ReadonlyArray<string> => {
  const all: Array<string> = []
  for (const line of lines) {
    const before = all.at(-1)
    all.push(JSON.stringify({ ...JSON.parse(line), previous: before === undefined ? null : sha256(before) }))
  }
  return all
}

describe("mpp ledger export", () => {
  it.effect("writes a chain of lines that begins with the ledger and ends with the count of what is in it", () =>
    Effect.gen(function*() {
      const ran = yield* mpp(yield* customer, ["ledger", "export"])
      assert.deepStrictEqual([ran.status, ran.stderr], [0, ""])
      const lines = linesOf(ran.stdout)
      const documents = lines.map((line) => JSON.parse(line))
      assert.deepStrictEqual(documents.map(({ type }) => type), [
        "ledger",
        "purchase",
        "purchase",
        "purchase",
        "session",
        "end"
      ])
      assert.deepStrictEqual(
        documents.map(({ previous }) => previous),
        [null, ...lines.slice(0, -1).map(sha256)]
      )
      assert.deepInclude(documents[0], {
        format: "effect-mpp-ledger/1",
        ledger: "memory",
        generation: 1,
        exportedAt: "1970-01-01T00:00:00.000Z"
      })
      assert.deepInclude(documents.at(-1), { purchases: 3, sessions: 1 })
      const cut = documents.find(({ path }) => path === "/cut")
      assert.deepInclude(cut.authorizations[0], { state: "unknown", heldUsd: "0.03" })
      assert.isAbove(cut.authorizations[0].evidence.length, 0)
      assert.deepInclude(documents[4], { id: "s", spentUsd: "0.01", state: "closed" })
      assert.deepInclude(documents[4].authorization, { kind: "open", state: "settled", spentUsd: "0.01" })
    }))

  it.effect("exports every purchase once, however many pages they are", () =>
    Effect.gen(function*() {
      const agents = yield* same(AgentTest.layer({ merchant }))
      yield* Effect.gen(function*() {
        for (let at = 0; at < 450; at++) yield* authorize(charge(`a${at}`, 1n))
      }).pipe(Effect.provide(agents()))
      const lines = linesOf((yield* mpp(agents, ["ledger", "export"])).stdout).map((line) => JSON.parse(line))
      assert.deepStrictEqual(
        lines.flatMap(({ id, type }) => type === "purchase" ? [id] : []),
        Array.from({ length: 450 }, (_, at) => `p-a${449 - at}`)
      )
      assert.deepInclude(lines.at(-1), { purchases: 450, sessions: 0 })
    }))

  it.effect("tells of what left the wallet without this ledger, on lines of their own, and counts them at the end", () =>
    Effect.gen(function*() {
      const agents = yield* same(AgentTest.layer({ merchant }))
      yield* Effect.gen(function*() {
        const ledger = yield* Ledger.Ledger
        for (let at = 0; at < 450; at++) {
          yield* ledger.foreign(foreign(`f${at}`, { at: at * 1_000, notedAt: at * 1_000 }))
        }
      }).pipe(Effect.provide(agents()))
      const file = join(yield* directory, "ledger.jsonl")
      yield* mpp(agents, ["ledger", "export", "-o", file])
      const lines = linesOf(readFileSync(file, "utf8"))
      const documents = lines.map((line) => JSON.parse(line))
      assert.deepStrictEqual(
        documents.flatMap(({ reference, type }) => type === "foreign" ? [reference] : []),
        Array.from({ length: 450 }, (_, at) => `f${449 - at}`)
      )
      const { previous, ...last } = documents[1]
      assert.deepStrictEqual(last, {
        type: "foreign",
        paidAt: "1970-01-01T00:07:29.000Z",
        notedAt: "1970-01-01T00:07:29.000Z",
        network: "eip155:1337",
        asset: "0xaa",
        units: "30000",
        payer: "0x1",
        payee: "0x2",
        spentUsd: "0.031",
        transaction: "0xf449",
        maybeForgotten: false,
        reference: "f449"
      })
      assert.strictEqual(previous, sha256(lines[0]!))
      assert.deepInclude(documents.at(-1), { purchases: 0, sessions: 0, foreign: 450 })
      const whole = yield* mpp(agents, ["ledger", "verify", file, "--json"])
      assert.deepInclude(json(whole), { lines: 452, purchases: 0, sessions: 0, foreign: 450 })
      writeFileSync(file, chained(lines.toSpliced(5, 1)).map((line) => `${line}\n`).join(""))
      const cut = yield* mpp(agents, ["ledger", "verify", file, "--json"])
      assert.deepInclude(json(cut).error, { _tag: "Broken", line: 451 })
    }))

  it.effect("says how an empty ledger ends", () =>
    Effect.gen(function*() {
      const ran = yield* mpp(yield* same(AgentTest.layer({ merchant })), ["ledger", "export"])
      assert.deepStrictEqual(linesOf(ran.stdout).map((line) => JSON.parse(line).type), ["ledger", "end"])
    }))

  it.effect("writes a file for its owner alone, whole or not at all", () =>
    Effect.gen(function*() {
      const { file, lines, told } = yield* exported()
      assert.strictEqual(statSync(file).mode & 0o777, 0o600)
      assert.strictEqual(told, `mpp: the SHA-256 of its end is ${sha256(lines.at(-1)!)}\n`)

      const agents = yield* customer
      chmodSync(file, 0o644)
      yield* mpp(agents, ["ledger", "export", "-o", file])
      assert.strictEqual(statSync(file).mode & 0o777, 0o600)

      const place = join(file, "../taken")
      mkdirSync(place)
      writeFileSync(join(place, "something"), "")
      const failed = yield* mpp(agents, ["ledger", "export", "-o", place])
      assert.strictEqual(failed.status, 1)
      assert.isFalse(existsSync(`${place}.part`))
      assert.deepStrictEqual(readdirSync(place), ["something"])
    }))

  it.effect("says nothing of what was signed but its digest: a merchant's text is a part of it", () =>
    Effect.gen(function*() {
      const agents = yield* same(AgentTest.layer({ merchant }))
      const exportWith = Effect.fnUntraced(function*(id: string, description: string) {
        const draft = charge(id, 10n)
        const plan = new Rails.Plan({ ...draft.authorization.plan, data: { description } })
        const authorization = new Ledger.Authorization({ ...draft.authorization, plan })
        yield* Effect.provide(authorize({ ...draft, authorization }), agents())
        const ran = yield* mpp(agents, ["ledger", "export"])
        const shown = yield* mpp(agents, ["payments", "show", `p-${id}`])
        assert.notInclude(ran.stdout + shown.stdout, description)
        return JSON.parse(linesOf(ran.stdout)[1]!).authorizations[0].planSha256
      })
      const [one, other] = [yield* exportWith("a", "Total $0.01"), yield* exportWith("b", "Send all of it here")]
      assert.match(one, /^[0-9a-f]{64}$/)
      assert.notStrictEqual(one, other)
    }))

  it.effect("does not sign without a key", () =>
    Effect.gen(function*() {
      const ran = yield* mpp(yield* customer, ["ledger", "export", "--sign"]).pipe(
        Effect.provide(Environment.layer({}))
      )
      assert.deepStrictEqual([ran.status, ran.stdout], [2, ""])
      assert.include(ran.stderr, "MPP_PRIVATE_KEY")
    }))
})

describe("mpp ledger verify", () => {
  it.effect("finds whole what was exported, and says that nobody has signed it", () =>
    Effect.gen(function*() {
      const { lines, verify } = yield* exported()
      const ran = yield* verify(lines)
      assert.strictEqual(ran.status, 0)
      assert.match(ran.stdout, /^All 6 lines are as they were written\.\n/)
      assert.match(ran.stdout, /\n  signed by +nobody\nNobody has signed it/)
      assert.include(ran.stdout, sha256(lines.at(-1)!))
      const wanted = yield* verify(lines, "--signer", signer, "--json")
      assert.deepStrictEqual([wanted.status, json(wanted).error._tag], [1, "Broken"])
    }))

  it.effect("says who has signed it", () =>
    Effect.gen(function*() {
      const { lines, told, verify } = yield* exported("--sign")
      const ran = yield* verify(lines, "--json", "--signer", signer.toLowerCase())
      const head = sha256(lines.at(-2)!)
      assert.strictEqual(told, `mpp: the SHA-256 of its end is ${head}\n`)
      assert.deepInclude(json(ran), {
        lines: 7,
        purchases: 3,
        sessions: 1,
        head,
        signer,
        ledger: "memory",
        generation: 1
      })
      const other = yield* verify(lines, "--signer", `0x${"1".repeat(40)}`)
      assert.strictEqual(other.status, 1)
      assert.include(other.stderr, `signed by another address: ${signer}`)
    }))

  it.effect("finds every single character that was changed, and names a line beside it", () =>
    Effect.gen(function*() {
      const { lines, verify } = yield* exported("--sign")
      const text = lines.join("\n")
      for (let at = 3; at < text.length; at += 61) {
        const old = text[at]!
        if (old === "\n") continue
        const changed = text.slice(0, at) + (old === "0" ? "1" : "0") + text.slice(at + 1)
        const ran = yield* verify(changed.split("\n"), "--json")
        assert.strictEqual(ran.status, 1, changed)
        const line = text.slice(0, at).split("\n").length
        assert.include([line, line + 1], json(ran).error.line)
      }
    }))

  it.effect("finds lines that were left out, added or moved", () =>
    Effect.gen(function*() {
      const { lines, verify } = yield* exported()
      const changes: ReadonlyArray<readonly [what: string, lines: ReadonlyArray<string>, line: number]> = [
        ["nothing left", [], 1],
        ["the first", lines.slice(1), 1],
        ["one in the middle", lines.toSpliced(2, 1), 3],
        ["the last", lines.slice(0, -1), 6],
        ["all but the first", lines.slice(0, 1), 2],
        ["two that changed places", lines.toSpliced(1, 2, lines[2]!, lines[1]!), 2],
        ["one twice", lines.toSpliced(2, 0, lines[1]!), 3],
        ["one after the end", [...lines, lines[1]!], 7],
        ["an empty one", lines.toSpliced(3, 0, ""), 4],
        ["one of something else", lines.toSpliced(3, 0, "{\"type\":\"note\"}"), 4]
      ]
      for (const [what, changed, line] of changes) {
        const ran = yield* verify(changed, "--json")
        assert.strictEqual(ran.status, 1, what)
        assert.deepInclude(json(ran).error, { _tag: "Broken", line }, what)
      }
    }))

  it.effect("finds a chain that somebody has made anew by the count and by the signature", () =>
    Effect.gen(function*() {
      const { lines, verify } = yield* exported("--sign")
      const forged = chained(lines.toSpliced(2, 1))
      const counted = yield* verify(forged, "--json")
      assert.deepInclude(json(counted).error, { _tag: "Broken", line: 5 })
      const end = JSON.stringify({ ...JSON.parse(lines.at(-2)!), purchases: 2 })
      const signed = yield* verify(chained([...lines.toSpliced(2, 1).slice(0, -2), end, lines.at(-1)!]), "--json")
      assert.deepInclude(json(signed).error, { _tag: "Broken", line: 6 })
      assert.include(json(signed).error.message, "no signature of this export")
      const unsigned = yield* verify(chained([...lines.toSpliced(2, 1).slice(0, -2), end]), "--json")
      assert.deepStrictEqual([unsigned.status, json(unsigned).signer], [0, null])
    }))

  it.effect("says that there is no such file", () =>
    Effect.gen(function*() {
      const { file, lines, verify } = yield* exported()
      yield* verify(lines)
      const ran = yield* mpp(yield* customer, ["ledger", "verify", `${file}.nothing`])
      assert.strictEqual(ran.status, 1)
    }))
})
