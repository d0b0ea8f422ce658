/**
 * The ledger that the configuration names. Nothing of databases is loaded before one is asked for, so that a program without
 * one runs where there is none.
 *
 * @since 0.1.0
 */
import * as Config from "effect/Config"
import * as Effect from "effect/Effect"
import * as Layer from "effect/Layer"
import * as Option from "effect/Option"
import * as Redacted from "effect/Redacted"
import * as Ledger from "../Ledger.ts"
import { LedgerUnavailable } from "../PaymentError.ts"

const unavailable = (detail: string) => new LedgerUnavailable({ operation: "open", detail })

const loaded = <A>(load: () => Promise<A>, missing: string) =>
  Effect.tryPromise({ try: load, catch: () => unavailable(missing) })

const sql = loaded(() => import("./LedgerSql.ts"), "this runtime has no SQLite built in: Node has, from 22.19 on")

const postgres = loaded(
  () => import("@effect/sql-pg/PgClient"),
  "a ledger in PostgreSQL needs the package @effect/sql-pg, which is not installed"
)

/** Connections to a database: one for the steps, one that holds the lease, and others for reading. */
const maxConnections = 5

/**
 * A ledger at a place: a `postgres://` URL, or a file of SQLite.
 *
 * @category layers
 * @since 0.1.0
 */
export const layerAt = (place: Redacted.Redacted): Layer.Layer<Ledger.Ledger, LedgerUnavailable> => {
  const value = Redacted.value(place).trim()
  if (/^postgres(?:ql)?:\/\//i.test(value)) {
    return Layer.unwrap(Effect.gen(function*() {
      const { layer } = yield* sql
      const PgClient = yield* postgres
      const client = PgClient.layer({ url: Redacted.make(value), maxConnections })
      return layer().pipe(
        Layer.provide(client),
        Layer.catchTag("SqlError", () => Layer.effect(Ledger.Ledger, unavailable("the database cannot be reached")))
      )
    }))
  }
  // What it says may hold a password.
  if (/^[a-z][a-z0-9+.-]+:\/\//i.test(value)) {
    return Layer.effect(Ledger.Ledger, unavailable("a ledger is a file or a postgres:// URL, and this is another URL"))
  }
  return Layer.unwrap(Effect.map(sql, ({ layerSqlite }) => layerSqlite({ filename: value })))
}

/**
 * The ledger of `MPP_LEDGER`; in memory, with one warning, if that is not set. PostgreSQL needs the package `@effect/sql-pg`.
 *
 * @category layers
 * @since 0.1.0
 */
export const layerConfig: Layer.Layer<Ledger.Ledger, Config.ConfigError | LedgerUnavailable> = Layer.unwrap(
  Effect.map(
    Config.option(Config.Redacted("MPP_LEDGER")),
    Option.match({ onNone: () => Ledger.layerMemory(), onSome: layerAt })
  )
)
