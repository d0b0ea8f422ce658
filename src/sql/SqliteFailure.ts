/**
 * What a failure of SQLite means.
 *
 * @since 0.1.0
 */
import * as Predicate from "effect/Predicate"
import * as SqlError from "effect/sql/SqlError"

/** What `node:sqlite` throws, with its number where those who classify errors look for it. */
class SqliteError extends Error {
  override readonly name = "SqliteError"
  readonly code: number | undefined
  constructor(code: number | undefined, message: string, cause?: unknown) {
    super(message, { cause })
    this.code = code
  }
}

/**
 * The operation in which the text of a statement is read.
 *
 * @category constants
 * @since 0.1.0
 */
export const prepare = "prepare the statement"

/**
 * The failure that an exception of `node:sqlite` is.
 *
 * @category constructors
 * @since 0.1.0
 */
export const fromThrown = (thrown: unknown, operation: string): SqlError.SqlError => {
  const code = Predicate.hasProperty(thrown, "errcode") && typeof thrown.errcode === "number"
    ? thrown.errcode
    : undefined
  const said = thrown instanceof Error ? thrown.message : "for an unknown reason"
  const cause = new SqliteError(code, said, thrown)
  const message = `SQLite could not ${operation}: ${said}`
  return new SqlError.SqlError({ reason: reason({ cause, message, operation }) })
}

const reason = (
  failure: { readonly cause: SqliteError; readonly message: string; readonly operation: string }
): SqlError.SqlErrorReason => {
  const { code, message } = failure.cause
  if (message === "database is not open") return new SqlError.ConnectionError(failure)
  if (code === 1 && failure.operation === prepare) return new SqlError.SqlSyntaxError(failure)
  // A primary key that is there already is told by other numbers, and in the same words.
  const [, constraint] = /^UNIQUE constraint failed: (.+)$/.exec(message) ?? []
  if (constraint !== undefined) return new SqlError.UniqueViolation({ ...failure, constraint })
  return SqlError.classifySqliteError(failure.cause, failure)
}

/**
 * The failure of something that SQLite would have done, and that is not done here.
 *
 * @category constructors
 * @since 0.1.0
 */
export const refused = (why: string, operation: string): SqlError.SqlError =>
  new SqlError.SqlError({
    reason: new SqlError.UnknownError({ cause: new SqliteError(undefined, why), message: why, operation })
  })

/**
 * Whether a statement failed because another connection holds the lock: nothing was done, and trying again can help.
 *
 * @category guards
 * @since 0.1.0
 */
export const isBusy = (error: SqlError.SqlError): boolean => error.reason._tag === "LockTimeoutError"

const words: { readonly [code: number]: string } = {
  3: "the file may not be read or written by this user",
  5: "another process holds the lock of the file for too long",
  6: "another process holds the lock of the file for too long",
  8: "the file or its directory cannot be written",
  10: "the disk failed to read or write",
  11: "the file is damaged",
  13: "the disk is full",
  14: "the file could not be opened",
  26: "the file is no SQLite database"
}

/**
 * What went wrong, in words for whoever has to repair it: nothing of a statement or its values.
 *
 * @category formatting
 * @since 0.1.0
 */
export const explain = (error: SqlError.SqlError): string => {
  const { cause } = error.reason
  return (cause instanceof SqliteError && cause.code !== undefined ? words[cause.code & 0xff] : undefined) ??
    (error.reason._tag === "ConnectionError" ? "the database is closed" : "the database did not do what it was told")
}
