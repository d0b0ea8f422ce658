/**
 * Processes of their own that spend from one ledger, for whoever tells them what to do, stops them and kills them.
 */
import { Data, Effect, type Scope } from "effect"
import { type ChildProcess, execFileSync, fork } from "node:child_process"
import { readFileSync } from "node:fs"
import { join } from "node:path"
import { setTimeout as sleep } from "node:timers/promises"
import type { Answer, Operations, Question, Where } from "./processesChild.ts"

/** A process could not do what it was told. */
export class Refused extends Data.TaggedError("Refused")<{ readonly tag: string; readonly detail: string }> {}

export interface Process {
  readonly pid: number
  readonly ask: <Name extends keyof Operations>(
    name: Name,
    ...args: Parameters<Operations[Name]>
  ) => Effect.Effect<Effect.Success<ReturnType<Operations[Name]>>, Refused>
  readonly stop: Effect.Effect<void>
  readonly go: Effect.Effect<void>
  /** Ends it at once, whatever it does. */
  readonly kill: Effect.Effect<void>
  /** Until it is stopped, by itself or by somebody else. */
  readonly stopped: Effect.Effect<void>
}

const program = join(import.meta.dirname, "processesChild.ts")

/** Linux tells by a file, others by `ps`. */
const isStopped = (pid: number) => {
  if (process.platform !== "linux") {
    return execFileSync("ps", ["-o", "state=", "-p", `${pid}`]).toString().startsWith("T")
  }
  const stat = readFileSync(`/proc/${pid}/stat`, "utf8")
  return stat.slice(stat.lastIndexOf(")") + 2).startsWith("T")
}

/** In real time. */
export const eventually = (done: () => boolean | Promise<boolean>) =>
  Effect.promise(async () => {
    for (const until = performance.now() + 20_000; performance.now() < until; await sleep(10)) if (await done()) return
    throw new Error("it did not come to pass in 20 seconds")
  })

const handle = (child: ChildProcess, pid: number): Process => {
  const waiting = new Map<number, (answer: Answer) => void>()
  let asked = 0
  const answered = (answer: Answer) => {
    waiting.get(answer.number)?.(answer)
    waiting.delete(answer.number)
  }
  child.on("message", answered)
  child.once("exit", (code, signal) => {
    for (const number of waiting.keys()) answered({ number, error: { tag: "ended", detail: `${code ?? signal}` } })
  })
  const signal = (name: NodeJS.Signals) => Effect.sync(() => void child.kill(name))
  const stopped = eventually(() => isStopped(pid))
  return {
    pid,
    ask: (name, ...args) =>
      Effect.callback((resume) => {
        const question: Question = { number: ++asked, name, args }
        waiting.set(question.number, (answer) =>
          resume("error" in answer ? Effect.fail(new Refused(answer.error)) : Effect.succeed(answer.value as never)))
        child.send(question)
      }),
    stop: Effect.andThen(signal("SIGSTOP"), stopped),
    go: signal("SIGCONT"),
    kill: Effect.callback<void>((resume) => {
      child.once("exit", () => resume(Effect.void))
      child.kill("SIGKILL")
    }),
    stopped
  }
}

/** A process with a ledger that is open. */
export const start = Effect.fnUntraced(function*(
  where: Where,
  url?: string
): Effect.fn.Return<Process, Refused, Scope.Scope> {
  const child = yield* Effect.acquireRelease(
    Effect.sync(() =>
      fork(program, [JSON.stringify(where)], {
        execArgv: ["--no-warnings"],
        serialization: "advanced",
        env: { PATH: process.env["PATH"], ...(url === undefined ? {} : { DATABASE_URL: url }) }
      })
    ),
    (child) => Effect.sync(() => void child.kill("SIGKILL"))
  )
  const it = handle(child, child.pid ?? 0)
  yield* it.ask("ready")
  return it
})
