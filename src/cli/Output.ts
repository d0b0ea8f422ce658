/**
 * Where the executable writes: what was asked for on stdout, everything else on stderr.
 *
 * @since 0.1.0
 */
import * as Flag from "effect/cli/Flag"
import * as GlobalFlag from "effect/cli/GlobalFlag"
import * as Context from "effect/Context"
import * as Effect from "effect/Effect"
import * as Layer from "effect/Layer"
import * as Logger from "effect/Logger"
import type { PlatformError } from "effect/PlatformError"
import * as Ref from "effect/Ref"
import type * as Schema from "effect/Schema"
import * as Stdio from "effect/Stdio"
import * as Stream from "effect/Stream"
import * as Table from "./Table.ts"

/**
 * `--json`: one JSON document on stdout, and nothing else there.
 *
 * @category flags
 * @since 0.1.0
 */
export const Json = GlobalFlag.Setting("json")({
  flag: Flag.Boolean("json").pipe(
    Flag.withDescription("Print one JSON document on stdout, and nothing else there"),
    Flag.withDefault(false)
  )
})

/**
 * An object of JSON.
 *
 * @category models
 * @since 0.1.0
 */
export type JsonObject = { readonly [name: string]: Schema.Json }

/**
 * Writes text, and the end of a line, to stdout.
 *
 * @category output
 * @since 0.1.0
 */
export const print = (text: string): Effect.Effect<void, PlatformError, Stdio.Stdio> =>
  Effect.flatMap(Stdio.Stdio, (stdio) => Stream.run(Stream.make(`${text}\n`), stdio.stdout()))

/**
 * Writes lines to stdout, as they come.
 *
 * @category output
 * @since 0.1.0
 */
export const printLines = <E, R>(
  lines: Stream.Stream<string, E, R>
): Effect.Effect<void, E | PlatformError, R | Stdio.Stdio> =>
  Effect.flatMap(Stdio.Stdio, (stdio) => Stream.run(Stream.map(lines, (line) => `${line}\n`), stdio.stdout()))

/**
 * Whether the one document of this command has been written.
 *
 * @category services
 * @since 0.1.0
 */
export class Told extends Context.Service<Told, Ref.Ref<boolean>>()("effect-mpp/cli/Told") {
  static readonly layer: Layer.Layer<Told> = Layer.effect(Told, Ref.make(false))
}

/**
 * Writes the document of this command to stdout; there is one, and the first it is.
 *
 * @category output
 * @since 0.1.0
 */
export const printJson = (document: JsonObject): Effect.Effect<void, PlatformError, Stdio.Stdio | Told> =>
  Effect.flatMap(Told, (told) =>
    Effect.flatMap(
      Ref.getAndSet(told, true),
      (isTold) => isTold ? Effect.void : print(JSON.stringify(document, undefined, 2))
    ))

/**
 * Writes a line to stderr. Nobody may be listening there, and that is no failure.
 *
 * @category output
 * @since 0.1.0
 */
export const note = (line: string): Effect.Effect<void, never, Stdio.Stdio> =>
  Effect.flatMap(
    Stdio.Stdio,
    (stdio) => Effect.ignore(Stream.run(Stream.make(`mpp: ${Table.clean(line)}\n`), stdio.stderr()))
  )

/**
 * What a merchant wrote, marked as such: a reader must not take it for ours.
 *
 * @category output
 * @since 0.1.0
 */
export const merchantSays = (text: string): string => `the merchant says: "${Table.clean(text).replaceAll("\"", "'")}"`

/**
 * The logger of the executable: one plain line per message, on stderr.
 *
 * @category logging
 * @since 0.1.0
 */
export const layerLogger = Logger.layer([
  Logger.withConsoleError(Logger.make(({ logLevel, message }) => {
    const words = Array.isArray(message) ? message : [message]
    const level = logLevel === "Warn" ? "warning" : logLevel.toLowerCase()
    return `mpp: ${level}: ${Table.clean(words.map(String).join(" "))}`
  }))
])
