/**
 * Whether an exported ledger is what was written.
 *
 * @since 0.1.0
 */
import * as Effect from "effect/Effect"
import * as Option from "effect/Option"
import * as Schema from "effect/Schema"
import * as Stream from "effect/Stream"
import { recoverMessageAddress } from "viem/utils"
import { Broken } from "./Exit.ts"
import * as Export from "./Export.ts"

/**
 * What a whole export says of itself.
 *
 * @category models
 * @since 0.1.0
 */
export interface Whole {
  readonly header: typeof Export.Header.Type
  readonly lines: number
  readonly purchases: number
  readonly sessions: number
  readonly foreign: number
  /** The digest of its end: whoever keeps it elsewhere knows this file again. */
  readonly head: string
  /** The address that signed it. */
  readonly signer: Option.Option<string>
}

/** How far the file has been read. */
interface Reading {
  readonly lines: number
  /** The digest of the last line. */
  readonly last: string | null
  readonly header: Option.Option<typeof Export.Header.Type>
  readonly purchases: number
  readonly sessions: number
  readonly foreign: number
  readonly head: Option.Option<string>
  readonly signer: Option.Option<string>
}

const nothing: Reading = {
  lines: 0,
  last: null,
  header: Option.none(),
  purchases: 0,
  sessions: 0,
  foreign: 0,
  head: Option.none(),
  signer: Option.none()
}

const decode = Schema.decodeUnknownOption(Schema.fromJsonString(Export.Line))

const broken = (line: number, what: string) => new Broken({ line, message: `Line ${line} ${what}` })

const recovered = Effect.fnUntraced(function*(
  { signature }: typeof Export.Signature.Type,
  header: typeof Export.Header.Type,
  head: string
) {
  if (!/^0x[0-9a-f]{130}$/i.test(signature)) return Option.none()
  return yield* Effect.option(
    Effect.tryPromise(() =>
      recoverMessageAddress({ message: Export.message(header, head), signature: `0x${signature.slice(2)}` })
    )
  )
})

const read = Effect.fnUntraced(function*(reading: Reading, text: string) {
  const number = reading.lines + 1
  const line = Option.getOrUndefined(decode(text))
  if (line === undefined) return yield* broken(number, "is no line of an exported ledger")
  if (line.previous !== reading.last) {
    return yield* broken(
      number,
      reading.last === null
        ? "is not the first one of an export: lines before it are missing"
        : `was not written after line ${number - 1}: one of the two was changed, or lines between them are missing`
    )
  }
  const now: Reading = { ...reading, lines: number, last: Export.digest(text) }
  const isEnded = Option.isSome(reading.head)
  if (isEnded && (line.type !== "signature" || Option.isSome(reading.signer))) {
    return yield* broken(number, "stands after the end of the export")
  }
  switch (line.type) {
    case "ledger":
      return { ...now, header: Option.some(line) }
    case "purchase":
      return { ...now, purchases: reading.purchases + 1 }
    case "session":
      return { ...now, sessions: reading.sessions + 1 }
    case "foreign":
      return { ...now, foreign: reading.foreign + 1 }
    case "end":
      return line.purchases === reading.purchases && line.sessions === reading.sessions &&
          line.foreign === reading.foreign
        ? { ...now, head: Option.fromNullOr(now.last) }
        : yield* broken(number, "counts other lines than those before it")
    case "signature": {
      const { header, head } = reading
      const signer = Option.isSome(header) && Option.isSome(head)
        ? yield* recovered(line, header.value, head.value)
        : Option.none()
      return Option.exists(signer, (address) => address.toLowerCase() === line.signer.toLowerCase())
        ? { ...now, signer }
        : yield* broken(number, "is no signature of this export by the address that it names")
    }
  }
})

/**
 * Reads an export to its end. Fails with the first line that is not as it was written.
 *
 * @category checking
 * @since 0.1.0
 */
export const check = Effect.fnUntraced(function*<E, R>(lines: Stream.Stream<string, E, R>) {
  const all = yield* Stream.runFoldEffect(lines, () => nothing, (reading, text) => read(reading, text))
  const { foreign, head, header, purchases, sessions, signer } = all
  if (Option.isNone(header)) return yield* broken(1, "is not there: the file is empty")
  if (Option.isNone(head)) return yield* broken(all.lines + 1, "is missing, and all after it: the file was cut")
  const whole: Whole = {
    header: header.value,
    lines: all.lines,
    purchases,
    sessions,
    foreign,
    head: head.value,
    signer
  }
  return whole
})
