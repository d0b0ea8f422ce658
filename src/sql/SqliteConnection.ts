/**
 * One connection to a SQLite database: `node:sqlite`, with what it does silently made loud.
 *
 * @since 0.1.0
 */
import * as Arr from "effect/Array"
import * as Cause from "effect/Cause"
import * as Context from "effect/Context"
import * as Effect from "effect/Effect"
import { SafeIntegers } from "effect/sql/SqlClient"
import type { Connection } from "effect/sql/SqlConnection"
import { isSqlError, type SqlError } from "effect/sql/SqlError"
import * as Stream from "effect/Stream"
import type { DatabaseSync, SQLInputValue, SQLOutputValue, StatementSync } from "node:sqlite"
import { fromThrown, prepare as preparing, refused } from "./SqliteFailure.ts"

/**
 * A connection that knows whether a transaction is open.
 *
 * @category models
 * @since 0.1.0
 */
export interface SqliteConnection extends Connection {
  /** Whether a transaction is open, or was until SQLite rolled it back by itself and nobody has taken note yet. */
  readonly isTransaction: () => boolean
}

type Transform = (<A extends object>(rows: ReadonlyArray<A>) => ReadonlyArray<A>) | undefined

/** How many rows a stream reads at once. */
const rowsAtOnce = 128

const attempt = <A>(operation: string, run: () => A): Effect.Effect<A, SqlError> =>
  Effect.try({ try: run, catch: (thrown) => isSqlError(thrown) ? thrown : fromThrown(thrown, operation) })

const parse = (database: DatabaseSync, sql: string): StatementSync => {
  try {
    return database.prepare(sql)
  } catch (thrown) {
    throw fromThrown(thrown, preparing)
  }
}

/** What may stand behind a statement: SQLite runs the first one, and does not say that there is another. */
const nothingMore = /^(?:[\s;]|--[^\n]*(?:\n|$)|\/\*[^]*?\*\/)*$/

const binding = (value: unknown, index: number): SQLInputValue => {
  const refuse = (why: string) => refused(`value ${index + 1} of the statement ${why}`, "bind")
  if (value === null || typeof value === "bigint" || value instanceof Uint8Array) return value
  if (typeof value === "string") {
    // Some versions of Node read a text only up to there.
    if (value.includes("\u0000")) throw refuse("is a text with a zero character in it")
    return value
  }
  if (typeof value === "number") {
    // Would become null.
    if (Number.isNaN(value)) throw refuse("is not a number")
    // Would become a floating point number, which a column of texts keeps as "1.0".
    return Number.isSafeInteger(value) ? BigInt(value) : value
  }
  throw refuse("is neither text, number, bigint, bytes nor null")
}

/**
 * What an `SqlClient` needs of an open database. Who uses it sees to it that no statement of one fiber comes between those
 * of another one's transaction.
 *
 * @category constructors
 * @since 0.1.0
 */
export const make = (database: DatabaseSync, prepareCacheSize: number): SqliteConnection => {
  const prepared = new Map<string, StatementSync>()
  let begun = false

  const prepare = (sql: string): StatementSync => {
    const statement = parse(database, sql)
    if (!nothingMore.test(sql.slice(statement.sourceSQL.length))) {
      throw refused("there is more than one statement, and only the first one would be run", preparing)
    }
    return statement
  }

  const prepareOnce = (sql: string): StatementSync => {
    const statement = prepared.get(sql) ?? prepare(sql)
    prepared.delete(sql)
    prepared.set(sql, statement)
    for (const oldest of prepared.keys()) {
      if (prepared.size <= prepareCacheSize) break
      prepared.delete(oldest)
    }
    return statement
  }

  /** Runs a statement, unless SQLite has ended the transaction that it belongs to: it would take effect on its own. */
  const run = <A>(
    sql: string,
    params: ReadonlyArray<unknown>,
    how: { readonly keep: boolean; readonly arrays: boolean },
    step: (statement: StatementSync, params: ReadonlyArray<SQLInputValue>) => A,
    none: () => A
  ): Effect.Effect<A, SqlError> =>
    Effect.withFiber((fiber) =>
      attempt("execute the statement", () => {
        if (begun && !database.isTransaction) {
          if (/^ROLLBACK$/i.test(sql)) begun = false
          else if (!/^(?:ROLLBACK TO|RELEASE) /i.test(sql)) {
            throw refused("SQLite has rolled the transaction back, and the statement was not executed", "execute")
          }
          return none()
        }
        const statement = how.keep ? prepareOnce(sql) : prepare(sql)
        statement.setReadBigInts(Context.get(fiber.context, SafeIntegers))
        statement.setReturnArrays(how.arrays)
        const result = step(statement, params.map(binding))
        // Some versions of Node go on with the columns that there were when a statement was prepared.
        if (/^\s*(?:create|alter|drop)\s/i.test(sql)) prepared.clear()
        begun = database.isTransaction
        return result
      })
    )

  const rows = (
    sql: string,
    params: ReadonlyArray<unknown>,
    how: { readonly keep: boolean; readonly arrays: boolean }
  ) => run(sql, params, how, (statement, params) => statement.all(...params), () => [])

  const objects = (keep: boolean): Connection["execute"] => (sql, params, transform) => {
    const result = rows(sql, params, { keep, arrays: false })
    return transform === undefined ? result : Effect.map(result, transform)
  }

  const values = (keep: boolean): Connection["executeValues"] => (sql, params) =>
    Effect.map(rows(sql, params, { keep, arrays: true }), Arr.map((row) => Object.values(row)))

  return {
    isTransaction: () => database.isOpen && (begun || database.isTransaction),
    execute: objects(true),
    executeUnprepared: objects(false),
    executeValues: values(true),
    executeValuesUnprepared: values(false),
    executeRaw: (sql, params) =>
      run<unknown>(
        sql,
        params,
        { keep: true, arrays: false },
        (statement, params) => statement.columns().length === 0 ? statement.run(...params) : statement.all(...params),
        () => []
      ),
    executeStream: (sql, params, transform: Transform) =>
      Effect.acquireRelease(
        // A statement of its own: one that is under way cannot be run a second time.
        run<Iterator<Record<string, SQLOutputValue>>>(
          sql,
          params,
          { keep: false, arrays: false },
          (statement, params) => statement.iterate(...params),
          () => [].values()
        ),
        (rows) => Effect.ignore(Effect.try(() => rows.return?.()))
      ).pipe(
        Effect.map((rows) => {
          let done = false
          const read = attempt("read rows", () => {
            const some: Array<Record<string, SQLOutputValue>> = []
            // To ask an iterator that is at its end once more begins it anew in some versions of Node.
            while (!done && some.length < rowsAtOnce) {
              const next = rows.next()
              if (next.done === true) done = true
              else some.push(next.value)
            }
            return transform === undefined ? some : transform(some)
          })
          return Effect.flatMap(read, (some) => Arr.isReadonlyArrayNonEmpty(some) ? Effect.succeed(some) : Cause.done())
        }),
        Stream.fromPull,
        Stream.scoped
      )
  }
}
