/** What the crash test is worth: payers that are broken on purpose are found out by it. */
import { assert, layer } from "@effect/vitest"
import { Effect } from "effect"
import { crash, files } from "./crash.ts"
import type { Setup } from "./protocol.ts"
import * as Shops from "./shops.ts"

const broken: ReadonlyArray<readonly [what: string, mutation: Setup["mutation"], finding: RegExp]> = [
  ["keep their ledger in memory", "forgetful", /was paid [2-9] times/],
  ["do not claim what others have begun", "unclaiming", /was paid [2-9] times/],
  ["sign before the hold is written", "hasty", /was paid \d times, and the ledger says \d times/]
]

for (const [what, mutation, finding] of broken) {
  layer(Shops.layer, { excludeTestServices: true, timeout: "120 seconds" })(`payers that ${what}`, (it) => {
    it.effect("are found out", () =>
      Effect.gen(function*() {
        const { problems } = yield* crash({ name: `${mutation}`, kills: 40, ledgers: yield* files, mutation })
        assert.isTrue(problems.some((problem) => finding.test(problem)), problems.join("\n"))
      }), { timeout: 300_000 })
  })
}
