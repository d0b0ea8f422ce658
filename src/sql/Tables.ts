/**
 * The tables of a ledger, the same in SQLite and in PostgreSQL. A row keeps its record whole, as JSON, and beside it what it
 * is found by. Amounts are text: no database counts them.
 *
 * @since 0.1.0
 */
import * as Effect from "effect/Effect"
import * as Migrator from "effect/sql/Migrator"
import * as SqlClient from "effect/sql/SqlClient"
import type { SqlError } from "effect/sql/SqlError"

/**
 * Where the applied migrations are noted: not in the table that a program's own would be in.
 *
 * @category constants
 * @since 0.1.0
 */
export const migrationsTable = "effect_mpp_migrations"

/** What begins at once: the statements of the first version. */
const first = [
  // One row: who the ledger is, what time it has told last, and the lock that every step takes.
  `CREATE TABLE effect_mpp_ledger (
    one INTEGER PRIMARY KEY CHECK (one = 1),
    id TEXT NOT NULL,
    generation BIGINT NOT NULL,
    identity TEXT NOT NULL,
    time BIGINT NOT NULL,
    sequence BIGINT NOT NULL
  )`,
  // Processes that are at work, each under a lease that it renews.
  `CREATE TABLE effect_mpp_lease (
    id TEXT PRIMARY KEY,
    until BIGINT NOT NULL,
    boot TEXT NOT NULL
  )`,
  `CREATE TABLE effect_mpp_purchase (
    id TEXT PRIMARY KEY,
    seq BIGINT NOT NULL,
    purchase_key TEXT NOT NULL,
    agent TEXT NOT NULL,
    origin TEXT NOT NULL,
    delivery TEXT NOT NULL,
    lease TEXT NOT NULL,
    created_at BIGINT NOT NULL,
    counted_at BIGINT NOT NULL,
    counters TEXT NOT NULL,
    record TEXT NOT NULL
  )`,
  "CREATE UNIQUE INDEX effect_mpp_purchase_seq ON effect_mpp_purchase (seq)",
  "CREATE INDEX effect_mpp_purchase_created ON effect_mpp_purchase (created_at)",
  `CREATE INDEX effect_mpp_purchase_unread ON effect_mpp_purchase (purchase_key, seq)
    WHERE delivery IN ('open', 'delivering', 'undelivered', 'broken')`,
  `CREATE INDEX effect_mpp_purchase_lease ON effect_mpp_purchase (lease)
    WHERE delivery IN ('open', 'delivering')`,
  `CREATE TABLE effect_mpp_authorization (
    id TEXT PRIMARY KEY,
    seq BIGINT NOT NULL,
    purchase TEXT,
    session TEXT,
    rail TEXT NOT NULL,
    kind TEXT NOT NULL,
    state TEXT NOT NULL,
    lease TEXT NOT NULL,
    unproven INTEGER NOT NULL,
    mark TEXT,
    spent TEXT NOT NULL,
    record TEXT NOT NULL
  )`,
  "CREATE UNIQUE INDEX effect_mpp_authorization_seq ON effect_mpp_authorization (seq)",
  "CREATE INDEX effect_mpp_authorization_purchase ON effect_mpp_authorization (purchase)",
  `CREATE INDEX effect_mpp_authorization_draw ON effect_mpp_authorization (session)
    WHERE kind = 'draw' AND state IN ('signed', 'unknown', 'rejected')`,
  `CREATE INDEX effect_mpp_authorization_open ON effect_mpp_authorization (seq)
    WHERE state IN ('signed', 'unknown', 'rejected')`,
  `CREATE INDEX effect_mpp_authorization_lease ON effect_mpp_authorization (lease)
    WHERE state = 'signed'`,
  "CREATE INDEX effect_mpp_authorization_unproven ON effect_mpp_authorization (id) WHERE unproven = 1",
  "CREATE INDEX effect_mpp_authorization_mark ON effect_mpp_authorization (mark) WHERE mark IS NOT NULL",
  `CREATE TABLE effect_mpp_session (
    id TEXT PRIMARY KEY,
    seq BIGINT NOT NULL,
    origin TEXT NOT NULL,
    state TEXT NOT NULL,
    lease TEXT NOT NULL,
    record TEXT NOT NULL
  )`,
  "CREATE UNIQUE INDEX effect_mpp_session_seq ON effect_mpp_session (seq)",
  "CREATE INDEX effect_mpp_session_state ON effect_mpp_session (state)",
  `CREATE TABLE effect_mpp_counter (
    name TEXT PRIMARY KEY,
    exposed TEXT NOT NULL,
    spent TEXT NOT NULL,
    count TEXT NOT NULL,
    older TEXT NOT NULL
  )`,
  // What counters have counted that is not recent, apart because it changes seldom.
  `CREATE TABLE effect_mpp_counter_older (
    name TEXT PRIMARY KEY,
    version TEXT NOT NULL,
    spent TEXT NOT NULL,
    count TEXT NOT NULL
  )`,
  `CREATE TABLE effect_mpp_origin (
    name TEXT PRIMARY KEY,
    hanging TEXT NOT NULL,
    abandoned TEXT NOT NULL,
    refused TEXT NOT NULL
  )`,
  // Money that moved and is not known here, and how far each account was looked through for it.
  `CREATE TABLE effect_mpp_foreign (
    reference TEXT PRIMARY KEY,
    noted_at BIGINT NOT NULL,
    maybe_forgotten INTEGER NOT NULL,
    record TEXT NOT NULL
  )`,
  `CREATE TABLE effect_mpp_watermark (
    account TEXT PRIMARY KEY,
    block TEXT NOT NULL,
    generation BIGINT NOT NULL
  )`
]

const create = Effect.gen(function*() {
  const sql = yield* SqlClient.SqlClient
  for (const statement of first) yield* sql.unsafe(statement)
  const newId = sql.onDialectOrElse({
    pg: () => "replace(gen_random_uuid()::text, '-', '')",
    orElse: () => "lower(hex(randomblob(16)))"
  })
  yield* sql.unsafe(
    `INSERT INTO effect_mpp_ledger (one, id, generation, identity, time, sequence) VALUES (1, ${newId}, 1, '', 0, 0)`
  )
})

/**
 * Creates the tables, or brings those of an older version up to date.
 *
 * @category migrations
 * @since 0.1.0
 */
export const migrate: Effect.Effect<void, SqlError | Migrator.MigrationError, SqlClient.SqlClient> = Effect.asVoid(
  Migrator.make({})({
    loader: Migrator.fromRecord({ "0001_ledger": create }),
    table: migrationsTable
  })
)
