import { assert, layer } from "@effect/vitest"
import { Effect } from "effect"
import { crash, files, kills } from "./crash.ts"
import * as Shops from "./shops.ts"

layer(Shops.layer, { excludeTestServices: true, timeout: "120 seconds" })("payers that keep a file of SQLite", (it) => {
  it.effect(
    "pay once, lose nothing, hold nothing for ever and count to the unit, wherever they are killed",
    () =>
      Effect.gen(function*() {
        const { ends, killed, problems } = yield* crash({ name: "SQLite", kills, ledgers: yield* files })
        assert.deepStrictEqual(problems, [])
        assert.isAtLeast(killed, kills)
        assert.isAbove(ends.content, kills / 4)
      }),
    { timeout: 120_000 + kills * 4_000 }
  )
})
