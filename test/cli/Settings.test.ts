import { afterAll, assert, describe, it } from "@effect/vitest"
import * as ConfigProvider from "effect/ConfigProvider"
import * as Effect from "effect/Effect"
import { mkdtempSync, rmSync } from "node:fs"
import { tmpdir } from "node:os"
import { join } from "node:path"
import * as Agents from "../../src/cli/Agents.ts"
import { json, mpp } from "./harness.ts"

const credential = "tempo-credential-of-a-test"

/** Every setting, with a value that it cannot have. */
const settings: ReadonlyArray<readonly [name: string, value: string, others?: { readonly [name: string]: string }]> = [
  ["MPP_BUDGET", "hunter2"],
  ["MPP_MAX_PRICE", "hunter2"],
  ["MPP_ASSETS", "hunter2"],
  ["MPP_PRIVATE_KEY", "hunter2"],
  ["MPP_PRIVATE_KEY", `0x${"0".repeat(64)}`],
  ["MPP_PRIVATE_KEY", `0x${"f".repeat(64)}`],
  ["MPP_RPC_8453", "ftp://hunter2"],
  ["MPP_RPC_8453", "https://rpc.example/,http://hunter2.example"],
  ["MPP_ALLOW_ORIGINS", "hunter2:::"],
  ["MPP_DENY_ORIGINS", "hunter2:::"],
  ["TEMPO_CREDENTIAL", "hunter2 and more", { MPP_SESSION_ORIGINS: "https://a.example" }],
  ["MPP_SESSION_ORIGINS", "hunter2", { TEMPO_CREDENTIAL: credential }],
  ["MPP_SESSION_ORIGINS", "https://a.example/hunter2", { TEMPO_CREDENTIAL: credential }],
  ["MPP_SESSION_ENDPOINT", "http://hunter2.example/session", { TEMPO_CREDENTIAL: credential }],
  ["MPP_LEDGER", "mysql://hunter2@db.example/ledger"]
]

/** For ledgers that end with the tests. */
const home = mkdtempSync(join(tmpdir(), "mpp-settings-"))
afterAll(() => rmSync(home, { recursive: true, force: true }))

describe("a setting that cannot be used", () => {
  for (const [name, value, others = {}] of settings) {
    it.effect(`is a mistake of whoever calls, named without its value: ${name}=${value.slice(0, 30)}`, () =>
      Effect.gen(function*() {
        const ran = yield* mpp(Agents.layerConfig, ["budget"])
        assert.deepStrictEqual([ran.status, ran.stdout], [2, ""], ran.stderr)
        assert.include(ran.stderr, name)
        const told = yield* mpp(Agents.layerConfig, ["budget", "--json"])
        const { budget, error } = json(told)
        assert.deepStrictEqual([told.status, error.money, budget], [2, "unspent", {}])
        assert.include(["ConfigError", "Usage"], error._tag)
        assert.include(error.message, name)
        for (const { stderr, stdout } of [ran, told]) {
          assert.notInclude(stdout + stderr, "hunter2")
          assert.notInclude(stdout + stderr, value)
        }
      }).pipe(
        Effect.provide(ConfigProvider.layer(ConfigProvider.fromEnv({ env: { HOME: home, ...others, [name]: value } })))
      ))
  }

  it.effect("is none where it is as it should be", () =>
    Effect.gen(function*() {
      const ran = yield* mpp(Agents.layerConfig, ["budget", "--json"])
      assert.strictEqual(ran.status, 0, ran.stderr)
    }).pipe(
      Effect.provide(ConfigProvider.layer(ConfigProvider.fromEnv({
        env: {
          HOME: home,
          MPP_PRIVATE_KEY: ` ${"11".repeat(32)}\n`,
          MPP_RPC_8453: "https://rpc.example/key, http://127.0.0.1:8545",
          MPP_RPC_84532: "http://node.example",
          MPP_ALLOW_HTTP: "node.example",
          TEMPO_CREDENTIAL: credential,
          MPP_SESSION_ORIGINS: " https://a.example, https://b.example=b realm , *"
        }
      })))
    ))
})
