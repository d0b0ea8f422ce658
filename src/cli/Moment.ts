/**
 * Points in time, as people write them.
 *
 * @since 0.1.0
 */
import * as CliError from "effect/cli/CliError"
import * as Flag from "effect/cli/Flag"
import * as Clock from "effect/Clock"
import * as Effect from "effect/Effect"
import * as Option from "effect/Option"

const second = 1000

const units: ReadonlyMap<string, number> = new Map([
  ["s", second],
  ["m", 60 * second],
  ["h", 3600 * second],
  ["d", 86_400 * second],
  ["w", 604_800 * second]
])

const iso = /^\d{4}-\d{2}-\d{2}(?:[T ]\d{2}:\d{2}(?::\d{2}(?:\.\d{1,3})?)?)?(Z|[+-]\d{2}:\d{2})?$/

/**
 * Reads a date, a date with a time (UTC, if nothing else is said), or how long ago it was (`90s`, `30m`, `24h`, `7d`, `2w`):
 * milliseconds since the epoch.
 *
 * @category parsing
 * @since 0.1.0
 */
export const parse = (text: string, now: number): Option.Option<number> => {
  const [, count, unit] = /^([1-9]\d{0,5})([smhdw])$/.exec(text.trim()) ?? []
  const length = units.get(unit ?? "")
  if (length !== undefined) return Option.some(Math.max(0, now - Number(count) * length))
  const match = iso.exec(text.trim())
  if (match === null) return Option.none()
  const [whole, zone] = match
  const millis = Date.parse(zone === undefined && whole.length > 10 ? `${whole.replace(" ", "T")}Z` : whole)
  return Number.isNaN(millis) || millis < 0 ? Option.none() : Option.some(millis)
}

/**
 * A time in UTC, to the second.
 *
 * @category formatting
 * @since 0.1.0
 */
export const format = (millis: number): string => toIso(millis).slice(0, 19).replace("T", " ")

/**
 * A time in UTC, to the millisecond, for programs.
 *
 * @category formatting
 * @since 0.1.0
 */
export const toIso = (millis: number): string => new Date(Math.min(millis, 8.64e15)).toISOString()

/**
 * A flag whose value is a point in time.
 *
 * @category flags
 * @since 0.1.0
 */
export const flag = (name: string, description: string): Flag.Flag<Option.Option<number>> =>
  Flag.String(name).pipe(
    Flag.withMetavar("TIME"),
    Flag.withDescription(`${description}: a date, a date with a time, or how long ago (30m, 24h, 7d)`),
    Flag.mapEffect((text) =>
      Effect.flatMap(Clock.currentTimeMillis, (now) =>
        Option.match(parse(text, now), {
          onNone: () =>
            Effect.fail(
              new CliError.InvalidValue({
                kind: "flag",
                option: name,
                value: text,
                expected:
                  "Expected a date (2026-01-31), a date with a time (2026-01-31T12:00Z), or a time ago (24h, 7d)"
              })
            ),
          onSome: (millis) => Effect.succeed(millis)
        }))
    ),
    Flag.optional
  )
