/**
 * What the demo shows while it runs: progress on stderr, a live line where that is a terminal and plain lines elsewhere;
 * results on stdout, unless that is for a document alone. No colours.
 *
 * @since 0.1.0
 */
import * as Context from "effect/Context"
import * as Effect from "effect/Effect"
import * as Layer from "effect/Layer"
import * as Ref from "effect/Ref"
import * as Stdio from "effect/Stdio"
import * as Stream from "effect/Stream"
import * as Output from "../Output.ts"

/**
 * @category services
 * @since 0.1.0
 */
export class Screen extends Context.Service<Screen, {
  /** A result, for good. */
  readonly say: (text: string) => Effect.Effect<void>
  /** The one document on stdout. */
  readonly document: (json: Output.JsonObject) => Effect.Effect<void>
  /** What is going on. */
  readonly note: (text: string) => Effect.Effect<void>
  /** How far something has come: replaces the last of these on a terminal; elsewhere shows every fifth, and the last. */
  readonly progress: (text: string, done: number, of: number) => Effect.Effect<void>
}>()("effect-mpp/cli/demo/Screen") {
  /** With `quiet`, stdout is kept free for a document, and results go to stderr as well. */
  static readonly layer = (
    options: { readonly quiet: boolean }
  ): Layer.Layer<Screen, never, Stdio.Stdio | Output.Told> =>
    Layer.effect(
      Screen,
      Effect.gen(function*() {
        const stdio = yield* Stdio.Stdio
        const context = yield* Effect.context<Stdio.Stdio | Output.Told>()
        const terminal = yield* stdio.stderrIsTerminal
        const live = yield* Ref.make(false)

        // Nobody may be reading, and that is no reason to stop.
        const stdout = (text: string) => Effect.ignore(Stream.run(Stream.make(text), stdio.stdout()))
        const stderr = (text: string) => Effect.ignore(Stream.run(Stream.make(text), stdio.stderr()))
        const clear = Effect.flatMap(Ref.getAndSet(live, false), (shown) => shown ? stderr("\r\u001b[2K") : Effect.void)

        yield* Effect.addFinalizer(() => clear)
        return Screen.of({
          say: (text) => Effect.andThen(clear, (options.quiet ? stderr : stdout)(`${text}\n`)),
          document: (json) =>
            clear.pipe(Effect.andThen(Output.printJson(json)), Effect.ignore, Effect.provide(context)),
          note: (text) => Effect.andThen(clear, stderr(`${text}\n`)),
          progress: (text, done, of) =>
            terminal
              ? clear.pipe(Effect.andThen(stderr(text)), Effect.andThen(Ref.set(live, true)))
              : done % 5 === 0 || done === of
              ? stderr(`${text}\n`)
              : Effect.void
        })
      })
    )
}
