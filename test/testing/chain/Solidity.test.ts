import { assert, describe, it } from "@effect/vitest"
import { Effect } from "effect"
import { randomBytes } from "node:crypto"
import { readdirSync, readFileSync, rmSync, writeFileSync } from "node:fs"
import { tmpdir } from "node:os"
import { join } from "node:path"
import { compile } from "../../../src/testing/chain/Solidity.ts"

const source = (name: string) =>
  `// SPDX-License-Identifier: MIT
pragma solidity ^0.8.24;
interface Other { function f() external; }
contract ${name} { function f(Other other) external { other.f(); } }
`

describe("Solidity", () => {
  it.effect("compiles a source once", () =>
    Effect.gen(function*() {
      const name = `Once${randomBytes(8).toString("hex")}`
      const codes = yield* compile(source(name))
      assert.deepStrictEqual(Object.keys(codes), [name])
      assert.match(codes[name]!, /^0x[0-9a-f]{20,}$/)
      const directory = join(tmpdir(), "effect-mpp-solidity")
      const kept = readdirSync(directory)
        .filter((file) => file.endsWith(".json"))
        .map((file) => join(directory, file))
        .find((path) => readFileSync(path, "utf8").includes(name))
      writeFileSync(kept!, JSON.stringify({ [name]: "0x1234" }))
      assert.deepStrictEqual(yield* compile(source(name)), { [name]: "0x1234" })
      rmSync(kept!)
    }))

  it.effect("says what is wrong with a source", () =>
    Effect.gen(function*() {
      const error = yield* Effect.flip(compile("contract Broken {"))
      assert.strictEqual(error.operation, "compile")
      assert.match(error.detail, /ParserError/)
    }))
})
