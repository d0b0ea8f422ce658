/**
 * A ledger as lines of JSON, each of which names the SHA-256 of the line before it: whoever has the digest of the last one
 * can tell whether any of them was changed. A signature over that digest says whose word the file is.
 *
 * The first line names the ledger. Purchases follow, and sessions, each with all evidence, and what left the wallet without
 * this ledger, the newest first. The line before the signature says how many there were, so that a file that was cut is told from a whole one.
 *
 * @since 0.1.0
 */
import * as Clock from "effect/Clock"
import * as Effect from "effect/Effect"
import * as Option from "effect/Option"
import * as Redacted from "effect/Redacted"
import * as Ref from "effect/Ref"
import * as Schema from "effect/Schema"
import * as Stream from "effect/Stream"
import { privateKeyToAccount } from "viem/accounts"
import { sha256, stringToBytes } from "viem/utils"
import * as Ledger from "../Ledger.ts"
import { WalletError } from "../PaymentError.ts"
import * as Moment from "./Moment.ts"
import type { JsonObject } from "./Output.ts"
import * as Pages from "./Pages.ts"
import * as Records from "./Records.ts"
import { version } from "./version.ts"

/**
 * The name of this form of lines.
 *
 * @category constants
 * @since 0.1.0
 */
export const format = "effect-mpp-ledger/1"

const Count = Schema.Natural

/**
 * The first line.
 *
 * @category schemas
 * @since 0.1.0
 */
export const Header = Schema.Struct({
  type: Schema.Literal("ledger"),
  format: Schema.Literal(format),
  ledger: Schema.String,
  generation: Count,
  exportedAt: Schema.String,
  version: Schema.String,
  previous: Schema.Null
})

/**
 * A line of what the ledger keeps; what else is in it, nobody checks.
 *
 * @category schemas
 * @since 0.1.0
 */
export const Entry = Schema.Struct({
  type: Schema.Literals(["purchase", "session", "foreign"]),
  previous: Schema.String
})

/**
 * The line after all that the ledger keeps.
 *
 * @category schemas
 * @since 0.1.0
 */
export const End = Schema.Struct({
  type: Schema.Literal("end"),
  purchases: Count,
  sessions: Count,
  foreign: Count,
  previous: Schema.String
})

/**
 * The signature of an export: EIP-191, over {@link message}.
 *
 * @category schemas
 * @since 0.1.0
 */
export const Signature = Schema.Struct({
  type: Schema.Literal("signature"),
  scheme: Schema.Literal("eip191"),
  signer: Schema.String,
  signature: Schema.String,
  previous: Schema.String
})

/**
 * @category schemas
 * @since 0.1.0
 */
export const Line = Schema.Union([Header, Entry, End, Signature])

/**
 * The digest of a line, without its end: 64 hexadecimal digits.
 *
 * @category hashing
 * @since 0.1.0
 */
export const digest = (line: string): string => sha256(stringToBytes(line)).slice(2)

/**
 * What is signed: which ledger it is, when it was exported, and the digest of the end.
 *
 * @category signing
 * @since 0.1.0
 */
export const message = (header: typeof Header.Type, head: string): string =>
  [
    "effect-mpp: the end of an exported ledger",
    `ledger: ${header.ledger}`,
    `generation: ${header.generation}`,
    `exported: ${header.exportedAt}`,
    `sha256: ${head}`
  ].join("\n")

const sign = Effect.fnUntraced(function*(key: Redacted.Redacted<string>, text: string) {
  const digits = Redacted.value(key).trim().replace(/^0x/, "")
  const account = privateKeyToAccount(`0x${digits}`)
  const signature = yield* Effect.tryPromise({
    try: () => account.signMessage({ message: text }),
    catch: () => new WalletError({ operation: "sign the export", detail: "the account refused" })
  })
  return { signer: account.address, signature }
})

/**
 * The lines of an export, without their ends. The key signs the end of it, if there is one.
 *
 * @category constructors
 * @since 0.1.0
 */
export const lines = Effect.fnUntraced(function*(key: Option.Option<Redacted.Redacted<string>>) {
  const ledger = yield* Ledger.Ledger
  const previous = yield* Ref.make<string | null>(null)
  const counts = yield* Ref.make({ purchases: 0, sessions: 0, foreign: 0 })

  /** The next line of the chain. */
  const next = (document: JsonObject) =>
    Ref.modify(previous, (before) => {
      const line = JSON.stringify({ ...document, previous: before })
      return [line, digest(line)]
    })

  const { generation, id } = yield* ledger.about
  const header: typeof Header.Type = {
    type: "ledger",
    format,
    ledger: id,
    generation,
    exportedAt: Moment.toIso(yield* Clock.currentTimeMillis),
    version,
    previous: null
  }

  const purchases = Pages.purchases({}).pipe(Stream.mapEffect((paid) =>
    Effect.andThen(
      Ref.update(counts, (now) => ({ ...now, purchases: now.purchases + 1 })),
      next({ type: "purchase", ...Records.purchase(paid) })
    )
  ))

  const sessions = Pages.sessions.pipe(Stream.mapEffect(Effect.fnUntraced(function*(session) {
    const holder = yield* ledger.authorization(session.authorization)
    yield* Ref.update(counts, (now) => ({ ...now, sessions: now.sessions + 1 }))
    return yield* next({
      type: "session",
      ...Records.session(session),
      authorization: Option.match(holder, { onNone: () => null, onSome: Records.authorization })
    })
  })))

  const foreign = Pages.foreigns.pipe(Stream.mapEffect((one) =>
    Effect.andThen(
      Ref.update(counts, (now) => ({ ...now, foreign: now.foreign + 1 })),
      next({ type: "foreign", ...Records.foreign(one) })
    )
  ))

  const end = Effect.flatMap(Ref.get(counts), (count) => next({ type: "end", ...count }))

  const signature = Effect.fnUntraced(function*(key: Redacted.Redacted<string>) {
    const head = (yield* Ref.get(previous)) ?? ""
    return yield* next({ type: "signature", scheme: "eip191", ...(yield* sign(key, message(header, head))) })
  })

  return Stream.fromEffect(next({ ...header })).pipe(
    Stream.concat(purchases),
    Stream.concat(sessions),
    Stream.concat(foreign),
    Stream.concat(Stream.fromEffect(end)),
    Stream.concat(Option.match(key, {
      onNone: () => Stream.empty,
      onSome: (key) => Stream.fromEffect(signature(key))
    }))
  )
})
