/** What processes there are. Linux tells by files, others by `ps`. */
import { execFileSync } from "node:child_process"
import { existsSync, readdirSync, readFileSync } from "node:fs"

interface Process {
  readonly pid: number
  readonly parent: number
  readonly state: string
}

const byFiles = (): ReadonlyArray<Process> =>
  readdirSync("/proc").filter((name) => /^\d+$/.test(name)).flatMap((name) => {
    try {
      const stat = readFileSync(`/proc/${name}/stat`, "utf8")
      // the name of a program stands before, in parentheses, and may hold anything
      const [state = "", parent] = stat.slice(stat.lastIndexOf(")") + 2).split(" ")
      return [{ pid: Number(name), parent: Number(parent), state }]
    } catch {
      return []
    }
  })

const byProgram = (): ReadonlyArray<Process> =>
  execFileSync("ps", ["-A", "-o", "pid=,ppid=,state="], { encoding: "utf8" }).trim().split("\n").map((line) => {
    const [pid, parent, state = ""] = line.trim().split(/\s+/)
    return { pid: Number(pid), parent: Number(parent), state }
  })

/** Without those that have ended and that nobody asked about yet. */
const processes = () =>
  (existsSync("/proc/self/stat") ? byFiles() : byProgram()).filter(({ state }) => !/^[ZX]/.test(state))

export const childrenOf = (pid: number): ReadonlyArray<number> =>
  processes().filter(({ parent }) => parent === pid).map((it) => it.pid)

export const isAlive = (pid: number): boolean => processes().some((it) => it.pid === pid)
