/**
 * A line to a database that can be cut, for tests that need the moment: between a commit and its answer.
 */
import { Effect, Redacted } from "effect"
import { createServer, type Server, Socket } from "node:net"
import type { Database } from "./postgres.ts"

export interface Line {
  /** The database, at the other end of it. */
  readonly database: Database
  /** The answer to the next commit is not passed on. Whether the line breaks then, or only says nothing more. */
  readonly loseAnswer: (how: "cut" | "silent") => void
  /** Answers that were lost. */
  readonly lost: () => number
  /** The next statement that has this text does not reach the database: the line breaks before. */
  readonly cutBefore: (text: string) => void
}

export const make = Effect.fnUntraced(function*({ url }: Database) {
  const address = new URL(Redacted.value(url))
  let answer: "cut" | "silent" | undefined
  let before: string | undefined
  let lost = 0
  const sockets = new Set<Socket>()
  const server = yield* Effect.acquireRelease(
    Effect.callback<Server>((resume) => {
      const server = createServer((client) => {
        const upstream = new Socket().connect(Number(address.port), address.hostname)
        let isSilent = false
        const end = () => {
          client.destroy()
          upstream.destroy()
        }
        for (const one of [client, upstream]) {
          sockets.add(one)
          one.on("error", end).on("close", end).setNoDelay()
        }
        client.on("data", (bytes: Buffer) => {
          if (before !== undefined && bytes.includes(before)) {
            before = undefined
            return end()
          }
          upstream.write(bytes)
        })
        upstream.on("data", (bytes: Buffer) => {
          if (answer !== undefined && bytes.includes("COMMIT\0")) {
            isSilent = true
            lost++
            if (answer === "cut") end()
            answer = undefined
          }
          if (!isSilent) client.write(bytes)
        })
      })
      server.listen(0, "127.0.0.1", () => resume(Effect.succeed(server)))
    }),
    (server) =>
      Effect.sync(() => {
        server.close()
        for (const socket of sockets) socket.destroy()
      })
  )
  const here = server.address()
  const through = new URL(address)
  through.port = String(typeof here === "object" && here !== null ? here.port : 0)
  return {
    database: { url: Redacted.make(through.href) },
    loseAnswer: (how) => void (answer = how),
    lost: () => lost,
    cutBefore: (text) => void (before = text)
  } satisfies Line
})
