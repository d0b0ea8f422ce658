/**
 * What a ledger over a database keeps of money that moved and that it does not know.
 *
 * @since 0.1.0
 */
import * as Effect from "effect/Effect"
import * as Option from "effect/Option"
import * as Result from "effect/Result"
import * as Schema from "effect/Schema"
import type { SqlClient } from "effect/sql/SqlClient"
import { Foreign, type Known, known, type Watermark } from "../ledger/Foreign.ts"
import type * as Query from "../ledger/Query.ts"
import * as Codec from "./Codec.ts"
import { among } from "./Fetch.ts"
import type { SqlStep } from "./SqlSteps.ts"

const text = Schema.fromJsonString(Schema.toCodecJson(Foreign))
const read = Schema.decodeSync(text)
const write = Schema.encodeSync(text)

interface Columns {
  readonly maybe_forgotten: number | string | bigint
  readonly record: string
}

/**
 * The steps that write it.
 *
 * @category constructors
 * @since 0.1.0
 */
export const steps = (sql: SqlClient) => ({
  foreign: (entry: Foreign): SqlStep => ({
    operation: "foreign",
    durable: true,
    ask: (wants) => wants.count(entry.counters),
    run: Effect.fnUntraced(function*({ steps }) {
      const row = {
        reference: entry.reference,
        noted_at: entry.notedAt,
        maybe_forgotten: entry.maybeForgotten ? 1 : 0,
        record: write(entry)
      }
      const noted = yield* sql<{ reference: string }>`
        INSERT INTO effect_mpp_foreign ${sql.insert(row)} ON CONFLICT (reference) DO NOTHING RETURNING reference`
      if (noted.length > 0) steps.foreign(entry)
      return Result.succeed(noted.length > 0)
    })
  }),

  recalled: (reference: string): SqlStep => ({
    operation: "recalled",
    durable: true,
    run: () =>
      Effect.map(
        sql<{ reference: string }>`
          UPDATE effect_mpp_foreign SET maybe_forgotten = 0
          WHERE reference = ${reference} AND maybe_forgotten = 1 RETURNING reference`,
        (found) => Result.succeed(found.length > 0)
      )
  }),

  compared: (account: string, { block, generation }: Watermark): SqlStep => ({
    operation: "compared",
    durable: false,
    run: () =>
      Effect.as(
        sql`INSERT INTO effect_mpp_watermark ${sql.insert({ account, block: String(block), generation })}
          ON CONFLICT (account) DO UPDATE SET block = excluded.block, generation = excluded.generation`,
        Result.void
      )
  })
})

/**
 * What is read of it.
 *
 * @category constructors
 * @since 0.1.0
 */
export const reads = (sql: SqlClient) => ({
  foreigns: ({ after, limit = Number.MAX_SAFE_INTEGER, maybeForgotten }: Query.Foreigns) =>
    Effect.map(
      sql<Columns>`
        SELECT maybe_forgotten, record FROM effect_mpp_foreign
        WHERE ${maybeForgotten === undefined ? sql`1 = 1` : sql`maybe_forgotten = 1`} AND ${
        after === undefined
          ? sql`1 = 1`
          : sql`(noted_at, reference) <
            (SELECT p.noted_at, p.reference FROM effect_mpp_foreign p WHERE p.reference = ${after})`
      }
        ORDER BY noted_at DESC, reference DESC LIMIT ${limit}`,
      (found) =>
        found.map(({ maybe_forgotten, record }) =>
          new Foreign({ ...read(record), maybeForgotten: Number(maybe_forgotten) === 1 })
        )
    ),

  marked: (marks: ReadonlyArray<string>) =>
    Effect.map(
      sql<Codec.AuthorizationColumns>`
        SELECT id, seq, lease, spent, record FROM effect_mpp_authorization
        WHERE mark IS NOT NULL AND ${among(sql, "mark", marks)} ORDER BY seq`,
      (found): ReadonlyArray<Known> => found.flatMap((row) => known(Codec.authorization(row).value) ?? [])
    ),

  watermark: (account: string) =>
    Effect.map(
      sql<{ block: string; generation: number | string | bigint }>`
        SELECT block, generation FROM effect_mpp_watermark WHERE account = ${account}`,
      ([row]) =>
        row === undefined
          ? Option.none<Watermark>()
          : Option.some({ block: BigInt(row.block), generation: Number(row.generation) })
    )
})
