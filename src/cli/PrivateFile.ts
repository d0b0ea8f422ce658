/**
 * A file that its owner alone can read, and that is there whole or not at all.
 *
 * @since 0.1.0
 */
import * as Effect from "effect/Effect"
import * as FileSystem from "effect/FileSystem"
import type { PlatformError } from "effect/PlatformError"
import * as Stream from "effect/Stream"

const encoder = new TextEncoder()

/**
 * Writes lines into a file beside the one that is meant, and puts it into its place when all of them are on the disk.
 *
 * @category output
 * @since 0.1.0
 */
export const write = <E, R>(
  path: string,
  lines: Stream.Stream<string, E, R>
): Effect.Effect<void, E | PlatformError, R | FileSystem.FileSystem> =>
  Effect.flatMap(FileSystem.FileSystem, (files) => {
    const unfinished = `${path}.part`
    const fill = Effect.scoped(Effect.gen(function*() {
      const file = yield* files.open(unfinished, { flag: "w", mode: 0o600, noFollow: true })
      // One that was left there may be open to others.
      yield* files.chmod(unfinished, 0o600)
      yield* Stream.runForEach(lines, (line) => file.writeAll(encoder.encode(`${line}\n`)))
      yield* file.sync
    }))
    return Effect.andThen(fill, files.rename(unfinished, path)).pipe(
      Effect.onError(() => Effect.ignore(files.remove(unfinished)))
    )
  })
