/**
 * `Accept-Payment`: what a client can pay with, and how gladly: `tempo/charge, evm/*;q=0.5, stripe/charge;q=0`.
 *
 * The most specific range that fits an offer decides about it, so that `tempo/*, tempo/charge;q=0` takes everything of Tempo
 * but charges.
 *
 * @since 0.1.0
 */
import * as Option from "effect/Option"

/**
 * One range: a method and an intent, each a name or `*`, and a quality between 0 (never) and 1 in thousandths.
 *
 * @category models
 * @since 0.1.0
 */
export interface Range {
  readonly method: string
  readonly intent: string
  readonly quality: number
}

/**
 * The longest header that is read, in characters.
 *
 * @category constants
 * @since 0.1.0
 */
export const maxLength = 4096

/**
 * The most ranges that are read.
 *
 * @category constants
 * @since 0.1.0
 */
export const maxRanges = 64

const range =
  /^(\*|[a-z][a-z0-9:_-]{0,63})\/(\*|[A-Za-z0-9-]{1,64})(?:[ \t]*;[ \t]*[qQ]=(0(?:\.[0-9]{0,3})?|1(?:\.0{0,3})?))?$/

const parseRange = (text: string): Option.Option<Range> => {
  const match = range.exec(text)
  return match === null
    ? Option.none()
    : Option.some({ method: match[1]!, intent: match[2]!, quality: Number(match[3] ?? 1) })
}

/**
 * Reads the header; none where any part of it is no range, where there is none at all, or where there are more than
 * {@link maxRanges}. A server may then do as if it had not been sent.
 *
 * @category decoding
 * @since 0.1.0
 */
export const parse = (header: string): Option.Option<ReadonlyArray<Range>> => {
  if (header.length > maxLength) return Option.none()
  const parts = header.split(",").map((part) => part.trim()).filter((part) => part !== "")
  return parts.length === 0 || parts.length > maxRanges ? Option.none() : Option.all(parts.map(parseRange))
}

const formatQuality = (quality: number): string => `${Math.round(Math.min(1, Math.max(0, quality)) * 1000) / 1000}`

/**
 * Writes the header. Qualities are rounded to thousandths; that of 1 is left out.
 *
 * **Example** (Saying what is liked better)
 *
 * ```ts
 * import * as AcceptPayment from "effect-mpp/wire/mpp/AcceptPayment"
 *
 * AcceptPayment.format([
 *   { method: "tempo", intent: "charge", quality: 1 },
 *   { method: "evm", intent: "*", quality: 0.5 }
 * ]) // => "tempo/charge, evm/*;q=0.5"
 * ```
 *
 * @category encoding
 * @since 0.1.0
 */
export const format = (ranges: ReadonlyArray<Range>): string =>
  ranges.map(({ intent, method, quality }) => {
    const written = formatQuality(quality)
    return `${method}/${intent}${written === "1" ? "" : `;q=${written}`}`
  }).join(", ")

const fits = (pattern: string, name: string) => pattern === "*" || pattern === name

const specificity = ({ intent, method }: Range) => Number(method !== "*") + Number(intent !== "*")

/**
 * How gladly a method and an intent are taken: the quality of the most specific range that fits, the highest of several
 * equally specific ones, or 0 where none fits.
 *
 * @category getters
 * @since 0.1.0
 */
export const quality = (ranges: ReadonlyArray<Range>, method: string, intent: string): number => {
  const fitting = ranges.filter((range) => fits(range.method, method) && fits(range.intent, intent))
  const closest = Math.max(...fitting.map(specificity))
  return Math.max(0, ...fitting.filter((range) => specificity(range) === closest).map((range) => range.quality))
}
