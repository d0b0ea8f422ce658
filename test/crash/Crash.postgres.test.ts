import { assert, layer } from "@effect/vitest"
import { Effect, Layer, Redacted } from "effect"
import * as Postgres from "../sql/postgres.ts"
import { crash, kills } from "./crash.ts"
import * as Shops from "./shops.ts"

const ledgers = Effect.replicateEffect(
  Effect.map(Postgres.database, ({ url }) => ({ database: Redacted.value(url) })),
  2
)

layer(Layer.merge(Shops.layer, Postgres.layer), { excludeTestServices: true, timeout: "120 seconds" })(
  "payers that keep a database of PostgreSQL",
  (it) => {
    it.effect(
      "pay once, lose nothing, hold nothing for ever and count to the unit, wherever they are killed",
      () =>
        Effect.gen(function*() {
          const { ends, killed, problems } = yield* crash({ name: "PostgreSQL", kills, ledgers: yield* ledgers })
          assert.deepStrictEqual(problems, [])
          assert.isAtLeast(killed, kills)
          assert.isAbove(ends.content, kills / 4)
        }),
      { timeout: 120_000 + kills * 4_000 }
    )
  }
)
