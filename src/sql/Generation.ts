/**
 * Whether a ledger is where it was written: a copy, and what was restored from one, has forgotten what came after.
 *
 * A file is told by its number in the file system and by when it was made, which a copy does not share, and which neither its
 * name nor the device has a part in: a file that is moved has forgotten nothing, and devices are numbered anew when a machine
 * starts. A database of PostgreSQL is told by its cluster and its timeline, which ends when a replica takes over or an earlier state is restored.
 * Whoever overwrites a file with its earlier content is not noticed here, and nor is a machine that was copied as a whole:
 * then the chains tell what was forgotten.
 *
 * @since 0.1.0
 */
import * as Effect from "effect/Effect"
import * as Option from "effect/Option"
import type { SqlError } from "effect/sql/SqlError"
import type { Backend } from "./Backend.ts"

interface Columns {
  readonly id: string
  readonly generation: number | string | bigint
  readonly identity: string
}

/**
 * Remembers where the ledger is. If it was elsewhere before, another generation begins: answers which.
 *
 * @category constructors
 * @since 0.1.0
 */
export const recognise = Effect.fnUntraced(function*(
  { identity, outside, sql, transaction }: Backend
): Effect.fn.Return<Option.Option<{ readonly id: string; readonly generation: number }>, SqlError> {
  const look = sql<Columns>`SELECT id, generation, identity FROM effect_mpp_ledger WHERE one = 1`
  const [seen] = yield* outside(look)
  if (seen === undefined || seen.identity === identity) return Option.none()
  return yield* transaction(
    true,
    Effect.gen(function*() {
      const [row] = yield* look
      // Another process was faster.
      if (row === undefined || row.identity === identity) return Option.none()
      const isNew = row.identity === ""
      const generation = Number(row.generation) + (isNew ? 0 : 1)
      yield* sql`UPDATE effect_mpp_ledger SET identity = ${identity}, generation = ${generation} WHERE one = 1`
      return isNew ? Option.none() : Option.some({ id: row.id, generation })
    })
  )
})
