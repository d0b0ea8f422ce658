/**
 * JSON from strangers, plain or in base64: capped in size and depth, total, and linear in what is read.
 *
 * @since 0.1.0
 */
import * as Base64 from "effect/encoding/Base64"
import * as Base64Url from "effect/encoding/Base64Url"
import * as Option from "effect/Option"
import * as Predicate from "effect/Predicate"
import * as Result from "effect/Result"
import * as Schema from "effect/Schema"

/**
 * The deepest nesting of arrays and objects that is read.
 *
 * @category constants
 * @since 0.1.0
 */
export const maxDepth = 32

/**
 * The longest header value that is read, in characters.
 *
 * @category constants
 * @since 0.1.0
 */
export const maxHeaderLength = 64 * 1024

/**
 * The longest body that is read, in characters.
 *
 * @category constants
 * @since 0.1.0
 */
export const maxBodyLength = 256 * 1024

const quote = 0x22
const backslash = 0x5c
const opening = new Set([0x5b, 0x7b])
const closing = new Set([0x5d, 0x7d])

/** Counted before `JSON.parse` builds anything. */
const isShallow = (text: string): boolean => {
  let depth = 0
  let quoted = false
  for (let at = 0; at < text.length; at++) {
    const code = text.charCodeAt(at)
    if (quoted) {
      if (code === backslash) at++
      else if (code === quote) quoted = false
    } else if (code === quote) quoted = true
    else if (opening.has(code) && ++depth > maxDepth) return false
    else if (closing.has(code)) depth--
  }
  return true
}

/** `1e999` is read as infinity, which no JSON can be made from again. */
const isFinite = (value: Schema.Json): boolean =>
  typeof value === "number"
    ? Number.isFinite(value)
    : typeof value !== "object" || value === null || Object.values(value).every(isFinite)

/**
 * Reads JSON of at most {@link maxDepth} levels whose numbers are all finite.
 *
 * **Example** (Reading what a stranger sent)
 *
 * ```ts
 * import * as Option from "effect/Option"
 * import * as Json from "effect-mpp/wire/Json"
 *
 * Option.isSome(Json.parse("[1, 2]")) // => true
 * Option.isSome(Json.parse("[".repeat(100_000))) // => false
 * ```
 *
 * @category decoding
 * @since 0.1.0
 */
export const parse = (text: string): Option.Option<Schema.Json> =>
  isShallow(text)
    ? Option.filter(Option.liftThrowable((json: string): Schema.Json => JSON.parse(json))(text), isFinite)
    : Option.none()

/**
 * @category predicates
 * @since 0.1.0
 */
export const isObject = (value: Schema.Json | undefined): value is Schema.JsonObject => Predicate.isObject(value)

/**
 * Reads a JSON object.
 *
 * @category decoding
 * @since 0.1.0
 */
export const parseObject = (text: string): Option.Option<Schema.JsonObject> => Option.filter(parse(text), isObject)

/** Bytes that are not UTF-8 are no text. */
const utf8 = new TextDecoder("utf-8", { fatal: true })
const textOf = Option.liftThrowable((bytes: Uint8Array) => utf8.decode(bytes))

/** By its first byte that is no space: a brace, or a byte order mark. A token tells itself from JSON by this at once. */
const mayBeObject = (bytes: Uint8Array): boolean => {
  const first = bytes.find((byte) => byte > 0x20)
  return first === 0x7b || first === 0xef
}

const anyAlphabet = /^[A-Za-z0-9+/_-]*={0,2}$/

/**
 * Reads a JSON object in base64, whatever the alphabet and with or without padding.
 *
 * @category decoding
 * @since 0.1.0
 */
export const fromBase64 = (encoded: string): Option.Option<Schema.JsonObject> => {
  if (!anyAlphabet.test(encoded)) return Option.none()
  const digits = encoded.replace(/=+$/, "").replaceAll("-", "+").replaceAll("_", "/")
  return Result.getSuccess(Base64.decode(digits.padEnd(Math.ceil(digits.length / 4) * 4, "="))).pipe(
    Option.filter(mayBeObject),
    Option.flatMap(textOf),
    Option.flatMap(parseObject)
  )
}

const urlAlphabet = /^[A-Za-z0-9_-]+$/

/**
 * Reads a JSON object in base64url without padding, and nothing else.
 *
 * @category decoding
 * @since 0.1.0
 */
export const fromBase64Url = (encoded: string): Option.Option<Schema.JsonObject> =>
  urlAlphabet.test(encoded) ? fromBase64(encoded) : Option.none()

/**
 * @category encoding
 * @since 0.1.0
 */
export const toBase64 = (value: Schema.JsonObject): string => Base64.encode(JSON.stringify(value))

/**
 * @category encoding
 * @since 0.1.0
 */
export const toBase64Url = (value: Schema.JsonObject): string => Base64Url.encode(JSON.stringify(value))

/** What a string holds that UTF-8 cannot say is written as an escape, as `JSON.stringify` does. */
const write = (value: Schema.Json): string => {
  if (Array.isArray(value)) return `[${value.map(write).join(",")}]`
  if (!isObject(value)) return JSON.stringify(value)
  const members = Object.keys(value).toSorted().map((name) => `${JSON.stringify(name)}:${write(value[name]!)}`)
  return `{${members.join(",")}}`
}

/**
 * Canonical JSON (RFC 8785): members in the order of their names by UTF-16 code units, no spaces, numbers and strings as
 * ECMAScript writes them.
 *
 * **Example** (One text per value)
 *
 * ```ts
 * import * as Json from "effect-mpp/wire/Json"
 *
 * Json.canonical({ b: [1e21, "<é>"], a: null }) // => `{"a":null,"b":[1e+21,"<é>"]}`
 * ```
 *
 * @category encoding
 * @since 0.1.0
 */
export const canonical = (value: Schema.JsonObject): string => write(value)

/**
 * The object without the members that are `null`: where a member is optional, `null` says that it is absent.
 *
 * @category getters
 * @since 0.1.0
 */
export const withoutNulls = (value: Schema.JsonObject): Schema.JsonObject =>
  Object.fromEntries(Object.entries(value).filter(([, member]) => member !== null))

/**
 * The object without the members that are `null`, at any depth; `null` in a list stays.
 *
 * @category getters
 * @since 0.1.0
 */
export const withoutNestedNulls = (value: Schema.JsonObject): Schema.JsonObject =>
  Object.fromEntries(
    Object.entries(value).filter(([, member]) => member !== null).map(([name, member]) => [name, pruned(member)])
  )

const pruned = (value: Schema.Json): Schema.Json =>
  isObject(value) ? withoutNestedNulls(value) : Array.isArray(value) ? value.map(pruned) : value

/**
 * A decoder whose failure says, in our own words, which member is wrong. Optional members that are `null` are absent.
 *
 * @category decoding
 * @since 0.1.0
 */
export const decoder = <A, E>(schema: Schema.Codec<A, E>) => {
  const decode = Schema.decodeUnknownResult(schema)
  return (json: Schema.JsonObject): Result.Result<A, string> =>
    Result.mapError(decode(withoutNulls(json)), ({ issue }) => {
      const [first] = issue._tag === "Composite" ? issue.issues : []
      return first?._tag === "Pointer" ? `its ${String(first.path[0])} is missing or malformed` : "it is malformed"
    })
}
