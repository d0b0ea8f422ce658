/**
 * The grammar of `WWW-Authenticate`: challenges of several schemes in one line, as repeated header fields arrive
 * (RFC 9110, section 11.6.1).
 *
 * Quoted text is never searched. A scheme begins only at the start of the line or after a comma, and what follows it
 * belongs to it until the next scheme. Parameters may be separated by commas or by spaces.
 *
 * @since 0.1.0
 */
import * as Result from "effect/Result"

/**
 * The parameters of one challenge by their name in lower case, or what is wrong with it. One bad challenge says nothing of
 * the others.
 *
 * @category models
 * @since 0.1.0
 */
export type Challenge = Result.Result<ReadonlyMap<string, string>, string>

/**
 * The most challenges of one scheme that are read from a line.
 *
 * @category constants
 * @since 0.1.0
 */
export const maxChallenges = 50

const space = /\s+/y
const token = /[!#$%&'*+\-.^_`|~0-9A-Za-z]+/y
const bareValue = /[^\s,"]+/y
const unquoted = /[^"\\]+/y
const unicodeEscape = /\\u[0-9a-fA-F]{4}/y

/** Moves over a text from left to right, and never back. */
class Cursor {
  readonly text: string
  at = 0

  constructor(text: string) {
    this.text = text
  }

  peek(): string | undefined {
    return this.text[this.at]
  }

  /** What the pattern matches here; empty if it does not. */
  take(pattern: RegExp): string {
    pattern.lastIndex = this.at
    const match = pattern.exec(this.text)
    if (match === null) return ""
    this.at = pattern.lastIndex
    return match[0]
  }

  /** The quoted string that begins here; `undefined` if it does not end. */
  takeQuoted(): string | undefined {
    let value = ""
    this.at++
    while (this.peek() !== undefined) {
      value += this.take(unquoted)
      if (this.peek() === "\"") {
        this.at++
        return value
      }
      const escaped = this.take(unicodeEscape)
      if (escaped !== "") value += String.fromCharCode(Number.parseInt(escaped.slice(2), 16))
      else {
        value += this.text[this.at + 1] ?? ""
        this.at += 2
      }
    }
    return undefined
  }
}

/** Collects one challenge; only the first thing that is wrong with it is kept. */
class Builder {
  readonly params = new Map<string, string>()
  wrong: string | undefined

  add(name: string, value: string | undefined) {
    const key = name.toLowerCase()
    if (value === undefined) this.spoil("a parameter's value is missing or does not end")
    else if (this.params.has(key)) this.spoil("a parameter is given twice")
    else this.params.set(key, value)
  }

  spoil(why: string) {
    this.wrong ??= why
  }

  get outcome(): Challenge {
    return this.wrong === undefined ? Result.succeed(this.params) : Result.fail(this.wrong)
  }
}

/**
 * The challenges of one scheme, in their order.
 *
 * **Example** (One scheme among others)
 *
 * ```ts
 * import * as Result from "effect/Result"
 * import * as AuthScheme from "effect-mpp/wire/mpp/AuthScheme"
 *
 * const [challenge] = AuthScheme.parse(`Basic realm="a, Payment b", payment id="1" realm=shop`, "payment")
 * Result.getOrThrow(challenge!).get("realm") // => "shop"
 * ```
 *
 * @category decoding
 * @since 0.1.0
 */
export const parse = (line: string, scheme: string): ReadonlyArray<Challenge> => {
  const cursor = new Cursor(line)
  const found: Array<Builder> = []
  /** Absent within a challenge of another scheme. */
  let current: Builder | undefined
  let afterComma = true
  while (cursor.peek() !== undefined && found.length <= maxChallenges) {
    if (cursor.take(space) !== "") continue
    if (cursor.peek() === ",") {
      cursor.at++
      afterComma = true
      continue
    }
    const name = cursor.take(token)
    cursor.take(space)
    if (name !== "" && cursor.peek() === "=") {
      cursor.at++
      cursor.take(space)
      const value = cursor.peek() === "\"" ? cursor.takeQuoted() : cursor.take(bareValue) || undefined
      current?.add(name, value)
    } else if (name !== "" && afterComma) {
      current = name.toLowerCase() === scheme ? new Builder() : undefined
      if (current !== undefined) found.push(current)
    } else {
      if (cursor.peek() === "\"") cursor.takeQuoted()
      else if (name === "") cursor.at++
      current?.spoil("it has text that is no parameter")
    }
    afterComma = false
  }
  return found.length > maxChallenges
    ? [
      ...found.slice(0, maxChallenges).map((builder) => builder.outcome),
      Result.fail(`there are more than ${maxChallenges} of them, and the rest is not read`)
    ]
    : found.map((builder) => builder.outcome)
}

const quote = (value: string): string =>
  value.replace(/["\\]/g, "\\$&").replace(
    /[^\x20-\x7e]/g,
    (unit) => `\\u${unit.charCodeAt(0).toString(16).padStart(4, "0")}`
  )

/**
 * Writes a challenge. Values are quoted; what is not printable ASCII is written as `\uXXXX`, so that no value can end its
 * line or its quotes.
 *
 * **Example** (Writing a challenge)
 *
 * ```ts
 * import * as AuthScheme from "effect-mpp/wire/mpp/AuthScheme"
 *
 * AuthScheme.format("Payment", [["realm", `the "shop"`], ["price", "1 €"]])
 * // => `Payment realm="the \\"shop\\"", price="1 \\u20ac"`
 * ```
 *
 * @category encoding
 * @since 0.1.0
 */
export const format = (scheme: string, params: ReadonlyArray<readonly [name: string, value: string]>): string =>
  `${scheme} ${params.map(([name, value]) => `${name}="${quote(value)}"`).join(", ")}`
