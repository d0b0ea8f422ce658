/** A process that has a database and does nothing with it: it tells what there is, and waits for its end. */
import { Effect } from "effect"
import * as PostgresServer from "./postgresServer.ts"

await Effect.runPromise(Effect.scoped(
  Effect.flatMap(PostgresServer.make, (server) =>
    Effect.andThen(
      Effect.sync(() => process.send?.({ directory: server.directory, processes: server.processes() })),
      Effect.never
    ))
))
