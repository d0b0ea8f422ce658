/** The command with a ledger that a fleet shares. */
import { assert, layer } from "@effect/vitest"
import { Effect, Redacted } from "effect"
import * as Postgres from "../sql/postgres.ts"
import { merchant, mpp, wallet } from "./executable.ts"

layer(Postgres.layer, { excludeTestServices: true, timeout: "120 seconds" })(
  "the executable, over PostgreSQL,",
  (it) => {
    it.effect("resumes what a killed process has paid for, and never prints the URL", () =>
      Effect.gen(function*() {
        const { credentials, url } = yield* merchant
        const MPP_LEDGER = Redacted.value((yield* Postgres.database).url)
        const late = ["fetch", `${url}/late`, "--json", "--log-level", "all"]
        const killed = yield* mpp(late, { ...wallet, MPP_LEDGER }, () => credentials.length > 0, "SIGKILL")
        const again = yield* mpp(late, { ...wallet, MPP_LEDGER })
        const { body, budget } = JSON.parse(again.stdout)
        assert.deepStrictEqual([again.status, body, budget.spent], [0, "late\n", "0.01"], again.stderr)
        assert.strictEqual(credentials.length, 2)
        assert.strictEqual(credentials[1], credentials[0])
        const listed = yield* mpp(["payments", "--json"], { MPP_LEDGER })
        assert.deepInclude(JSON.parse(listed.stdout).payments[0], {
          resumes: 1,
          delivery: "delivered",
          spentUsd: "0.01"
        })
        const exported = yield* mpp(["ledger", "export"], { MPP_LEDGER })
        assert.strictEqual(exported.stdout.trimEnd().split("\n").length, 3)
        for (const { stderr, stdout } of [killed, again, listed, exported]) {
          assert.notInclude(stdout + stderr, MPP_LEDGER)
          assert.notMatch(stdout + stderr, /postgres(ql)?:\/\//)
        }
      }))
  }
)
