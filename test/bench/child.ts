/** Servers in processes of their own, so that what is measured here is the client. */
import { Effect, Schema, type Scope } from "effect"
import { fork } from "node:child_process"

/** In the child: says to its parent where the server is, and ends with the parent. */
export const serve = <A, E>(server: Effect.Effect<A, E, Scope.Scope>) => {
  process.once("disconnect", () => process.exit())
  return Effect.runFork(
    server.pipe(
      Effect.tap((told) => Effect.sync(() => process.send?.(told))),
      Effect.andThen(Effect.never),
      Effect.scoped
    )
  )
}

/** In the parent: starts a module of this directory, with nothing of the user's environment, until the scope closes. */
export const start = <A>(module: string, Told: Schema.Decoder<A>): Effect.Effect<A, Error, Scope.Scope> =>
  Effect.acquireRelease(
    Effect.sync(() => fork(new URL(module, import.meta.url), { env: {}, execArgv: [] })),
    (child) => Effect.sync(() => child.kill())
  ).pipe(
    Effect.flatMap((child) =>
      Effect.callback<unknown, Error>((resume) => {
        child.once("message", (told) => resume(Effect.succeed(told)))
        child.once("exit", (code) => resume(Effect.fail(new Error(`${module} ended at once (status ${code})`))))
      })
    ),
    Effect.flatMap((told) => Schema.decodeUnknownEffect(Told)(told))
  )
